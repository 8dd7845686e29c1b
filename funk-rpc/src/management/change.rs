//! What only the leader can do: done here if this node leads, else passed on to it, once.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use funk_io::{Cluster, OperationError, Runtime};
use funk_proto::id::{LogIndex, NodeName};
use tonic::{Request, Response, Status};

use super::{ENDPOINT, Management, NodeStatus, error, pb, text};
use crate::caller::{CALLER_NAME, Caller};
use crate::net::within;
use crate::pb::managepb::cluster_management_client::ClusterManagementClient;
use crate::pb::managepb::error::Code;
use crate::pool::Destination;
use crate::reply::time_for;

/// Marks a call that was passed on: it is not passed on again.
pub(super) const HOP_KEY: &str = "x-funk-hop";

/// Log index up to which the leader had applied when it answered a call that was passed on.
const APPLIED_KEY: &str = "x-funk-applied";

/// Pause before the leader that comes next is looked for.
const AGAIN: Duration = Duration::from_millis(50);

/// Time for which a cluster without a leader is taken for one that elects: more than an election takes.
const ELECTION: Duration = Duration::from_secs(1);

/// Pause before this node looks again whether it has applied what the leader did.
const CATCH_UP: Duration = Duration::from_millis(2);

/// Something that only the leader can do.
#[derive(Debug)]
pub(super) enum Change {
    Add(NodeName),
    Remove(NodeName),
    Drain(NodeName),
    Pin(Range<u32>, Option<NodeName>),
    StepDown,
}

/// How far a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Asking again brings nothing new.
    Final,
    /// Whoever was asked does not lead: nothing was done.
    NotDone,
    /// The leader was lost meanwhile.
    Unknown,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(name) => write!(f, "add {name}"),
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::Drain(name) => write!(f, "drain {name}"),
            Self::Pin(shards, Some(node)) => {
                write!(f, "pin {}-{} to {node}", shards.start, shards.end.saturating_sub(1))
            }
            Self::Pin(shards, None) => write!(f, "free {}-{}", shards.start, shards.end.saturating_sub(1)),
            Self::StepDown => f.write_str("step down"),
        }
    }
}

impl Change {
    /// Whether doing it twice comes to the same as once. A second removal would find nobody, a second
    /// step down would unseat the new leader.
    fn may_repeat(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Drain(_) | Self::Pin(..))
    }

    async fn carry_out(&self, cluster: &Cluster) -> Result<(), OperationError> {
        match self {
            Self::Add(name) => cluster.add_member(name).await,
            Self::Remove(name) => cluster.remove_member(name).await,
            Self::Drain(name) => cluster.drain(name).await,
            Self::Pin(shards, Some(node)) => cluster.pin(shards.clone(), node).await,
            Self::Pin(shards, None) => cluster.unpin(shards.clone()).await,
            Self::StepDown => cluster.step_down().await,
        }
    }

    /// The same call at another node, with the time that is left for it.
    async fn call<N: Runtime>(
        &self,
        node: &Management<N>,
        leader: &Destination,
        caller: &Caller,
        time: Duration,
    ) -> Result<Told, Status> {
        let mut leader = ClusterManagementClient::new(node.pool.at(leader.clone()));
        Ok(match self {
            Self::Add(name) => {
                let asked = passed_on(pb::AddNodeRequest { node_id: name.to_string() }, time, caller);
                told(leader.add_node(asked).await?, |answer| answer.error)
            }
            Self::Remove(name) => {
                let asked = passed_on(pb::RemoveNodeRequest { node_id: name.to_string() }, time, caller);
                told(leader.remove_node(asked).await?, |answer| answer.error)
            }
            Self::Drain(name) => {
                let asked = passed_on(pb::DrainNodeRequest { node_id: name.to_string() }, time, caller);
                told(leader.drain_node(asked).await?, |answer| answer.error)
            }
            Self::Pin(shards, node) => {
                let asked = passed_on(pb::PinShardsRequest::of(shards, node.as_ref()), time, caller);
                told(leader.pin_shards(asked).await?, |answer| answer.error)
            }
            Self::StepDown => {
                let asked = passed_on(pb::StepDownRequest {}, time, caller);
                told(leader.step_down(asked).await?, |answer| answer.error)
            }
        })
    }
}

