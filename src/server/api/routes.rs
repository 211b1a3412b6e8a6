//! The routes of the API as a table. It is the one source of the router, of the permissions, of the
//! limits of bodies and of the OpenAPI document.

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::call::{Call, Work};
use super::{clients, control, live, model, probes, scenario, session, stats, transports};
use crate::server::auth::Permission;

/// Methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    /// The method in the type of `http`.
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Delete => Method::DELETE,
        }
    }

    /// Tells whether a request changes nothing.
    pub(crate) fn is_safe(self) -> bool {
        self == Self::Get
    }
}

/// The clients that may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// All clients, without signing in.
    Anybody,
    /// Programs of this machine; others as `Needs(Permission::View)`. For programs that watch.
    ThisHost,
    /// Users with this permission.
    Needs(Permission),
}

/// Makes the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The body that a request may have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accepts {
    /// Nothing.
    Nothing,
    /// JSON of at most so many bytes.
    Json { limit_bytes: usize, schema: SchemaOf },
    /// XML of at most so many bytes, and perhaps nothing at all.
    Xml { limit_bytes: usize, may_be_empty: bool },
}

impl Accepts {
    /// The most bytes that a body may have.
    pub(crate) fn limit_bytes(self) -> usize {
        match self {
            Self::Nothing => NO_BODY_BYTES_MAX,
            Self::Json { limit_bytes, .. } | Self::Xml { limit_bytes, .. } => limit_bytes,
        }
    }
}

/// The body of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carries {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(SchemaOf),
    /// Text of this type.
    Text(&'static str),
}

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) is_required: bool,
    pub(crate) schema: fn() -> serde_json::Value,
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    /// Name of the operation in the OpenAPI document.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) accepts: Accepts,
    /// Status of success, its meaning, and the body of the response.
    pub(crate) success: (u16, &'static str, Carries),
    /// Statuses of refusals that this route has beyond those that follow from its other fields.
    pub(crate) refusals: &'static [u16],
    pub(crate) handler: fn(Call) -> Work,
}

/// Bytes of an unexpected body that are read and ignored, so that the connection can go on.
const NO_BODY_BYTES_MAX: usize = 16 << 10;

/// The most bytes of a small JSON body.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// The most bytes of a client snippet.
const SNIPPET_BYTES_MAX: usize = 1 << 20;

/// The most bytes of a scenario.
const SCENARIO_BYTES_MAX: usize = crate::scenario::FILE_BYTES_MAX;

const VIEW: Access = Access::Needs(Permission::View);
const OPERATE: Access = Access::Needs(Permission::Operate);

const CLIENT_ID: Parameter = Parameter {
    name: "id",
    what: "Id of the client.",
    is_required: false,
    schema: || serde_json::json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
};

/// A row that most routes differ from in a few fields.
const GET: Route = Route {
    verb: Verb::Get,
    path: "",
    name: "",
    summary: "",
    access: VIEW,
    parameters: &[],
    accepts: Accepts::Nothing,
    success: (200, "The answer.", Carries::Nothing),
    refusals: &[],
    handler: |_| Box::pin(async { Err(super::error::ApiError::not_found("there is nothing")) }),
};

