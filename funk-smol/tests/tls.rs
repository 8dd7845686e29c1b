//! The conformance suite of streams with certificates.

use funk_io::conformance::{self, Carrier, Issue};
use funk_smol::Smol;
use funk_tls::issue::Authorities;

fn issue() -> impl Issue {
    let authorities = Authorities::new(&"example.org".parse().expect("a name"), 2).expect("authorities are made");
    move |path: &str, by: usize, believed: &[usize], denied: &str| {
        authorities.credentials(&format!("conformance/{path}"), by, believed, denied)
    }
}

#[test]
fn three_nodes_with_certificates_outlive_their_leader() {
    conformance::three_nodes_with_certificates_outlive_their_leader::<Smol>(Carrier::Tcp, issue());
}

#[test]
fn a_node_of_another_authority_waits_outside() {
    conformance::a_node_of_another_authority_waits_outside::<Smol>(Carrier::Tcp, issue());
}

#[test]
fn a_hello_in_anothers_name_is_refused() {
    conformance::a_hello_in_anothers_name_is_refused::<Smol>(issue());
}

#[test]
fn a_plaintext_peer_is_let_in_only_where_that_is_permitted() {
    conformance::a_plaintext_peer_is_let_in_only_where_that_is_permitted::<Smol>(issue());
}

#[test]
fn half_open_handshakes_hold_nobody_up() {
    conformance::half_open_handshakes_hold_nobody_up::<Smol>(issue());
}

#[test]
fn a_cluster_moves_to_another_authority() {
    conformance::a_cluster_moves_to_another_authority::<Smol>(Carrier::Tcp, issue());
}

#[test]
fn whoever_is_denied_is_cut_off() {
    conformance::whoever_is_denied_is_cut_off::<Smol>(Carrier::Tcp, issue());
}

#[test]
fn three_nodes_outlive_their_leader_over_quic() {
    conformance::three_nodes_with_certificates_outlive_their_leader::<Smol>(Carrier::Quic, issue());
}

#[test]
fn a_node_of_another_authority_waits_outside_over_quic() {
    conformance::a_node_of_another_authority_waits_outside::<Smol>(Carrier::Quic, issue());
}

#[test]
fn a_cluster_moves_to_another_authority_over_quic() {
    conformance::a_cluster_moves_to_another_authority::<Smol>(Carrier::Quic, issue());
}

#[test]
fn whoever_is_denied_is_cut_off_over_quic() {
    conformance::whoever_is_denied_is_cut_off::<Smol>(Carrier::Quic, issue());
}

#[test]
fn nodes_of_different_transports_say_so() {
    conformance::nodes_of_different_transports_say_so::<Smol>(issue());
}
