//! Which role may call what, and the gate that refuses the others.
//!
//! Without TLS nobody has a role, and everything is open to whoever reaches the port.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use funk_tls::{Role, Roles};
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use crate::caller::{CALLER, Caller};
use crate::net::BoxFuture;

/// All but clients.
const READS: Roles = Roles::NODES.and(Role::Operator).and(Role::Observer);
/// Operators. A node passes on what others ask for, or its own process.
const CHANGES: Roles = Roles::NONE.and(Role::Operator);

/// The calls of the services that every node has.
const TABLE: [(&str, Roles); 16] = [
    ("/managepb.ClusterManagement/GetStatus", READS),
    ("/managepb.ClusterManagement/ListNodes", READS),
    ("/managepb.ClusterManagement/ListShards", READS),
    ("/managepb.ClusterManagement/PlanShards", READS),
    ("/managepb.ClusterManagement/ListKeys", READS),
    ("/managepb.ClusterManagement/ListEndpoints", Roles::ANY),
    ("/managepb.ClusterManagement/AddNode", CHANGES),
    ("/managepb.ClusterManagement/RemoveNode", CHANGES),
    ("/managepb.ClusterManagement/DrainNode", CHANGES),
    ("/managepb.ClusterManagement/PinShards", CHANGES),
    ("/managepb.ClusterManagement/ChangeKeys", CHANGES),
    ("/managepb.ClusterManagement/StepDown", CHANGES),
    ("/managepb.ClusterManagement/Recover", CHANGES),
    ("/funk.cluster.v1.Cluster/Watch", Roles::ANY),
    ("/funk.cluster.v1.Cluster/Endpoints", Roles::ANY),
    ("/funk.cluster.v1.Cluster/Propose", Roles::NODES.and(Role::Operator)),
];

/// Who may call a service of the user.
const SERVICE: Roles = Roles::NODES.and(Role::Client);

/// Which calls a gate is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarded {
    /// Those of the services that every node has.
    Own,
    /// A service of the user.
    Service,
}

impl Guarded {
    /// Who may call `path`. What is in no table gets nobody anywhere: there is no such call.
    fn roles(self, path: &str) -> Roles {
        match self {
            Self::Service => SERVICE,
            Self::Own => TABLE.iter().find(|(call, _)| *call == path).map_or(Roles::ANY, |(_, roles)| *roles),
        }
    }
}

/// Whether `caller` may call `path`; else what is missing.
fn check(guarded: Guarded, path: &str, caller: &Caller, permit_plaintext: bool) -> Result<(), String> {
    let roles = guarded.roles(path);
    let Some(identity) = &caller.identity else {
        return match &caller.through {
            // Nobody showed a certificate at the node that passed it on.
            Some(node) if !permit_plaintext => {
                Err(format!("{node} passes on what somebody without a certificate asks for; {roles} may"))
            }
            _ => Ok(()),
        };
    };
    // The process of a node may do what an operator may, through its own node.
    let own = caller.through.as_ref() == Some(identity);
    if roles.contains(identity.role) || own && identity.role == Role::Node {
        return Ok(());
    }
    Err(format!("{identity} may not do this: a certificate of the role {roles} is needed"))
}

/// Lets only those through to a service who may call it, and finds out who calls.
#[derive(Clone, Debug)]
pub(crate) struct Gate<S> {
    inner: S,
    guarded: Guarded,
    permit_plaintext: bool,
}

impl<S> Gate<S> {
    pub(crate) const fn new(inner: S, guarded: Guarded, permit_plaintext: bool) -> Self {
        Self { inner, guarded, permit_plaintext }
    }
}

