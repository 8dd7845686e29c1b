//! A channel to one address.

use std::fmt;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use funk_io::Runtime;
use http::{Request, Response, Uri};
use tonic::body::Body;
use tower_service::Service;

use crate::net::BoxFuture;
use crate::pool::{Pool, SendError};

/// Sends everything to one address; goes into any client that tonic generates.
pub struct OneNode<N> {
    pool: Pool<N>,
    address: SocketAddr,
}

impl<N> Clone for OneNode<N> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), address: self.address }
    }
}

impl<N> fmt::Debug for OneNode<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OneNode").field(&self.address).finish()
    }
}

impl<N: Runtime> Pool<N> {
    /// A channel to `address` over this pool's connections.
    pub fn at(&self, address: SocketAddr) -> OneNode<N> {
        OneNode { pool: self.clone(), address }
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
        let uri: Uri = format!("http://{}{path}", node.address).parse().expect("an address and a path make a URI");
        *request.uri_mut() = uri;
        Box::pin(async move { Ok(node.pool.send(node.address, request).await?.map(Body::new)) })
    }
}
