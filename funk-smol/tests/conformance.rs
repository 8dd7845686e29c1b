//! The conformance suite on smol.

use funk_io::conformance;
use funk_smol::Smol;

#[test]
fn streams_echo() {
    conformance::streams_echo::<Smol>();
}

#[test]
fn a_refused_dial_says_so() {
    conformance::a_refused_dial_says_so::<Smol>();
}

#[test]
fn datagrams_arrive_whole() {
    conformance::datagrams_arrive_whole::<Smol>();
}

#[test]
fn timers_keep_their_order() {
    conformance::timers_keep_their_order::<Smol>();
}

#[test]
fn cancelling_loses_nothing() {
    conformance::cancelling_loses_nothing::<Smol>();
}

#[test]
fn a_refused_start_names_its_reason() {
    conformance::a_refused_start_names_its_reason::<Smol>();
}

#[test]
fn a_node_starts_serves_and_leaves() {
    conformance::a_node_starts_serves_and_leaves::<Smol>();
}

#[test]
fn dropping_the_last_handle_stops_the_node() {
    conformance::dropping_the_last_handle_stops_the_node::<Smol>();
}

#[test]
fn garbage_at_every_port_does_no_harm() {
    conformance::garbage_at_every_port_does_no_harm::<Smol>();
}

#[test]
fn a_flood_of_streams_is_bounded() {
    conformance::a_flood_of_streams_is_bounded::<Smol>();
}

#[test]
fn three_nodes_agree_and_outlive_one() {
    conformance::three_nodes_agree_and_outlive_one::<Smol>();
}

#[test]
fn a_moving_shard_takes_its_state_along() {
    conformance::a_moving_shard_takes_its_state_along::<Smol>();
}

#[test]
fn a_move_waits_for_a_request_that_outlives_the_lease() {
    conformance::a_move_waits_for_a_request_that_outlives_the_lease::<Smol>();
}

#[test]
fn a_request_without_an_end_does_not_keep_its_shard() {
    conformance::a_request_without_an_end_does_not_keep_its_shard::<Smol>();
}

#[test]
fn a_panic_closes_the_gate() {
    conformance::a_panic_closes_the_gate::<Smol>();
}

#[test]
fn endpoints_are_followed() {
    conformance::endpoints_are_followed::<Smol>();
}

#[test]
fn more_endpoints_than_tags_hold_are_seen() {
    conformance::more_endpoints_than_tags_hold_are_seen::<Smol>();
}

#[test]
fn endpoints_of_a_foreign_agent_are_seen() {
    conformance::endpoints_of_a_foreign_agent_are_seen::<Smol>();
}

#[test]
fn a_node_joins_through_what_its_sources_find() {
    conformance::a_node_joins_through_what_its_sources_find::<Smol>();
}

#[test]
fn a_data_directory_is_locked_while_anybody_may_be_inside() {
    conformance::a_data_directory_is_locked_while_anybody_may_be_inside::<Smol>();
}

#[test]
fn a_data_directory_outlives_its_process() {
    conformance::a_data_directory_outlives_its_process::<Smol>();
}

#[test]
fn a_data_directory_that_is_gone_stops_an_idle_node() {
    conformance::a_data_directory_that_is_gone_stops_an_idle_node::<Smol>();
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    conformance::a_log_that_lost_its_end_is_refused::<Smol>();
}

#[test]
fn a_failed_write_stops_the_node() {
    conformance::a_failed_write_stops_the_node::<Smol>();
}

#[test]
fn an_application_state_outlives_compaction() {
    conformance::an_application_state_outlives_compaction::<Smol>();
}

#[test]
fn whoever_stops_says_goodbye() {
    conformance::whoever_stops_says_goodbye::<Smol>();
}

#[test]
fn a_panic_elsewhere_says_goodbye() {
    conformance::a_panic_elsewhere_says_goodbye::<Smol>();
}

#[test]
fn nobody_says_goodbye_while_a_guard_is_valid() {
    conformance::nobody_says_goodbye_while_a_guard_is_valid::<Smol>();
}

#[test]
fn a_service_is_handed_snapshots_and_states() {
    conformance::a_service_is_handed_snapshots_and_states::<Smol>();
}

#[test]
fn a_service_that_stands_still_stops_its_node() {
    conformance::a_service_that_stands_still_stops_its_node::<Smol>();
}

#[test]
fn a_joiner_minds_its_clusters_lease() {
    conformance::a_joiner_minds_its_clusters_lease::<Smol>();
}

#[test]
fn a_service_takes_no_other_part_beside_it() {
    conformance::a_service_takes_no_other_part_beside_it::<Smol>();
}

#[test]
fn half_messages_are_bounded() {
    conformance::half_messages_are_bounded::<Smol>();
}

#[test]
fn a_shard_is_acquired_before_it_is_served() {
    conformance::a_shard_is_acquired_before_it_is_served::<Smol>();
}

#[test]
fn a_shard_that_goes_before_it_was_acquired_takes_its_state_along() {
    conformance::a_shard_that_goes_before_it_was_acquired_takes_its_state_along::<Smol>();
}

#[test]
fn a_handover_beside_a_shard_state_is_refused() {
    conformance::a_handover_beside_a_shard_state_is_refused::<Smol>();
}