/// Why it was not done, if it was not.
pub(super) type Answer = Option<pb::Error>;

/// What the leader answered, and what it had applied by then.
type Told = (Answer, Option<LogIndex>);

fn told<T>(response: Response<T>, error: fn(T) -> Answer) -> Told {
    let applied = response.metadata().get(APPLIED_KEY).and_then(|index| index.to_str().ok()?.parse().ok());
    (error(response.into_inner()), applied.map(LogIndex))
}

/// How a change ended.
pub(super) struct Changed {
    /// The leader, else whoever answers.
    pub(super) node_id: String,
    /// Why it was not done.
    pub(super) error: Answer,
    /// What this node had applied when it was done.
    applied: LogIndex,
}

impl Changed {
    /// The answer to the call, with what a node that passed it on has to wait for.
    pub(super) fn response<T>(self, message: impl FnOnce(Self) -> T) -> Response<T> {
        let applied = self.applied.0;
        let mut response = Response::new(message(self));
        response.metadata_mut().insert(APPLIED_KEY, applied.into());
        response
    }
}

pub(super) fn passed_on<T>(message: T, time: Duration, caller: &Caller) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    // Without TLS the leader takes nobody's word for it.
    if let Some(caller) = caller.header().and_then(|caller| caller.to_str().ok()?.parse().ok()) {
        request.metadata_mut().insert(CALLER_NAME, caller);
    }
    request.metadata_mut().insert(HOP_KEY, tonic::metadata::MetadataValue::from_static("1"));
    request
}

/// Where the leader serves this.
pub(super) fn leader_at(status: &NodeStatus) -> Option<Destination> {
    let leader = status.leader.as_ref()?;
    let member = status.members.iter().find(|member| member.name == leader.as_str())?;
    Some(Destination::member(*member.endpoints.get(ENDPOINT)?, leader.as_str()))
}

pub(super) fn refused(why: &OperationError) -> Answer {
    let code = match why {
        OperationError::NotLeader { .. } => Code::NoLeader,
        OperationError::UnknownMember(name) => return error(Code::UnknownId, format!("no node is called {name:?}")),
        OperationError::Rejected(_) | OperationError::Refused(_) => Code::Invalid,
        _ => Code::Generic,
    };
    error(code, why.to_string())
}

fn late(who: impl fmt::Display, time: Duration) -> Answer {
    error(Code::Generic, format!("{who} was not done within {time:?}: it may be done yet; look before you ask again"))
}

