//! The conformance suite on tokio.

use funk_io::conformance;
use funk_tokio::Tokio;

#[test]
fn streams_echo() {
    conformance::streams_echo::<Tokio>();
}

#[test]
fn a_refused_dial_says_so() {
    conformance::a_refused_dial_says_so::<Tokio>();
}

#[test]
fn datagrams_arrive_whole() {
    conformance::datagrams_arrive_whole::<Tokio>();
}

#[test]
fn timers_keep_their_order() {
    conformance::timers_keep_their_order::<Tokio>();
}

#[test]
fn cancelling_loses_nothing() {
    conformance::cancelling_loses_nothing::<Tokio>();
}

#[test]
fn a_refused_start_names_its_reason() {
    conformance::a_refused_start_names_its_reason::<Tokio>();
}

#[test]
fn a_node_starts_serves_and_leaves() {
    conformance::a_node_starts_serves_and_leaves::<Tokio>();
}

#[test]
fn dropping_the_last_handle_stops_the_node() {
    conformance::dropping_the_last_handle_stops_the_node::<Tokio>();
}

#[test]
fn garbage_at_every_port_does_no_harm() {
    conformance::garbage_at_every_port_does_no_harm::<Tokio>();
}

#[test]
fn a_flood_of_streams_is_bounded() {
    conformance::a_flood_of_streams_is_bounded::<Tokio>();
}

#[test]
fn three_nodes_agree_and_outlive_one() {
    conformance::three_nodes_agree_and_outlive_one::<Tokio>();
}

#[test]
fn a_moving_shard_takes_its_state_along() {
    conformance::a_moving_shard_takes_its_state_along::<Tokio>();
}

#[test]
fn a_move_waits_for_a_request_that_outlives_the_lease() {
    conformance::a_move_waits_for_a_request_that_outlives_the_lease::<Tokio>();
}

#[test]
fn a_request_without_an_end_does_not_keep_its_shard() {
    conformance::a_request_without_an_end_does_not_keep_its_shard::<Tokio>();
}

#[test]
fn a_panic_closes_the_gate() {
    conformance::a_panic_closes_the_gate::<Tokio>();
}

#[test]
fn endpoints_are_followed() {
    conformance::endpoints_are_followed::<Tokio>();
}

#[test]
fn more_endpoints_than_tags_hold_are_seen() {
    conformance::more_endpoints_than_tags_hold_are_seen::<Tokio>();
}

#[test]
fn endpoints_of_a_foreign_agent_are_seen() {
    conformance::endpoints_of_a_foreign_agent_are_seen::<Tokio>();
}

#[test]
fn a_node_joins_through_what_its_sources_find() {
    conformance::a_node_joins_through_what_its_sources_find::<Tokio>();
}

#[test]
fn a_data_directory_is_locked_while_anybody_may_be_inside() {
    conformance::a_data_directory_is_locked_while_anybody_may_be_inside::<Tokio>();
}

#[test]
fn a_data_directory_outlives_its_process() {
    conformance::a_data_directory_outlives_its_process::<Tokio>();
}

#[test]
fn a_data_directory_that_is_gone_stops_an_idle_node() {
    conformance::a_data_directory_that_is_gone_stops_an_idle_node::<Tokio>();
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    conformance::a_log_that_lost_its_end_is_refused::<Tokio>();
}

#[test]
fn a_failed_write_stops_the_node() {
    conformance::a_failed_write_stops_the_node::<Tokio>();
}

#[test]
fn an_application_state_outlives_compaction() {
    conformance::an_application_state_outlives_compaction::<Tokio>();
}

#[test]
fn whoever_stops_says_goodbye() {
    conformance::whoever_stops_says_goodbye::<Tokio>();
}

#[test]
fn a_panic_elsewhere_says_goodbye() {
    conformance::a_panic_elsewhere_says_goodbye::<Tokio>();
}

#[test]
fn nobody_says_goodbye_while_a_guard_is_valid() {
    conformance::nobody_says_goodbye_while_a_guard_is_valid::<Tokio>();
}

#[test]
fn a_service_is_handed_snapshots_and_states() {
    conformance::a_service_is_handed_snapshots_and_states::<Tokio>();
}

#[test]
fn a_service_that_stands_still_stops_its_node() {
    conformance::a_service_that_stands_still_stops_its_node::<Tokio>();
}

#[test]
fn a_joiner_minds_its_clusters_lease() {
    conformance::a_joiner_minds_its_clusters_lease::<Tokio>();
}

#[test]
fn a_service_takes_no_other_part_beside_it() {
    conformance::a_service_takes_no_other_part_beside_it::<Tokio>();
}

#[test]
fn half_messages_are_bounded() {
    conformance::half_messages_are_bounded::<Tokio>();
}

#[test]
fn a_shard_is_acquired_before_it_is_served() {
    conformance::a_shard_is_acquired_before_it_is_served::<Tokio>();
}

#[test]
fn a_shard_that_goes_before_it_was_acquired_takes_its_state_along() {
    conformance::a_shard_that_goes_before_it_was_acquired_takes_its_state_along::<Tokio>();
}

#[test]
fn a_handover_beside_a_shard_state_is_refused() {
    conformance::a_handover_beside_a_shard_state_is_refused::<Tokio>();
}
