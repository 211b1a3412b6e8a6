//! The way of a request from the connection to its handler and back. Every row of the table is
//! checked alike and in this order: names, limits of time, the client's rights, the body.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{StatusCode, Uri};
use hyper::upgrade::OnUpgrade;
use tower_http::catch_panic::CatchPanicLayer;

use super::app::App;
use super::body::{self, Allowance, Carried, Parameters, Room};
use super::call::{Answer, Call, Peer, Work};
use super::crowd::Crowd;
use super::error::{ADDRESS_BYTES_MAX, ApiError};
use super::forwarded::{self, Asker};
use super::guard::{self, Names};
use super::page;
use super::reply;
use super::routes::{self, Accepts, Access, ROUTES, Route, Verb};
use crate::server::auth::{Credentials, Identity, IdentityKind, LIVE_PATH, Permission};
use crate::server::metrics::{Refusal, RequestRefusal};
use crate::server::places::Origin;

/// The time that a handler may take; the slowest waits for the workers of an engine.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(60);

/// The router of everything that the daemon serves.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (mut router, rooms) = (Router::new(), Rooms::default());
    for route in ROUTES {
        app.metrics.declare(route.path);
        let (app, rooms) = (Arc::clone(&app), rooms.clone());
        let filter = match route.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Delete => MethodFilter::DELETE,
        };
        let handler =
            move |request: Request| serve(Arc::clone(&app), route, rooms.clone(), request);
        router = router.route(route.path, on(filter, handler));
    }
    for file in page::FILES {
        router = router.route(file.path, on(MethodFilter::GET, move || async { file.response() }));
    }
    router
        .fallback(async |request: Request| {
            let (parts, body) = request.into_parts();
            body::drain(&parts.headers, body).await;
            // The target of a CONNECT has no path.
            let path = match parts.uri.path() {
                "" => parts.uri.to_string(),
                path => path.to_owned(),
            };
            let path: String = path.chars().take(200).collect();
            ApiError::not_found(format!("there is no route {path}"))
        })
        .method_not_allowed_fallback(async |request: Request| {
            let (parts, body) = request.into_parts();
            body::drain(&parts.headers, body).await;
            let path = parts.uri.path();
            let allowed = routes::allowed(path).unwrap_or_else(|| "GET, HEAD".to_owned());
            ApiError::method_not_allowed(parts.method.as_str(), path, &allowed)
        })
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(middleware::from_fn_with_state(Shared { app, crowd: Arc::default() }, around))
}

/// The memory that bodies have together, and that of responses.
#[derive(Clone, Default)]
struct Rooms {
    bodies: Room,
    responses: reply::Room,
}

/// The state that all requests share.
#[derive(Clone)]
struct Shared {
    app: Arc<App>,
    crowd: Arc<Crowd>,
}

/// The work around every request, whatever becomes of it: checks, headers, metrics and log.
async fn around(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let app = &shared.app;
    let admitted = shared.receive(&mut request);
    let peer = request.extensions().get::<Peer>().cloned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let (parts, body) = request.into_parts();
            body::drain(&parts.headers, body).await;
            error.into_response()
        }
    };
    let is_secure = peer.as_ref().is_some_and(|peer| peer.is_secure);
    guard::add_headers(response.headers_mut(), is_secure);
    let took = begin.elapsed();
    let code = response.status().as_u16();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    app.metrics.request(route, code, took);
    // Without the query: it may hold a token.
    let path = uri.path();
    let source = peer.map(|peer| peer.address.to_string()).unwrap_or_default();
    tracing::debug!(%method, path, code, source, took_us = took.as_micros() as u64, "request");
    response
}

impl Shared {
    /// Checks the length of the address, the client and the name of the host, before anything else.
    fn receive(&self, request: &mut Request) -> Result<(), ApiError> {
        let (app, names) = (&self.app, self.app.names.load());
        if request.uri().to_string().len() > ADDRESS_BYTES_MAX {
            app.metrics.request_refused(RequestRefusal::LongAddress);
            return Err(ApiError::address_too_long());
        }
        if let Some(mut peer) = request.extensions().get::<Peer>().cloned() {
            self.identify(request.headers(), &mut peer, &names)?;
            request.extensions_mut().insert(peer);
        }
        names.check_host(request.version(), request.headers())
    }