/// Puts whoever is behind a call into its extensions, and takes out what others say of it.
fn identify(request: &mut Request<Body>) -> Option<Caller> {
    let caller = request.extensions().get::<Caller>().cloned()?;
    let is_node = caller.identity.as_ref().is_some_and(|identity| identity.role == Role::Node);
    let caller =
        if is_node && request.headers().contains_key(CALLER) { caller.behind(request.headers()) } else { caller };
    request.headers_mut().remove(CALLER);
    match &caller.identity {
        Some(identity) => request.extensions_mut().insert(Arc::clone(identity)),
        None => request.extensions_mut().remove::<Arc<funk_tls::Identity>>(),
    };
    request.extensions_mut().insert(caller.clone());
    Some(caller)
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(caller) = identify(&mut request) {
            let path = request.uri().path();
            if let Err(why) = check(self.guarded, path, &caller, self.permit_plaintext) {
                let from = caller.from.map(|from| from.to_string()).unwrap_or_default();
                tracing::info!(target: "funk::audit", who = %caller, from, what = path, outcome = "permission denied");
                let refused = Status::new(Code::PermissionDenied, why).into_http();
                return Box::pin(std::future::ready(Ok(refused)));
            }
        }
        Box::pin(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role) -> Caller {
        let identity = format!("spiffe://d/c/{role}/x").parse().unwrap();
        Caller::at("10.0.0.9:1".parse().unwrap(), Some(Arc::new(identity)))
    }

    #[test]
    fn every_call_of_every_schema_is_in_the_table_and_nothing_else_is() {
        let schemas = [include_str!("../../proto/managepb.proto"), include_str!("../../proto/cluster.proto")];
        let mut calls = Vec::new();
        for schema in schemas {
            let package = schema.lines().find_map(|line| line.strip_prefix("package ")).unwrap().trim_end_matches(';');
            let service = schema.lines().find_map(|line| line.strip_prefix("service ")).unwrap();
            let service = service.split_whitespace().next().unwrap();
            let names = schema.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
            calls.extend(names.map(|name| format!("/{package}.{service}/{}", name.split('(').next().unwrap())));
        }
        calls.sort();
        let mut listed: Vec<_> = TABLE.iter().map(|(call, _)| (*call).to_owned()).collect();
        listed.sort();
        assert_eq!(listed, calls);
    }

    /// One row for each call: node, operator, observer, client.
    #[test]
    fn each_role_may_do_what_it_may_and_is_told_what_is_missing_for_the_rest() {
        let rows = [
            ("/managepb.ClusterManagement/GetStatus", [true, true, true, false]),
            ("/managepb.ClusterManagement/ListNodes", [true, true, true, false]),
            ("/managepb.ClusterManagement/ListShards", [true, true, true, false]),
            ("/managepb.ClusterManagement/PlanShards", [true, true, true, false]),
            ("/managepb.ClusterManagement/ListKeys", [true, true, true, false]),
            ("/managepb.ClusterManagement/ListEndpoints", [true, true, true, true]),
            ("/managepb.ClusterManagement/AddNode", [false, true, false, false]),
            ("/managepb.ClusterManagement/RemoveNode", [false, true, false, false]),
            ("/managepb.ClusterManagement/DrainNode", [false, true, false, false]),
            ("/managepb.ClusterManagement/PinShards", [false, true, false, false]),
            ("/managepb.ClusterManagement/ChangeKeys", [false, true, false, false]),
            ("/managepb.ClusterManagement/StepDown", [false, true, false, false]),
            ("/managepb.ClusterManagement/Recover", [false, true, false, false]),
            ("/funk.cluster.v1.Cluster/Watch", [true, true, true, true]),
            ("/funk.cluster.v1.Cluster/Endpoints", [true, true, true, true]),
            ("/funk.cluster.v1.Cluster/Propose", [true, true, false, false]),
        ];
        assert_eq!(rows.len(), TABLE.len());
        for (path, may) in rows {
            for (role, may) in Role::ALL.into_iter().zip(may) {
                let checked = check(Guarded::Own, path, &caller(role), false);
                assert_eq!(checked.is_ok(), may, "{path} {role}");
                if let Err(why) = checked {
                    assert!(why.contains("operator") && why.contains(role.as_str()), "{why}");
                }
            }
        }
        for (role, may) in Role::ALL.into_iter().zip([true, false, false, true]) {
            assert_eq!(check(Guarded::Service, "/a.B/C", &caller(role), false).is_ok(), may, "{role}");
        }
    }

    #[test]
    fn what_a_node_passes_on_is_judged_by_whoever_asked_for_it() {
        let remove = "/managepb.ClusterManagement/RemoveNode";
        let node = caller(Role::Node).identity;
        let through = |caller: Caller| Caller { through: node.clone(), ..caller };
        let may = |caller: &Caller, permits| check(Guarded::Own, remove, caller, permits).is_ok();
        for (role, is) in [(Role::Operator, true), (Role::Observer, false), (Role::Client, false)] {
            assert_eq!(may(&through(caller(role)), false), is, "{role}");
        }
        assert!(may(&through(caller(Role::Node)), false), "its own process");
        let other: funk_tls::Identity = "spiffe://d/c/node/other".parse().unwrap();
        assert!(!may(&through(Caller::here(Some(Arc::new(other)))), false), "another node's");
        let nameless = through(Caller::at("10.0.0.9:1".parse().unwrap(), None));
        assert!(!may(&nameless, false) && may(&nameless, true));
        assert!(may(&Caller::at("10.0.0.9:1".parse().unwrap(), None), false), "without TLS nobody has a role");
    }

    #[test]
    fn only_a_node_says_who_is_behind_a_call() {
        let told = Caller::here(Some(Arc::new("spiffe://d/c/operator/alice".parse().unwrap())));
        for role in Role::ALL {
            let mut request = Request::new(Body::empty());
            request.headers_mut().insert(CALLER, told.header().unwrap());
            request.extensions_mut().insert(caller(role));
            let found = identify(&mut request).unwrap();
            let expected = if role == Role::Node { Role::Operator } else { role };
            assert_eq!(found.identity.as_ref().unwrap().role, expected);
            assert_eq!(request.extensions().get::<Arc<funk_tls::Identity>>(), found.identity.as_ref());
            assert!(!request.headers().contains_key(CALLER));
        }
    }
}
