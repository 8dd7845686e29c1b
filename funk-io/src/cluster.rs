//! The handle to a running node.

mod shards;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::config::is_endpoint_name;
use funk_proto::id::{LogIndex, NodeName, ShardId, WorkerId};
use funk_proto::shards::RouteTable;
use funk_proto::{EndpointSet, KeyOrder, KeyReport, Outcome, Request, RequestError, Status, Timestamp, limits};

use crate::driver::counters::IoCounters;
use crate::endpoints::Endpoints;
use crate::error::{OperationError, ProposeError, StopReason, Stopped};
use crate::events::Events;
use crate::gate::guard::{NotOwner, ShardGuard};
use crate::last_words::LastWords;
use crate::meters::Meters;
use crate::shared::{Alive, Command, Reply, Shared};
use crate::watch::Watch;

/// A handle to a node that runs in this process. Clones are cheap and stand
/// for the same node; dropping the last one stops it without leaving.
#[derive(Clone, Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    /// Dropped with the last handle.
    _alive: Arc<Alive>,
}

impl Cluster {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { _alive: Arc::new(Alive(Arc::clone(&shared))), shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        &self.shared.name
    }

    /// How long a planned move of a shard waits for requests in flight.
    pub fn drain_timeout(&self) -> Duration {
        self.shared.drain_timeout
    }

    /// The node's clock, on which leases and guards end.
    pub fn now(&self) -> Timestamp {
        self.shared.gate.now()
    }