/// The schema of `T`.
fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// All routes but those of the page.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        path: "/api/v1/auth/status",
        name: "authStatus",
        summary: "The way users sign in",
        access: Access::Anybody,
        success: (200, "The way users sign in.", Carries::Json(of::<model::AuthStatus>)),
        handler: |call| Box::pin(session::status(call)),
        ..GET
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/auth/login",
        name: "login",
        summary: "Sign in with name and password",
        access: Access::Anybody,
        accepts: Accepts::Json { limit_bytes: SMALL_BYTES_MAX, schema: of::<model::LoginRequest> },
        success: (200, "A token.", Carries::Json(of::<model::LoginReply>)),
        refusals: &[401, 404, 429],
        handler: |call| Box::pin(session::login(call)),
        ..GET
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/auth/logout",
        name: "logout",
        summary: "End the session of the token of this request",
        success: (204, "The token is no longer valid.", Carries::Nothing),
        refusals: &[404],
        handler: |call| Box::pin(session::logout(call)),
        ..GET
    },
    Route {
        path: "/api/v1/me",
        name: "me",
        summary: "The name and the role of the caller",
        success: (200, "The caller.", Carries::Json(of::<model::Me>)),
        handler: |call| Box::pin(session::me(call)),
        ..GET
    },
    Route {
        path: "/api/v1/health",
        name: "health",
        summary: "Check that the API answers",
        success: (200, "The API answers.", Carries::Json(of::<model::Health>)),
        handler: |call| Box::pin(probes::health(call)),
        ..GET
    },
    Route {
        path: "/api/v1/stats",
        name: "stats",
        summary: "Figures of all engines",
        success: (200, "Figures.", Carries::Json(of::<model::Stats>)),
        handler: |call| Box::pin(stats::get(call)),
        ..GET
    },
    Route {
        path: "/api/v1/scenario",
        name: "scenario",
        summary: "The scenario of the primary engine",
        success: (200, "The scenario.", Carries::Json(of::<model::Scenario>)),
        handler: |call| Box::pin(scenario::get(call)),
        ..GET
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/scenario",
        name: "writeScenario",
        summary: "Check a scenario, write it to the primary engine's file, and perhaps use it",
        access: OPERATE,
        parameters: &[Parameter {
            name: "apply",
            what: "Use it for new calls at once.",
            is_required: false,
            schema: || serde_json::json!({ "enum": ["1", "true", "0", "false"] }),
        }],
        accepts: Accepts::Xml { limit_bytes: SCENARIO_BYTES_MAX, may_be_empty: false },
        success: (200, "The scenario is written.", Carries::Json(of::<model::Written>)),
        refusals: &[409],
        handler: |call| Box::pin(scenario::put(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/scenario/apply",
        name: "applyScenario",
        summary: "Use the scenario of the body, or the file read again, for new calls",
        access: OPERATE,
        accepts: Accepts::Xml { limit_bytes: SCENARIO_BYTES_MAX, may_be_empty: true },
        success: (200, "New calls follow the scenario.", Carries::Json(of::<model::Applied>)),
        refusals: &[409],
        handler: |call| Box::pin(scenario::apply(call)),
        ..GET
    },
    Route {
        path: "/api/v1/control",
        name: "control",
        summary: "Rate and pause of all engines",
        success: (200, "Rate and pause.", Carries::Json(of::<model::Control>)),
        handler: |call| Box::pin(control::get(call)),
        ..GET
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/control",
        name: "setControl",
        summary: "Change rate or pause of one engine or of all, or start one again that has ended",
        access: OPERATE,
        accepts: Accepts::Json {
            limit_bytes: SMALL_BYTES_MAX,
            schema: of::<model::ControlRequest>,
        },
        success: (200, "Rate and pause as they are now.", Carries::Json(of::<model::Control>)),
        refusals: &[404, 409],
        handler: |call| Box::pin(control::post(call)),
        ..GET
    },
    Route {
        path: "/api/v1/transports",
        name: "transports",
        summary: "Listeners and clients",
        success: (200, "Listeners and clients.", Carries::Json(of::<model::Transports>)),
        handler: |call| Box::pin(transports::get(call)),
        ..GET
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/transports",
        name: "setTransports",
        summary: "Turn listeners and clients on and off",
        access: OPERATE,
        accepts: Accepts::Json {
            limit_bytes: SMALL_BYTES_MAX,
            schema: of::<model::TransportsRequest>,
        },
        success: (
            200,
            "Listeners and clients as they are now.",
            Carries::Json(of::<model::Transports>),
        ),
        refusals: &[404, 409],
        handler: |call| Box::pin(transports::post(call)),
        ..GET
    },
    Route {
        path: "/api/v1/clients",
        name: "clients",
        summary: "Engines that place calls",
        success: (200, "The clients.", Carries::Json(of::<model::Clients>)),
        handler: |call| Box::pin(clients::get(call)),
        ..GET
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/clients",
        name: "startClient",
        summary: "Start a dynamic client",
        access: OPERATE,
        parameters: &[CLIENT_ID],
        accepts: Accepts::Json { limit_bytes: SNIPPET_BYTES_MAX, schema: of::<model::Snippet> },
        success: (201, "The client runs.", Carries::Json(of::<model::Started>)),
        refusals: &[404, 409],
        handler: |call| Box::pin(clients::post(call)),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/clients",
        name: "stopClient",
        summary: "Stop a dynamic client and forget it",
        access: OPERATE,
        parameters: &[Parameter { is_required: true, ..CLIENT_ID }],
        success: (204, "The client ends its calls; its row is removed.", Carries::Nothing),
        refusals: &[404],
        handler: |call| Box::pin(clients::delete(call)),
        ..GET
    },
    Route {
        path: "/api/v1/live",
        name: "live",
        summary: "WebSocket with a frame every interval",
        parameters: &[
            Parameter {
                name: "interval_ms",
                what: "Milliseconds between frames.",
                is_required: false,
                schema: || {
                    serde_json::json!({
                        "type": "integer", "minimum": 250, "maximum": 60000, "default": 750
                    })
                },
            },
            Parameter {
                name: "ticket",
                what: "A ticket from POST /api/v1/live/ticket, for browsers.",
                is_required: false,
                schema: || serde_json::json!({ "type": "string" }),
            },
            Parameter {
                name: "token",
                what: "A token; prefer a ticket, since addresses end up in logs.",
                is_required: false,
                schema: || serde_json::json!({ "type": "string" }),
            },
        ],
        success: (101, "Frames follow, each a Frame.", Carries::Nothing),
        refusals: &[426],
        handler: |call| Box::pin(live::get(call)),
        ..GET
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/live/ticket",
        name: "liveTicket",
        summary: "A ticket that opens the live WebSocket once",
        success: (200, "A ticket.", Carries::Json(of::<model::TicketReply>)),
        handler: |call| Box::pin(live::ticket(call)),
        ..GET
    },
    Route {
        path: "/api/v1/openapi.json",
        name: "openapi",
        summary: "This document",
        access: Access::Anybody,
        success: (200, "The document.", Carries::Text("application/json")),
        handler: |call| Box::pin(probes::openapi(call)),
        ..GET
    },
    Route {
        path: "/livez",
        name: "livez",
        summary: "Check that the process works; restart it if not",
        access: Access::Anybody,
        success: (200, "The process works.", Carries::Json(of::<model::Health>)),
        handler: |call| Box::pin(probes::livez(call)),
        ..GET
    },
    Route {
        path: "/readyz",
        name: "readyz",
        summary: "Check that the primary engine takes calls",
        access: Access::Anybody,
        success: (200, "The primary engine takes calls.", Carries::Json(of::<model::Health>)),
        handler: |call| Box::pin(probes::readyz(call)),
        ..GET
    },
    Route {
        path: "/metrics",
        name: "metrics",
        summary: "Figures for Prometheus",
        access: Access::ThisHost,
        success: (200, "Figures.", Carries::Text("text/plain")),
        handler: |call| Box::pin(probes::metrics(call)),
        ..GET
    },
];

/// The methods that `path` has, as an Allow header; `None` if there is no such path.
pub(crate) fn allowed(path: &str) -> Option<String> {
    let mut verbs: Vec<&str> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path == path) {
        verbs.push(match route.verb {
            Verb::Get => "GET, HEAD",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Delete => "DELETE",
        });
    }
    (!verbs.is_empty()).then(|| verbs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_stands_in_the_table_once() {
        for (index, route) in ROUTES.iter().enumerate() {
            assert!(route.path.starts_with('/') && !route.name.is_empty(), "{route:?}");
            assert!(!route.summary.is_empty() && !route.success.1.is_empty(), "{route:?}");
            for other in &ROUTES[..index] {
                assert!((other.path, other.verb) != (route.path, route.verb), "{route:?}");
                assert_ne!(other.name, route.name);
            }
        }
    }

    #[test]
    fn what_changes_engines_needs_an_operator_and_no_get_does() {
        for route in ROUTES {
            let is_session = route.path.contains("/auth/") || route.path.ends_with("/ticket");
            let expected = !route.verb.is_safe() && !is_session;
            assert_eq!(route.access == OPERATE, expected, "{} {:?}", route.path, route.verb);
        }
    }

    #[test]
    fn a_path_says_which_methods_it_has() {
        assert_eq!(allowed("/api/v1/clients").as_deref(), Some("GET, HEAD, POST, DELETE"));
        assert_eq!(allowed("/api/v1/nothing"), None);
    }
}
