//! Calls to a node that answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tonic::{Request, Response, Status};

use super::Failure;
use super::node::{self, Dial, Management};
use super::stage::Stage;

/// The least time that a call is given: none at all is no deadline that can be written.
const TIME_MIN: Duration = Duration::from_millis(1);

/// Nodes that can be asked, and until when.
#[derive(Clone)]
pub(super) struct Asked<'a> {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) dial: Dial,
    pub(super) stage: &'a Stage,
    pub(super) until: Instant,
}

impl Asked<'_> {
    /// Calls one node after the other until one was reached. The call changes nothing.
    pub(super) async fn call<M: Clone, T>(
        &self,
        message: M,
        call: impl AsyncFn(&mut Management, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<(SocketAddr, T), Failure> {
        self.reach(message, None, call).await
    }

    /// The same for a call that changes something; `look` is the command that shows what became of it.
    pub(super) async fn change<M: Clone, T>(
        &self,
        message: M,
        look: &'static str,
        call: impl AsyncFn(&mut Management, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        Ok(self.reach(message, Some(look), call).await?.1)
    }

    async fn reach<M: Clone, T>(
        &self,
        message: M,
        look: Option<&'static str>,
        call: impl AsyncFn(&mut Management, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<(SocketAddr, T), Failure> {
        let mut last = None;
        for &address in &self.addresses {
            self.stage.set_changing(format!("{address} does not answer"), look);
            match call(&mut self.dial.at(address), self.request(message.clone())).await {
                Ok(response) => return Ok((address, response.into_inner())),
                Err(status) if node::not_sent(&status) => last = Some(node::failed(address, &status, None)),
                Err(status) => return Err(node::failed(address, &status, look)),
            }
        }
        Err(last.unwrap_or_else(|| Failure::Refused("no node is known".into())))
    }

    /// A message with the time that is left: the node waits for the leader as long as the caller does.
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.until.saturating_duration_since(Instant::now()).max(TIME_MIN));
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_carries_the_time_that_is_left() {
        let stage = Stage::default();
        let asked = |until| Asked { addresses: Vec::new(), dial: Dial::default(), stage: &stage, until };
        let timeout = |until| asked(until).request(()).metadata().get("grpc-timeout").cloned().unwrap();
        let text = timeout(Instant::now() + Duration::from_secs(60));
        let (digits, unit) = text.to_str().unwrap().split_at(text.len() - 1);
        let digits: u64 = digits.parse().unwrap();
        assert!(unit == "u" && (1..=60_000_000).contains(&digits), "{text:?}");
        assert!(!timeout(Instant::now()).as_bytes().starts_with(b"0"), "no time left is still a deadline");
    }
}