    /// Finds the client behind a proxy, and bounds its open requests.
    fn identify(
        &self,
        headers: &HeaderMap,
        peer: &mut Peer,
        names: &Names,
    ) -> Result<(), ApiError> {
        let (connected, is_relayed) = (peer.address.ip(), forwarded::is_relayed(headers));
        let asker = forwarded::asker(headers, connected, names);
        if is_relayed {
            let is_trusted = names.is_proxy(connected);
            let origin = if is_trusted { Origin::Proxy } else { Origin::Relay };
            // The connection counts as one of this host until it ends.
            peer.seat.relay(connected, origin).map_err(|_| {
                ApiError::unavailable("too many connections; try again in a while")
                    .with(CONNECTION, HeaderValue::from_static("close"))
            })?;
        }
        peer.stands_for(asker, is_relayed);
        // A program of this host that adds no header is bounded by its connections instead
        // (`server/places.rs`), even if its address is that of a trusted proxy.
        let is_silent = !is_relayed && peer.seat.is_here();
        if asker == Asker::Peer || is_silent {
            return Ok(());
        }
        let turn = self.crowd.enter(peer.address.ip()).ok_or_else(|| {
            self.app.metrics.request_refused(RequestRefusal::Source);
            ApiError::unavailable("too many requests of your address are open; wait")
        })?;
        peer.turn = Some(Arc::new(turn));
        Ok(())
    }
}

/// The response to a request whose handler panicked.
fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    mistake(&*panic).into_response()
}

fn mistake(panic: &(dyn Any + Send)) -> ApiError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::internal("the daemon had an internal error; its log has details")
}

/// Serves one row of the table.
async fn serve(app: Arc<App>, route: &'static Route, rooms: Rooms, request: Request) -> Response {
    let metrics = Arc::clone(&app.metrics);
    let answer = answer(app, route, &rooms.bodies, request).await;
    let response = answer.unwrap_or_else(ApiError::into_response);
    rooms.responses.hold(response).await.unwrap_or_else(|error| {
        metrics.request_refused(RequestRefusal::Responses);
        error.into_response()
    })
}

async fn answer(app: Arc<App>, route: &'static Route, room: &Room, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.remove::<Peer>();
    let peer = peer.ok_or_else(|| ApiError::internal("the connection of a request is lost"))?;
    let admitted = admit(&app, route, &parts, &peer).and_then(|who| {
        let known: Vec<&str> = route.parameters.iter().map(|parameter| parameter.name).collect();
        Ok((who, Parameters::of(&parts.uri, &known)?))
    });
    let (who, parameters) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            body::drain(&parts.headers, body).await;
            return Err(error);
        }
    };
    let known = who.as_ref().filter(|who| who.kind != IdentityKind::Anonymous);
    let seat = Arc::clone(&peer.seat);
    let vouched = known.and_then(|who| seat.vouch(&who.username));
    // An anonymous client that was let in may still send as much as the route takes.
    let allowance = match who {
        Some(_) => Allowance::of_known,
        None => Allowance::of_stranger,
    };
    let allowance = allowance(route.accepts.limit_bytes());
    let body = carried(route, &parts.headers, body, allowance, room).await;
    let body = body.inspect_err(|error| count_body(&app, error))?;
    let _working = vouched.or_else(|| seat.work());
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let headers = parts.headers;
    let call = Call { app, who, peer, headers, parameters, body, upgrade };
    let work = (route.handler)(call);
    let work = match route.verb.is_safe() {
        true => work,
        false => Box::pin(to_the_end(work)),
    };
    match tokio::time::timeout(HANDLER_TIMEOUT, work).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::unavailable(format!(
            "no answer within {} s; what was asked for may still happen",
            HANDLER_TIMEOUT.as_secs()
        ))),
    }
}

/// Does `work` in a task of its own. A change and its row in the audit log belong together, and a
/// client that hangs up in between must not part them.
async fn to_the_end(work: Work) -> Answer {
    tokio::spawn(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => Err(mistake(&*panic)),
        Err(_) => Err(ApiError::unavailable("the daemon is shutting down")),
    })
}

