//! Several gRPC services behind one endpoint.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use crate::net::BoxFuture;

/// Any service: answers a request.
pub(crate) type Handler = Arc<dyn Fn(Request<Body>) -> BoxFuture<Result<Response<Body>, Infallible>> + Send + Sync>;

/// `service` as a handler.
pub(crate) fn handler<S>(service: S) -> Handler
where
    S: GrpcService,
    S::Future: Send,
{
    Arc::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move {
            std::future::poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        })
    })
}

/// gRPC services behind one endpoint, told apart by the first part of the path (`/package.Service/Method`).
///
/// A single service that tonic generates becomes one by `into()`; [`Services::and`] adds another.
///
/// ```
/// # use funk_rpc::Services;
/// # fn example<A, B>(greeter: A, tally: B) -> Services
/// # where Services: From<A>, B: funk_rpc::GrpcService + tonic::server::NamedService, B::Future: Send {
/// Services::from(greeter).and(tally)
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Services(Arc<BTreeMap<String, Handler>>);

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What serves gRPC requests: what tonic generates, and what wraps it. Implemented by all that can.
pub trait GrpcService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static
{
}

impl<S> GrpcService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static
{
}

impl<S> From<S> for Services
where
    S: GrpcService + NamedService,
    S::Future: Send + 'static,
{
    fn from(service: S) -> Self {
        Self::default().and(service)
    }
}

impl Services {
    /// One more service, under the name that its schema gives it. It replaces one of the same name.
    #[must_use]
    pub fn and<S>(self, service: S) -> Self
    where
        S: GrpcService + NamedService,
        S::Future: Send,
    {
        self.named(S::NAME, service)
    }

    /// One more service, under the name `name` (`package.Service`).
    #[must_use]
    pub fn named<S>(mut self, name: &str, service: S) -> Self
    where
        S: GrpcService,
        S::Future: Send,
    {
        Arc::make_mut(&mut self.0).insert(name.to_owned(), handler(service));
        self
    }
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        match self.0.get(name) {
            Some(handler) => handler(request),
            None => {
                let why = format!("this endpoint has no service {name:?}");
                Box::pin(std::future::ready(Ok(Status::unimplemented(why).into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with its own number in a header.
    #[derive(Clone)]
    struct Numbered(u16);

    impl Service<Request<Body>> for Numbered {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("number", self.0.into());
            Box::pin(std::future::ready(Ok(response)))
        }
    }

    #[test]
    fn each_service_gets_its_own_requests_and_what_nobody_serves_is_unimplemented() {
        let mut services = Services::default().named("a.A", Numbered(1)).named("a.AB", Numbered(2));
        let mut ask = |path: &str| {
            let request = Request::post(format!("http://node{path}")).body(Body::empty()).unwrap();
            futures_lite::future::block_on(services.call(request)).unwrap()
        };
        for (path, number) in [("/a.A/Get", "1"), ("/a.AB/Get", "2"), ("/a.A/Put", "1")] {
            assert_eq!(ask(path).headers()["number"], number, "{path}");
        }
        for path in ["/a/Get", "/a.ABC/Get", "/", "/a.A.B"] {
            let response = ask(path);
            assert_eq!(response.headers()["grpc-status"], "12", "{path}");
        }
    }
}
