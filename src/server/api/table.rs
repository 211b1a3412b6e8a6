//! The table of routes for checks from outside: each route and the permission that it needs.

use super::routes::{Accepts, Access, ROUTES};
use crate::server::auth::Permission;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// The path.
    pub path: &'static str,
    /// The permission that it needs; `None` if it is open to all (`/metrics`: on this host).
    pub permission: Option<Permission>,
    /// The most bytes that a body may have.
    pub body_bytes_max: usize,
    /// Media type of the body, if there is one.
    pub media_type: Option<&'static str>,
    /// Status of success.
    pub success: u16,
}

/// All routes.
pub fn route_rows() -> Vec<RouteRow> {
    let rows = ROUTES.iter().map(|route| RouteRow {
        method: route.verb.method().to_string(),
        path: route.path,
        permission: match route.access {
            Access::Anybody | Access::ThisHost => None,
            Access::Needs(permission) => Some(permission),
        },
        body_bytes_max: route.accepts.limit_bytes(),
        media_type: match route.accepts {
            Accepts::Nothing => None,
            Accepts::Json { .. } => Some("application/json"),
            Accepts::Xml { .. } => Some("application/xml"),
        },
        success: route.success.0,
    });
    rows.collect()
}
