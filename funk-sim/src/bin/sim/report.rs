//! What was counted, in words.

use std::time::Duration;

use funk_sim::Tally;

use super::out::Out;

pub(crate) fn report(
    out: &mut Out<impl std::io::Write>,
    tally: &Tally,
    seeds: u64,
    simulated: Duration,
    took: Duration,
    threads: usize,
) {
    let speed = simulated.as_secs_f64() / took.as_secs_f64();
    out.line(format_args!(
        "{seeds} seeds, {:.1} h simulated in {:.1} s: {speed:.0} times real time, {:.0} a core",
        simulated.as_secs_f64() / 3600.0,
        took.as_secs_f64(),
        speed / threads as f64,
    ));
    out.line(format_args!(
        "{} steps, {} process starts, {} datagrams ({} lost, {} corrupted, {} replayed, {} of strangers), {} stream messages, {} writes",
        tally.steps,
        tally.starts,
        tally.datagrams,
        tally.datagrams_lost,
        tally.datagrams_corrupted,
        tally.datagrams_replayed,
        tally.injected,
        tally.stream_messages,
        tally.writes,
    ));
    out.line(format_args!(
        "{} leader changes, {} shards began to move, {} drains frozen, {} states given, {} received, {} requests served, {} refused, {} proposals",
        tally.leader_changes,
        tally.moves,
        tally.freezes,
        tally.states_given,
        tally.states_received,
        tally.requests_served,
        tally.requests_refused,
        tally.proposals
    ));
    out.line(format_args!("faults: {:?}", tally.faults));
    out.line(format_args!("states: {:?}", tally.states));
    out.line(format_args!("roles: {:?}", tally.roles));
    out.line(format_args!("messages: {:?}", tally.messages));
}
