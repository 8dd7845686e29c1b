//! The properties of funk, one in a file.

mod clocks;
mod configuration;
mod disks;
mod drains;
mod durability_order;
mod election_safety;
mod endings;
mod epoch_fencing;
mod event_order;
mod false_positives;
mod gossip_keys;
mod gossip_lives;
mod handed_states;
mod identity;
mod leader_completeness;
mod lease_containment;
mod linearizable_reads;
mod log_matching;
mod map_monotonic;
mod membership_events;
mod ownership_exclusivity;
mod promises;
mod proposals;
mod snapshots;
mod stable_records;
mod state_machine_safety;
mod term_growth;
mod waiters;
mod worker_ids;

pub use configuration::Configuration;
pub use drains::Drains;
pub use durability_order::DurabilityOrder;
pub use election_safety::ElectionSafety;
pub use endings::Endings;
pub use epoch_fencing::EpochFencing;
pub use event_order::EventOrder;
pub use false_positives::FalsePositives;
pub use gossip_keys::GossipKeys;
pub use gossip_lives::GossipLives;
pub use handed_states::HandedStates;
pub use identity::Identity;
pub use leader_completeness::LeaderCompleteness;
pub use lease_containment::LeaseContainment;
pub use linearizable_reads::LinearizableReads;
pub use log_matching::LogMatching;
pub use map_monotonic::MapMonotonic;
pub use membership_events::MembershipEvents;
pub use ownership_exclusivity::OwnershipExclusivity;
pub use promises::Promises;
pub use proposals::Proposals;
pub use snapshots::Snapshots;
pub use stable_records::StableRecords;
pub use state_machine_safety::StateMachineSafety;
pub use term_growth::TermGrowth;
pub use waiters::Waiters;
pub use worker_ids::WorkerIds;

use crate::checker::Checker;

/// Every property.
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::<ElectionSafety>::default(),
        Box::<LogMatching>::default(),
        Box::<LeaderCompleteness>::default(),
        Box::<StateMachineSafety>::default(),
        Box::<Snapshots>::default(),
        Box::<DurabilityOrder>::default(),
        Box::<StableRecords>::default(),
        Box::<Identity>::default(),
        Box::<Configuration>::default(),
        Box::<OwnershipExclusivity>::default(),
        Box::<Drains>::default(),
        Box::<LeaseContainment>::default(),
        Box::<Promises>::default(),
        Box::<EpochFencing>::default(),
        Box::<MapMonotonic>::default(),
        Box::<HandedStates>::default(),
        Box::<MembershipEvents>::default(),
        Box::<Endings>::default(),
        Box::<Proposals>::default(),
        Box::<LinearizableReads>::default(),
        Box::<WorkerIds>::default(),
        Box::<Waiters>::default(),
        Box::<TermGrowth>::default(),
        Box::<GossipLives>::default(),
        Box::<GossipKeys>::default(),
        Box::<FalsePositives>::default(),
        Box::<EventOrder>::default(),
    ]
}

#[cfg(test)]
mod tests;