impl<N: Runtime> Management<N> {
    /// Carries `change` out, here or at the leader, within the time that `request` leaves. When the leader
    /// changes meanwhile the next one is asked, where that is safe. What the leader did, this node has
    /// applied too when it answers: whoever asks it next sees the change.
    pub(super) async fn change<T>(&self, change: &Change, request: &Request<T>) -> Result<Changed, Status> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(|| Caller::here(None));
        let was_passed_on = request.metadata().contains_key(HOP_KEY);
        self.change_within(change, time_for(request), was_passed_on, &caller).await
    }

    /// One line for whoever has to know later who changed what.
    pub(super) fn audit(what: &dyn fmt::Display, caller: &Caller, error: &Answer) {
        let from = caller.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
        let through = caller.through.as_ref().map(|node| node.name.to_string()).unwrap_or_default();
        let outcome = error.as_ref().map_or("done", |error| error.message.as_str());
        tracing::info!(target: "funk::audit", who = %caller, from, through, %what, outcome);
    }

    /// The same for a caller in this process, or one that has this much time.
    pub(super) async fn change_within(
        &self,
        change: &Change,
        time: Duration,
        was_passed_on: bool,
        caller: &Caller,
    ) -> Result<Changed, Status> {
        let changed = self.change_until(change, time, was_passed_on, caller).await?;
        Self::audit(change, caller, &changed.error);
        Ok(changed)
    }

    async fn change_until(
        &self,
        change: &Change,
        time: Duration,
        was_passed_on: bool,
        caller: &Caller,
    ) -> Result<Changed, Status> {
        let began = Instant::now();
        let deadline = began + time;
        let mut led = false;
        loop {
            let status = self.look().await?;
            let leader = text(status.leader.as_ref());
            let left = deadline.saturating_duration_since(Instant::now());
            let (how, error) = if status.leader.as_ref() == Some(self.cluster.name()) {
                self.change_here(change, left).await
            } else if let Some(leader) = leader_at(&status).filter(|_| !was_passed_on) {
                self.change_there(change, &leader, caller, deadline).await
            } else {
                (How::NotDone, error(Code::NoLeader, "no leader is known here"))
            };
            led |= status.leader.is_some();
            let again = match how {
                How::Final => false,
                How::NotDone => true,
                How::Unknown => change.may_repeat(),
            };
            // A cluster that is without a leader for longer than it elects is told of.
            let elects = led || began.elapsed() < ELECTION;
            let time_left = deadline.saturating_duration_since(Instant::now()) > 2 * AGAIN;
            if !again || !elects || was_passed_on || !time_left {
                // Who answers without a leader is this node.
                let node_id = if leader.is_empty() { self.me() } else { leader };
                // A node that has had itself removed may have stopped by now, and tells how it went all the same.
                let applied = self.look().await.map_or(LogIndex(0), |status| status.applied_index);
                return Ok(Changed { node_id, error, applied });
            }
            N::sleep(AGAIN).await;
        }
    }

    /// Waits until this node has applied `index` too, or until the deadline.
    async fn catch_up(&self, index: Option<LogIndex>, deadline: Instant) {
        let Some(index) = index else { return };
        while Instant::now() < deadline && self.look().await.is_ok_and(|status| status.applied_index < index) {
            N::sleep(CATCH_UP).await;
        }
    }

    async fn change_there(
        &self,
        change: &Change,
        leader: &Destination,
        caller: &Caller,
        deadline: Instant,
    ) -> (How, Answer) {
        let address = leader.address();
        let time = deadline.saturating_duration_since(Instant::now());
        match within::<N, _>(time, change.call(self, leader, caller, time)).await {
            Some(Ok((None, applied))) => {
                self.catch_up(applied, deadline).await;
                (How::Final, None)
            }
            Some(Ok((Some(why), _))) => {
                let how = match why.error_code() {
                    Code::NoLeader => How::NotDone,
                    // The leader's word for an outcome that it does not know is a text, as for all that it refuses.
                    Code::Generic => How::Unknown,
                    _ => How::Final,
                };
                (how, Some(why))
            }
            Some(Err(why)) => {
                (How::Unknown, error(Code::Generic, format!("the leader at {address}: {}", why.message())))
            }
            None => (How::Final, late(format_args!("the call to the leader at {address}"), time)),
        }
    }

    /// Carries out what `kind` makes of the node `id`.
    pub(super) async fn change_node<T>(
        &self,
        kind: fn(NodeName) -> Change,
        id: &str,
        request: &Request<T>,
    ) -> Result<Changed, Status> {
        match id.parse() {
            Ok(name) => self.change(&kind(name), request).await,
            Err(_) => Ok(self.invalid(format!("{id:?} is no node id: give 1 to 28 of A-Z a-z 0-9 . -"))),
        }
    }

    /// Goes on alone: why not, or the generation.
    pub(super) async fn recover_here<T>(&self, request: &Request<T>) -> Result<(Answer, u64), Status> {
        let time = time_for(request);
        let error = match within::<N, _>(time, self.cluster.recover()).await {
            Some(Ok(())) => None,
            Some(Err(why)) => refused(&why),
            None => late("the recovery", time),
        };
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(|| Caller::here(None));
        Self::audit(&"recover", &caller, &error);
        Ok((error, self.look().await?.generation))
    }

    /// What was asked for makes no sense, and nothing was done.
    pub(super) fn invalid(&self, why: String) -> Changed {
        Changed { node_id: self.me(), error: error(Code::Invalid, why), applied: LogIndex(0) }
    }

    async fn change_here(&self, change: &Change, time: Duration) -> (How, Answer) {
        match within::<N, _>(time, change.carry_out(&self.cluster)).await {
            Some(Ok(())) => (How::Final, None),
            Some(Err(why)) => {
                let how = match why {
                    OperationError::NotLeader { .. } => How::NotDone,
                    OperationError::Unknown => How::Unknown,
                    _ => How::Final,
                };
                (how, refused(&why))
            }
            None => (How::Final, late("the change", time)),
        }
    }
}
