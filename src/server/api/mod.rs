//! The HTTP API, v1, and the status page. Requests over HTTP become requests to engines, and the
//! state of engines becomes JSON.
//!
//! It knows nothing of sockets (`server/http.rs` has those) and nothing of how engines work: it
//! sees the registry and reads states. [`routes`](self) is the one table from which the router, the
//! checks of roles, the limits and the OpenAPI document are made.

mod app;
mod body;
mod budget;
mod call;
mod clients;
mod control;
mod crowd;
mod dispatch;
mod error;
mod forwarded;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guard;
mod inbound;
mod live;
mod model;
mod openapi;
mod page;
mod probes;
mod reply;
mod routes;
mod scenario;
mod session;
mod stats;
mod transports;

pub(crate) use app::{App, Parts};
pub(crate) use call::Peer;
pub(crate) use dispatch::router;
pub(crate) use error::{ADDRESS_BYTES_MAX, ApiError};
pub(crate) use guard::Names;
pub use openapi::document as openapi_document;
pub use table::{RouteRow, route_rows};

mod table;
