//! The arithmetic of leases: whatever becomes of each packet, and however the
//! clocks drift within the bound, nobody believes for longer than somebody waits.

use std::time::Duration;

use funk_proto::Timing;
use funk_tests::leases::{Clock, DRIFT, Fate, NODES, World};
use proptest::prelude::*;

fn fate() -> impl Strategy<Value = Fate> {
    let delay_us = prop_oneof![6 => 50..2_000u32, 2 => 2_000..60_000u32, 1 => 60_000..400_000u32];
    let lease_ms = prop_oneof![8 => Just(0), 1 => 150..=600u16];
    (delay_us, prop::bool::weighted(0.1), prop::bool::weighted(0.1), lease_ms)
        .prop_map(|(delay_us, lost, doubled, lease_ms)| Fate { delay_us, lost, doubled, lease_ms })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_holder_believes_for_longer_than_its_waiter_waits(
        drifts in prop::collection::vec(-DRIFT..=DRIFT, usize::try_from(NODES).expect("a handful")),
        ahead in prop::collection::vec(0..10_000_000_000u64, usize::try_from(NODES).expect("a handful")),
        fates in prop::collection::vec(fate(), 1..80),
    ) {
        let clocks: Vec<_> = drifts.into_iter().zip(ahead).map(|(drift, ahead)| Clock::new(drift, ahead)).collect();
        let mut world = World::new(clocks, fates, Timing::default());
        for _ in 0..600 {
            world.step().unwrap();
        }
    }

    #[test]
    fn a_wait_covers_the_length_on_every_clock_within_the_bound(
        length_us in 1..60_000_000u64,
        bound in 0..200_000i32,
        holder in 0..=100i32,
        waiter in 0..=100i32,
        sent in 0..1_000_000_000u64,
        on_the_way in 0..1_000_000_000u64,
    ) {
        let timing = Timing { drift_ppm: u32::try_from(bound).unwrap(), ..Timing::default() };
        let rate = |share: i32| Clock::new(bound * (2 * share - 100) / 100, 0);
        let (holder, waiter, length) = (rate(holder), rate(waiter), Duration::from_micros(length_us));
        let holds_until = holder.truth(holder.show(sent) + length);
        let waits_until = waiter.truth(waiter.show(sent + on_the_way) + timing.waiter(length));
        // A clock that shows whole nanoseconds is off by one at each end.
        prop_assert!(holds_until <= waits_until + 3, "{holds_until} > {waits_until}");
        prop_assert!(timing.waiter(length) >= length);
    }
}