    /// The latest published route table. Lock-free.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.shared.gate.routes()
    }

    /// This node may serve its shards while [`Cluster::now`] is before this.
    pub fn lease_until(&self) -> Timestamp {
        self.shared.gate.lease_until()
    }

    /// The right to serve `shard`, decided on the caller's own thread.
    ///
    /// # Errors
    /// [`NotOwner`] names the owner, and says whether to go there or to wait.
    pub fn guard(&self, shard: ShardId) -> Result<ShardGuard, NotOwner> {
        self.shared.gate.guard(shard)
    }

    /// The latest route table, the shard that `find` picks by the table's number of shards, and the right to
    /// serve that shard if this node has it: what a router needs, from one look.
    pub fn enter(
        &self,
        find: impl FnOnce(u32) -> Option<ShardId>,
    ) -> (Arc<RouteTable>, Option<ShardId>, Option<ShardGuard>) {
        self.shared.gate.enter_by(find)
    }

    /// A small number that no other live member has, for ids that are made without
    /// asking anybody: a time, this, a counter. `None` while this node holds no lease:
    /// then another may have the number, so ask for each id that you make. It is given
    /// anew at each start. No other boot has it before
    /// [`WORKER_ID_GUARD`](limits::WORKER_ID_GUARD) after the end of this one's last lease.
    pub fn worker_id(&self) -> Option<WorkerId> {
        self.shared.gate.worker_id()
    }

    /// What tells the peers that this process has ended, for panic hooks and
    /// for processes that wait for this one. The driver says it by itself when it stops.
    pub fn last_words(&self) -> LastWords {
        LastWords::new(Arc::clone(&self.shared.gate), Arc::clone(&self.shared.words))
    }

    /// Wakes for every route table newer than the present one, and when the lease comes back.
    pub fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.shared.gate))
    }

    /// What the node tells from now on, after the state and the leader that hold now.
    pub fn events(&self) -> Events {
        self.shared.bus.subscribe()
    }

    /// What the driver's sockets and streams did so far.
    pub fn io_counters(&self) -> IoCounters {
        self.shared.counters.read()
    }

    /// What the driver and the store measure, as it goes on.
    pub fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// What the application asked of the driver and it did not take yet.
    pub fn commands_queued(&self) -> usize {
        self.shared.inbox.len()
    }

    /// What this node is doing. No other node is asked.
    ///
    /// # Errors
    /// [`Stopped`] if the driver has stopped.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (reply, answer) = async_channel::bounded(1);
        self.shared.send(Command::Status(reply)).await?;
        Ok(answer.recv().await.map_err(|_| Stopped)?.finish())
    }

    /// Appends `bytes` to the replicated log and waits until they are applied here.
    /// Every node sees them as [`Event::Committed`](funk_proto::Event::Committed), in index order.
    ///
    /// # Errors
    /// [`ProposeError::Rejected`]: surely not applied. The others: perhaps.
    pub async fn propose(&self, bytes: Bytes) -> Result<LogIndex, ProposeError> {
        self.append(Request::Propose(bytes)).await
    }

    /// Waits until this node has applied all that was committed anywhere before the call: what
    /// the application reads of its replicated state afterwards is linearizable. Costs one entry of the log.
    ///
    /// # Errors
    /// As [`Cluster::propose`]; nothing changes in any case.
    pub async fn barrier(&self) -> Result<LogIndex, ProposeError> {
        self.append(Request::Barrier).await
    }

    async fn append(&self, request: Request) -> Result<LogIndex, ProposeError> {
        let (reply, answer) = async_channel::bounded(1);
        let sent = self.shared.send(Command::Request { request, reply: Some(Reply::Done(reply)) }).await;
        sent.map_err(|Stopped| ProposeError::Rejected(RequestError::Stopping))?;
        match answer.recv().await {
            Ok(Ok(Outcome::Committed(index))) => Ok(index),
            Ok(Ok(Outcome::Rejected(error)) | Err(error)) => Err(ProposeError::Rejected(error)),
            Ok(Ok(_)) => Err(ProposeError::Unknown),
            Err(_) => Err(ProposeError::Stopped),
        }
    }

    /// Joins through these gossip addresses too. Returns once the node took
    /// them; events tell how it goes.
    ///
    /// # Errors
    /// [`RequestError::Stopping`] if the driver has stopped, others as the core says.
    pub async fn join(&self, addresses: Vec<SocketAddr>) -> Result<(), RequestError> {
        let (reply, answer) = async_channel::bounded(1);
        let sent = self
            .shared
            .send(Command::Request { request: Request::Join(addresses), reply: Some(Reply::Taken(reply)) })
            .await;
        sent.map_err(|Stopped| RequestError::Stopping)?;
        answer.recv().await.unwrap_or(Err(RequestError::Stopping))
    }

    /// Gives the shards up, hands leadership over and leaves; then the driver
    /// stops. Ends when that is done, or [`crate::limits::LEAVE_MARGIN`] after the drain timeout.
    ///
    /// # Errors
    /// [`Stopped`] if the driver stopped for another reason.
    pub async fn leave(&self) -> Result<(), Stopped> {
        // Nobody is to find a node that leaves.
        self.shared.search.stop();
        // A driver that has stopped already says below why.
        let _ = self.shared.send(Command::Request { request: Request::Leave, reply: None }).await;
        match self.stopped().await {
            StopReason::Left => Ok(()),
            _ => Err(Stopped),
        }
    }

    /// On the leader: lets a node in that gossip knows and that waits for it.
    /// Resolves when it is a member, at once if it is one already.
    ///
    /// # Errors
    /// [`OperationError`]; after [`limits::OPERATION_TIMEOUT`] it is given up.
    pub async fn add_member(&self, name: &NodeName) -> Result<(), OperationError> {
        self.operate(Request::AddMember(name.clone())).await
    }

    /// On the leader: takes a member out, a dead one at once, one that is up
    /// when its shards have moved away. Resolves when neither Raft nor the member
    /// table has it. Its process is told and stops; that boot is not let in again.
    ///
    /// # Errors
    /// [`OperationError`]; after [`limits::OPERATION_TIMEOUT`] it is given up.
    pub async fn remove_member(&self, name: &NodeName) -> Result<(), OperationError> {
        self.operate(Request::RemoveMember(name.clone())).await
    }

    /// On the leader: moves a member's shards away. It stays a member, and gets
    /// none until it is started again. Resolves when it owns none.
    ///
    /// # Errors
    /// [`OperationError`]; after [`limits::OPERATION_TIMEOUT`] it is given up.
    pub async fn drain(&self, name: &NodeName) -> Result<(), OperationError> {
        self.operate(Request::Drain(name.clone())).await
    }

    /// On the leader: hands leadership over. Resolves when another voter leads.
    ///
    /// # Errors
    /// [`OperationError`]; after [`limits::OPERATION_TIMEOUT`] it is given up.
    pub async fn step_down(&self) -> Result<(), OperationError> {
        self.operate(Request::StepDown).await
    }

    /// On a survivor of a cluster that lost more than half of its voters for
    /// good: goes on alone with what this node has, as the cluster's next
    /// generation. Nodes of the former one are refused, and join anew with an
    /// empty data directory; each shard's next epoch is above all that the former
    /// one granted. Takes [`limits::RECOVERY_PROBE`] and a lease. What was
    /// acknowledged to others and never reached this node is lost: ask the
    /// survivor with the highest applied index.
    ///
    /// # Errors
    /// [`OperationError::Refused`] while the cluster has a leader or a majority of
    /// its voters answers, and where this node has nothing to go on with.
    pub async fn recover(&self) -> Result<(), OperationError> {
        self.operate(Request::Recover).await
    }

    /// Asks all live members of the pool for their gossip keys, or to change them, agents included, and waits until each
    /// has answered, `wait` at most. The report names who did not. To be asked of the leader, whose ring is the cluster's.
    ///
    /// # Errors
    /// [`OperationError::Refused`] if gossip is not encrypted, or this node has no key that is called so;
    /// [`OperationError::Rejected`] if too many questions are open.
    pub async fn keys(&self, order: KeyOrder, wait: Duration) -> Result<KeyReport, OperationError> {
        match self.outcome(Request::Keys { order, wait }).await? {
            Outcome::Keys(report) => Ok(report),
            Outcome::Refused(why) => Err(why.into()),
            _ => Err(OperationError::Unknown),
        }
    }

    async fn operate(&self, request: Request) -> Result<(), OperationError> {
        match self.outcome(request).await? {
            Outcome::Done => Ok(()),
            Outcome::Refused(why) => Err(why.into()),
            Outcome::Rejected(error) => Err(OperationError::Rejected(error)),
            _ => Err(OperationError::Unknown),
        }
    }

    async fn outcome(&self, request: Request) -> Result<Outcome, OperationError> {
        let (reply, answer) = async_channel::bounded(1);
        let command = Command::Request { request, reply: Some(Reply::Done(reply)) };
        self.shared.send(command).await.map_err(|Stopped| OperationError::Stopped)?;
        match answer.recv().await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(OperationError::Rejected(error)),
            Err(_) => Err(OperationError::Stopped),
        }
    }

    /// Publishes, moves or (with `None`) withdraws an endpoint of the service.
    /// Others learn of it by gossip and, once this node is a member, by the
    /// replicated table: at most 512 bytes of tags fit into gossip, and those
    /// of the service that do not are left out there with a warning.
    ///
    /// # Errors
    /// [`RequestError::Endpoint`] for a name that is none or one too many,
    /// [`RequestError::Busy`] if the driver's inbox is full,
    /// [`RequestError::Stopping`] if it has stopped.
    pub fn set_endpoint(&self, name: &str, address: Option<SocketAddr>) -> Result<(), RequestError> {
        if !is_endpoint_name(name) {
            return Err(RequestError::Endpoint(name.into()));
        }
        let mut endpoints = self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let one_more = address.is_some() && !endpoints.contains(name);
        if one_more && endpoints.len() >= limits::ENDPOINTS_MAX {
            return Err(RequestError::Endpoint(name.into()));
        }
        let request = Request::SetEndpoint { name: name.into(), address };
        let sent = self.shared.inbox.try_send(Command::Request { request, reply: None });
        sent.map_err(|error| if error.is_full() { RequestError::Busy } else { RequestError::Stopping })?;
        match address {
            Some(_) => endpoints.insert(name.into()),
            None => endpoints.remove(name),
        };
        self.shared.wake.wake_by_ref();
        Ok(())
    }

    /// Where the nodes that are up serve the endpoint `name`, from the route table.
    pub fn endpoints(&self, name: &str) -> Vec<(NodeName, SocketAddr)> {
        let routes = self.routes();
        let up = routes.nodes().iter().filter(|node| node.up);
        up.filter_map(|node| Some((node.name.clone(), *node.endpoints.get(name)?))).collect()
    }

    /// The endpoints of all live nodes: members of the cluster by the replicated
    /// table, others (a Serf agent with an `ep.*` tag, say) by gossip.
    pub fn all_endpoints(&self) -> Arc<EndpointSet> {
        self.shared.endpoint_watchers.set()
    }

    /// Tells where the endpoint `name` is, or with `None` every endpoint, and
    /// what becomes of it: first those of [`Cluster::all_endpoints`], then each change.
    pub fn endpoints_watch(&self, name: Option<&str>) -> Endpoints {
        Endpoints::new(&self.shared.endpoint_watchers, name)
    }

    /// Whether the driver runs; once it has stopped it never runs again.
    pub fn is_running(&self) -> bool {
        self.shared.stop_reason().is_none()
    }

    /// Ends when the driver has stopped, its sockets are closed and its
    /// registration is withdrawn, and says why it did.
    pub async fn stopped(&self) -> StopReason {
        loop {
            let stopped = self.shared.stopped.listen();
            if let Some(why) = self.shared.stop_reason().filter(|_| !self.shared.search.runs()) {
                return why;
            }
            stopped.await;
        }
    }
}
