//! Gossip keys: listed and changed through the leader, whose ring is the cluster's.
//!
//! Keys go by their ids. Only one that an operator installs is sent, and only over TLS or within one machine.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use funk_io::{Runtime, random_gossip_key};
use funk_proto::{GossipKey, KeyAnswer, KeyOrder, KeyReport};
use tonic::{Request, Status};

use super::change::{Answer, HOP_KEY, leader_at, passed_on, refused};
use super::{Management, error, pb};
use crate::caller::Caller;
use crate::limits::KEYS_ANSWER_SLACK;
use crate::net::within;
use crate::pb::managepb::cluster_management_client::ClusterManagementClient;
use crate::pb::managepb::error::Code;
use crate::pool::Destination;
use crate::reply::time_for;
use pb::change_keys_request::Change;

/// What is asked for.
#[derive(Debug)]
pub(super) enum Keys {
    List,
    Change(pb::ChangeKeysRequest),
}

impl Keys {
    /// The key that is sent along.
    fn sent(&self) -> Option<&[u8]> {
        match self {
            Self::Change(request) if request.change() == Change::Install && !request.key.is_empty() => {
                Some(&request.key)
            }
            _ => None,
        }
    }

    fn order(&self) -> Result<KeyOrder, String> {
        let Self::Change(request) = self else { return Ok(KeyOrder::List) };
        let key_id = request.key_id.clone();
        match request.change() {
            Change::None => Err("no change of the keys is named".into()),
            Change::Install if request.key.is_empty() => {
                random_gossip_key().map(KeyOrder::Install).map_err(|error| error.to_string())
            }
            Change::Install => GossipKey::new(&request.key).map(KeyOrder::Install).map_err(|bad| bad.to_string()),
            Change::Use => Ok(KeyOrder::Use(key_id)),
            Change::Remove => Ok(KeyOrder::Remove(key_id)),
        }
    }
}

/// What is done, for the audit: without the key.
struct Done<'a>(&'a KeyOrder);

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KeyOrder::List => f.write_str("list gossip keys"),
            KeyOrder::Install(key) => write!(f, "install gossip key {}", key.id()),
            KeyOrder::Use(id) => write!(f, "use gossip key {id:?}"),
            KeyOrder::Remove(id) => write!(f, "remove gossip key {id:?}"),
        }
    }
}

impl<N: Runtime> Management<N> {
    pub(super) async fn keys<T>(&self, keys: &Keys, request: &Request<T>) -> Result<pb::KeysResponse, Status> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(|| Caller::here(None));
        let time = time_for(request);
        if keys.sent().is_some() && !is_private(&caller) {
            return Ok(self.failed(Code::Invalid, IN_THE_CLEAR));
        }
        let status = self.look().await?;
        if status.leader.as_ref() == Some(self.cluster.name()) {
            return Ok(self.keys_here(keys, time, &caller).await);
        }
        let leader = leader_at(&status).filter(|_| !request.metadata().contains_key(HOP_KEY));
        let Some(leader) = leader else { return Ok(self.failed(Code::NoLeader, "no leader is known here")) };
        if keys.sent().is_some() && self.tls.is_none() && !leader.address().ip().is_loopback() {
            return Ok(self.failed(Code::Invalid, IN_THE_CLEAR));
        }
        let called = within::<N, _>(time, self.keys_there(keys, &leader, time, &caller)).await;
        let address: SocketAddr = leader.address();
        Ok(match called {
            Some(Ok(answer)) => answer,
            Some(Err(why)) => self.failed(Code::Generic, format!("the leader at {address}: {}", why.message())),
            None => self.failed(Code::Generic, format!("the leader at {address} did not answer within {time:?}")),
        })
    }

    async fn keys_there(
        &self,
        keys: &Keys,
        leader: &Destination,
        time: Duration,
        caller: &Caller,
    ) -> Result<pb::KeysResponse, Status> {
        let mut at = ClusterManagementClient::new(self.pool.at(leader.clone()));
        Ok(match keys {
            Keys::List => at.list_keys(passed_on(pb::ListKeysRequest {}, time, caller)).await?,
            Keys::Change(request) => at.change_keys(passed_on(request.clone(), time, caller)).await?,
        }
        .into_inner())
    }

    async fn keys_here(&self, keys: &Keys, time: Duration, caller: &Caller) -> pb::KeysResponse {
        let order = match keys.order() {
            Ok(order) => order,
            Err(why) => return self.failed(Code::Invalid, why),
        };
        // What the members say must reach the caller in time.
        let wait = time.saturating_sub(KEYS_ANSWER_SLACK.min(time / 4));
        let (report, error) = match self.cluster.keys(order.clone(), wait).await {
            Ok(report) => {
                let error = fault(&report);
                (report, error)
            }
            Err(why) => (KeyReport::default(), refused(&why)),
        };
        if order != KeyOrder::List {
            Self::audit(&Done(&order), caller, &error);
        }
        let key_id = match &order {
            KeyOrder::Install(key) => key.id().to_string(),
            _ => String::new(),
        };
        let members = report.answers.iter().map(member).collect();
        pb::KeysResponse { node_id: self.me(), error, members, missing: report.missing, key_id }
    }

    fn failed(&self, code: Code, why: impl Into<String>) -> pb::KeysResponse {
        pb::KeysResponse { node_id: self.me(), error: error(code, why), ..pb::KeysResponse::default() }
    }
}

const IN_THE_CLEAR: &str =
    "the key would be sent in the clear: use TLS, ask the leader on its own machine, or let the leader draw the key";

/// Whether nobody else hears what this caller sends.
fn is_private(caller: &Caller) -> bool {
    caller.identity.is_some() || caller.from.is_none_or(|from| from.ip().to_canonical().is_loopback())
}

fn fault(report: &KeyReport) -> Answer {
    if report.is_whole() { None } else { error(Code::Generic, report.faults()) }
}

fn member(answer: &KeyAnswer) -> pb::MemberKeys {
    pb::MemberKeys {
        node_id: answer.node.clone(),
        refused: answer.refused.clone().unwrap_or_default(),
        key_ids: answer.key_ids().map(|id| id.to_string()).collect(),
    }
}