/// Returns the author of a request if that author may use `route`; `None` on an open route.
fn admit(
    app: &App,
    route: &Route,
    parts: &Parts,
    peer: &Peer,
) -> Result<Option<Identity>, ApiError> {
    // A WebSocket begins with a GET, and browsers open one to any origin.
    if !route.verb.is_safe() || route.path == LIVE_PATH {
        app.names.load().check_origin(&parts.headers)?;
    }
    if route.access == Access::Anybody {
        return Ok(None);
    }
    let authorization = authorization(&parts.headers);
    let ticket = query_value(&parts.uri, "ticket");
    let query_token = query_value(&parts.uri, "token");
    let credentials = Credentials {
        authorization: authorization.as_ref().ok().copied().flatten(),
        ticket: ticket.as_deref().filter(|_| route.path == LIVE_PATH),
        query_token: query_token.as_deref(),
    };
    let permission = match route.access {
        // A good token is noted as used, although none is needed.
        Access::ThisHost if peer.is_here => {
            let source = peer.address.ip();
            return Ok(app.auth().authenticate(&credentials, route.path, source).ok());
        }
        Access::Anybody | Access::ThisHost => Permission::View,
        Access::Needs(permission) => permission,
    };
    let is_given = authorization?.is_some() || ticket.is_some() || query_token.is_some();
    let source = peer.address.ip();
    let refused = |error: &ApiError| {
        app.metrics.unauthorized(match error.status() {
            StatusCode::TOO_MANY_REQUESTS => Refusal::Throttled,
            StatusCode::FORBIDDEN => Refusal::Forbidden,
            _ if is_given => Refusal::Invalid,
            _ => Refusal::Missing,
        });
    };
    let who = app.auth().authenticate(&credentials, route.path, source).map_err(ApiError::from);
    let who = who.inspect_err(refused)?;
    let allowed = app.auth().authorize(&who, permission).map_err(ApiError::from);
    allowed.inspect_err(refused)?;
    Ok(Some(who))
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(ApiError::unauthorized("the request needs one readable Authorization header")),
    }
}

/// The value of a parameter of the query, if it stands there exactly once.
fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let axum::extract::Query(pairs) =
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let mut values = pairs.into_iter().filter(|(key, _)| key == name).map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Reads the body of a request, if it is of the kind that the route accepts.
async fn carried(
    route: &Route,
    headers: &HeaderMap,
    body: Body,
    allowance: Allowance,
    room: &Room,
) -> Result<Carried, ApiError> {
    let media_type = body::media_type(headers);
    let is_accepted = |accepted: &[&str]| match &media_type {
        // No type is given: reading the body will show what it is.
        None => Ok(()),
        Some(given) if accepted.contains(&given.as_str()) => Ok(()),
        Some(given) => Err(ApiError::unsupported(given, accepted[0])),
    };
    let kind = match route.accepts {
        Accepts::Nothing => Ok(()),
        Accepts::Json { .. } => is_accepted(&["application/json"]),
        Accepts::Xml { may_be_empty: true, .. } if announces_nothing(headers) => Ok(()),
        Accepts::Xml { .. } => is_accepted(&["application/xml", "text/xml", FORM]),
    };
    if let Err(error) = kind {
        body::drain(headers, body).await;
        return Err(error);
    }
    let body = body::read(headers, body, allowance, room).await?;
    match media_type.as_deref() {
        Some(FORM) if !looks_like_xml(&body.bytes) => {
            Err(ApiError::unsupported(FORM, "application/xml"))
        }
        _ => Ok(body),
    }
}

/// The media type that curl sends with a body for which no type is given.
const FORM: &str = "application/x-www-form-urlencoded";

/// Tells whether a body is no form: a form has no tags.
fn looks_like_xml(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    text.trim_ascii_start().first().is_none_or(|&first| first == b'<')
}

/// Counts a body that was too slow or too large, or for which there was no memory.
fn count_body(app: &App, error: &ApiError) {
    match error.status() {
        StatusCode::SERVICE_UNAVAILABLE => app.metrics.request_refused(RequestRefusal::Bodies),
        StatusCode::REQUEST_TIMEOUT => app.metrics.request_refused(RequestRefusal::SlowBody),
        StatusCode::PAYLOAD_TOO_LARGE => app.metrics.request_refused(RequestRefusal::LargeBody),
        _ => {}
    }
}

fn announces_nothing(headers: &HeaderMap) -> bool {
    let len = headers.get(http::header::CONTENT_LENGTH);
    let is_chunked = headers.contains_key(http::header::TRANSFER_ENCODING);
    !is_chunked && len.is_none_or(|len| len.as_bytes() == b"0")
}
