//! A channel to one address.

use std::fmt;
use std::task::{Context, Poll};

use funk_io::Runtime;
use http::{Request, Response, Uri};
use tonic::body::Body;
use tower_service::Service;

use crate::net::BoxFuture;
use crate::pool::{Destination, Pool, SendError};

/// Sends everything to one address; goes into any client that tonic generates.
pub struct OneNode<N> {
    pool: Pool<N>,
    to: Destination,
}

impl<N> Clone for OneNode<N> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), to: self.to.clone() }
    }
}

impl<N> fmt::Debug for OneNode<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OneNode").field(&self.to).finish()
    }
}

impl<N: Runtime> Pool<N> {
    /// A channel to an address, or to the member there, over this pool's connections.
    pub fn at(&self, to: impl Into<Destination>) -> OneNode<N> {
        OneNode { pool: self.clone(), to: to.into() }
    }
}

impl<N: Runtime> Service<Request<Body>> for OneNode<N> {
    type Response = Response<Body>;
    type Error = SendError;
    type Future = BoxFuture<Result<Response<Body>, SendError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let node = self.clone();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = format!("http://{}{path}", node.to.address).parse().expect("an address and a path make a URI");
        *request.uri_mut() = uri;
        Box::pin(async move { Ok(node.pool.send(node.to.clone(), request).await?.map(Body::new)) })
    }
}
