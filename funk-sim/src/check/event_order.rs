//! Order of events: what one process tells its application never contradicts
//! what it told before: terms and maps go forward, a term has one leader, the
//! same is not told twice in a row, and nothing comes after its own end.

use funk_proto::Event;
use funk_proto::id::{Epoch, NodeName, Term};
use funk_proto::status::NodeState;

use crate::checker::{Checker, Scene, Verdict};

/// What a process has told so far.
#[derive(Debug, Default)]
struct Told {
    state: Option<NodeState>,
    term: Term,
    /// Who leads in that term.
    leader: Option<NodeName>,
    map: Epoch,
    left: bool,
}

/// Events make sense one after the other.
#[derive(Debug, Default)]
pub struct EventOrder {
    told: Vec<Told>,
}

impl Told {
    fn hear(&mut self, event: &Event) -> Verdict {
        match event {
            Event::State(state) if self.state.replace(*state) == Some(*state) => {
                Err(format!("is told twice that it is {state}"))
            }
            Event::State(NodeState::Operational | NodeState::Voting) if self.left => {
                Err("is at work again after it left".into())
            }
            Event::Leader { term, .. } if *term < self.term => Err(format!("is told of {term} after {}", self.term)),
            Event::Leader { leader, term } => {
                if *term > self.term {
                    (self.term, self.leader) = (*term, None);
                }
                let Some(leader) = leader else { return Ok(()) };
                match self.leader.replace(leader.clone()) {
                    Some(before) if before != *leader => {
                        Err(format!("is told that {before} and {leader} lead in {term}"))
                    }
                    _ => Ok(()),
                }
            }
            Event::Map { epoch } if *epoch <= self.map => Err(format!("has map {epoch} after {}", self.map)),
            Event::Map { epoch } => {
                self.map = *epoch;
                Ok(())
            }
            Event::Left if std::mem::replace(&mut self.left, true) => Err("leaves twice".into()),
            _ => Ok(()),
        }
    }
}

impl Checker for EventOrder {
    fn name(&self) -> &'static str {
        "event order"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.told.resize_with(scene.hosts.len(), Told::default);
        self.told[at] = Told::default();
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        self.told[at].hear(event).map_err(|what| format!("{} {what}", scene.name(at)))
    }
}
