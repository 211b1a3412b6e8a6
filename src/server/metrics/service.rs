//! Counts of the service itself: requests, WebSocket clients, logins, reloads.
//!
//! The counts are made as things happen, through the `metrics` facade, in a recorder that belongs
//! to one [`Service`]. Nothing is global, and two daemons in one process (as in tests) do not mix.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::catalogue::{
    API_CONNECTIONS, API_CONNECTIONS_REFUSED, API_REQUESTS, API_REQUESTS_REFUSED, API_SECONDS,
    AUTH_FAILURES, Family, Kind, LOGINS, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, WS_CLIENTS,
    WS_FRAMES_DROPPED, WS_FRAMES_SENT, WS_STALLED,
};

/// Upper bounds of the buckets of requests, in seconds.
const API_BOUNDS_SECONDS: [f64; 10] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Status codes told apart; any other counts as `other`.
const CODES: [u16; 22] = [
    101, 200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 421, 422, 426,
    429, 500, 503,
];

/// Most routes told apart. There are fewer; the bound is for one with a parameter by mistake.
const ROUTES_MAX: usize = 48;

/// The route of requests beyond [`ROUTES_MAX`].
const OTHER: &str = "other";

/// Requests between two rounds of upkeep: the recorder keeps every duration until then.
const UPKEEP_REQUESTS: u64 = 1024;

/// The outcome of an attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// A token was given out.
    Ok,
    /// The name or the password is wrong.
    Refused,
    /// There were too many attempts.
    Throttled,
}

impl LoginOutcome {
    const ALL: [Self; 3] = [Self::Ok, Self::Refused, Self::Throttled];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
        }
    }
}

/// The reason why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request carried no credentials.
    Missing,
    /// The credentials are wrong, expired or revoked.
    Invalid,
    /// The role does not permit it.
    Forbidden,
    /// There were too many attempts.
    Throttled,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Missing, Self::Invalid, Self::Forbidden, Self::Throttled];

    fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::Throttled => "throttled",
        }
    }
}

/// The reason why a connection was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// All places were taken.
    Full,
    /// The source of the connection had all places that one source gets.
    Source,
    /// The connection waited without a request, and another connection needed its place.
    Displaced,
    /// The TLS handshake failed or took too long.
    Handshake,
}

impl ConnectionRefusal {
    const ALL: [Self; 4] = [Self::Full, Self::Source, Self::Displaced, Self::Handshake];

    fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Source => "source",
            Self::Displaced => "displaced",
            Self::Handshake => "handshake",
        }
    }
}

/// The reason why a request was refused for its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefusal {
    /// The head of the request cannot be read.
    BadHead,
    /// The head of the request is too large.
    LargeHead,
    /// The address of the request is too long.
    LongAddress,
    /// The head of the request took too long.
    SlowHead,
    /// The body of the request is too large.
    LargeBody,
    /// The body of the request took too long.
    SlowBody,
    /// The source of the request had too many open already.
    Source,
    /// The bodies of other requests had all memory that bodies get.
    Bodies,
    /// Other responses had all memory that responses get.
    Responses,
}

impl RequestRefusal {
    const ALL: [Self; 9] = [
        Self::BadHead,
        Self::LargeHead,
        Self::LongAddress,
        Self::SlowHead,
        Self::LargeBody,
        Self::SlowBody,
        Self::Source,
        Self::Bodies,
        Self::Responses,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::BadHead => "bad_head",
            Self::LargeHead => "large_head",
            Self::LongAddress => "long_address",
            Self::SlowHead => "slow_head",
            Self::LargeBody => "large_body",
            Self::SlowBody => "slow_body",
            Self::Source => "source",
            Self::Bodies => "bodies",
            Self::Responses => "responses",
        }
    }
}

/// The handles of one route.
struct Route {
    seconds: Histogram,
    by_code: [OnceLock<Counter>; CODES.len() + 1],
}

/// Counts what the service does.
pub(super) struct Service {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    routes: RwLock<HashMap<String, Arc<Route>>>,
    requests: AtomicU64,
    live_clients: Gauge,
    frames_sent: Counter,
    frames_dropped: Counter,
    live_stalled: Counter,
    logins: [Counter; LoginOutcome::ALL.len()],
    refusals: [Counter; Refusal::ALL.len()],
    connections: Gauge,
    connection_refusals: [Counter; ConnectionRefusal::ALL.len()],
    request_refusals: [Counter; RequestRefusal::ALL.len()],
    reload_successful: Gauge,
    reload_timestamp: Gauge,
}

/// The origin of metrics as the facade asks for it; the exporter does not look at it.
const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn key(family: &Family, labels: &[&str]) -> Key {
    debug_assert_eq!(family.labels.len(), labels.len());
    let pairs = family.labels.iter().zip(labels);
    let labels: Vec<Label> =
        pairs.map(|(name, text)| Label::new(*name, (*text).to_owned())).collect();
    Key::from_parts(family.name, labels)
}

impl Service {
    pub(super) fn new() -> Self {
        let buckets = Matcher::Full(API_SECONDS.name.to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &API_BOUNDS_SECONDS);
        let recorder = builder.unwrap_or_default().build_recorder();
        let described = [
            API_REQUESTS,
            API_SECONDS,
            API_CONNECTIONS,
            API_CONNECTIONS_REFUSED,
            API_REQUESTS_REFUSED,
            WS_CLIENTS,
            WS_FRAMES_SENT,
            WS_FRAMES_DROPPED,
            WS_STALLED,
            LOGINS,
            AUTH_FAILURES,
            RELOAD_SUCCESSFUL,
            RELOAD_TIMESTAMP,
        ];
        for family in described {
            let (name, help) = (KeyName::from_const_str(family.name), family.help.into());
            match family.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let counter = |family, labels: &[&str]| {
            let counter = recorder.register_counter(&key(family, labels), &METADATA);
            counter.increment(0);
            counter
        };
        let gauge = |family| {
            let gauge = recorder.register_gauge(&key(family, &[]), &METADATA);
            gauge.set(0.0);
            gauge
        };
        Self {
            handle: recorder.handle(),
            routes: RwLock::default(),
            requests: AtomicU64::new(0),
            live_clients: gauge(&WS_CLIENTS),
            frames_sent: counter(&WS_FRAMES_SENT, &[]),
            frames_dropped: counter(&WS_FRAMES_DROPPED, &[]),
            live_stalled: counter(&WS_STALLED, &[]),
            logins: LoginOutcome::ALL.map(|outcome| counter(&LOGINS, &[outcome.label()])),
            refusals: Refusal::ALL.map(|reason| counter(&AUTH_FAILURES, &[reason.label()])),
            connections: gauge(&API_CONNECTIONS),
            connection_refusals: ConnectionRefusal::ALL
                .map(|cause| counter(&API_CONNECTIONS_REFUSED, &[cause.label()])),
            request_refusals: RequestRefusal::ALL
                .map(|cause| counter(&API_REQUESTS_REFUSED, &[cause.label()])),
            reload_successful: gauge(&RELOAD_SUCCESSFUL),
            reload_timestamp: gauge(&RELOAD_TIMESTAMP),
            recorder,
        }
    }

    pub(super) fn request(&self, route: &str, code: u16, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        let (route, handles) = match known {
            Some(handles) => (route, handles),
            None => self.admit(route),
        };
        handles.seconds.record(took.as_secs_f64());
        let index = CODES.iter().position(|&known| known == code).unwrap_or(CODES.len());
        let counter = handles.by_code[index].get_or_init(|| {
            let code = if index < CODES.len() { &code.to_string() } else { OTHER };
            self.recorder.register_counter(&key(&API_REQUESTS, &[route, code]), &METADATA)
        });
        counter.increment(1);
        if self.requests.fetch_add(1, Ordering::Relaxed) % UPKEEP_REQUESTS == UPKEEP_REQUESTS - 1 {
            self.handle.run_upkeep();
        }
    }

    /// Takes up a route that is new; returns its handles and the name under which it counts.
    fn admit<'r>(&self, route: &'r str) -> (&'r str, Arc<Route>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = routes.contains_key(route) || routes.len() < ROUTES_MAX - 1;
        let route = if is_known { route } else { OTHER };
        let handles = routes.entry(route.to_owned()).or_insert_with(|| {
            Arc::new(Route {
                seconds: self.recorder.register_histogram(&key(&API_SECONDS, &[route]), &METADATA),
                by_code: [const { OnceLock::new() }; CODES.len() + 1],
            })
        });
        (route, Arc::clone(handles))
    }

    /// Makes a route appear before its first request.
    pub(super) fn declare(&self, route: &str) {
        let (route, handles) = self.admit(route);
        let ok = CODES.iter().position(|&code| code == 200).unwrap_or(CODES.len());
        let counter = handles.by_code[ok].get_or_init(|| {
            self.recorder.register_counter(&key(&API_REQUESTS, &[route, "200"]), &METADATA)
        });
        counter.increment(0);
    }

    pub(super) fn live_opened(&self) {
        self.live_clients.increment(1.0);
    }

    pub(super) fn live_closed(&self) {
        self.live_clients.decrement(1.0);
    }

    pub(super) fn live_frames(&self, sent: u64, dropped: u64) {
        self.frames_sent.increment(sent);
        self.frames_dropped.increment(dropped);
    }

    pub(super) fn live_stalled(&self) {
        self.live_stalled.increment(1);
    }

    pub(super) fn login(&self, outcome: LoginOutcome) {
        self.logins[outcome as usize].increment(1);
    }

    pub(super) fn refused(&self, reason: Refusal) {
        self.refusals[reason as usize].increment(1);
    }

    pub(super) fn connections(&self, open: usize) {
        self.connections.set(open as f64);
    }

    pub(super) fn connection_refused(&self, cause: ConnectionRefusal) {
        self.connection_refusals[cause as usize].increment(1);
    }

    pub(super) fn request_refused(&self, cause: RequestRefusal) {
        self.request_refusals[cause as usize].increment(1);
    }

    pub(super) fn reloaded(&self, is_ok: bool) {
        self.reload_successful.set(if is_ok { 1.0 } else { 0.0 });
        if is_ok {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_timestamp.set(now.as_secs_f64());
        }
    }

    /// Exposition text: families in no particular order.
    pub(super) fn render(&self) -> String {
        self.handle.render()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(service: &Service, start: &str) -> Vec<String> {
        let text = service.render();
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn requests_are_counted_by_route_and_code() {
        let service = Service::new();
        service.declare("/a");
        for code in [200, 200, 404, 418] {
            service.request("/a", code, Duration::from_millis(2));
        }
        let expected = [
            "gossipper_api_requests_total{route=\"/a\",code=\"200\"} 2",
            "gossipper_api_requests_total{route=\"/a\",code=\"404\"} 1",
            "gossipper_api_requests_total{route=\"/a\",code=\"other\"} 1",
        ];
        assert_eq!(lines(&service, "gossipper_api_requests_total"), expected);
        let buckets = lines(&service, "gossipper_api_request_seconds_bucket");
        assert_eq!(buckets.len(), API_BOUNDS_SECONDS.len() + 1);
        assert!(buckets.contains(
            &"gossipper_api_request_seconds_bucket{route=\"/a\",le=\"0.001\"} 0".to_owned()
        ));
        assert!(buckets.contains(
            &"gossipper_api_request_seconds_bucket{route=\"/a\",le=\"0.0025\"} 4".to_owned()
        ));
    }

    #[test]
    fn routes_are_bounded() {
        let service = Service::new();
        for number in 0..200 {
            service.request(&format!("/{number}"), 200, Duration::ZERO);
        }
        let counts = lines(&service, "gossipper_api_requests_total");
        assert_eq!(counts.len(), ROUTES_MAX);
        let rest = 200 - (ROUTES_MAX - 1);
        let other = format!("gossipper_api_requests_total{{route=\"other\",code=\"200\"}} {rest}");
        assert!(counts.contains(&other), "{counts:?}");
    }

    #[test]
    fn two_services_do_not_mix() {
        let (one, other) = (Service::new(), Service::new());
        one.login(LoginOutcome::Refused);
        one.live_opened();
        one.live_opened();
        one.live_closed();
        one.live_frames(3, 2);
        one.live_stalled();
        one.refused(Refusal::Invalid);
        for cause in ConnectionRefusal::ALL {
            (0..=cause as usize).for_each(|_| one.connection_refused(cause));
        }
        for cause in RequestRefusal::ALL {
            (0..=cause as usize).for_each(|_| one.request_refused(cause));
        }
        one.connections(3);
        one.reloaded(true);
        let refused = "gossipper_auth_logins_total{outcome=\"refused\"}";
        assert_eq!(lines(&one, refused), [format!("{refused} 1")]);
        assert_eq!(lines(&other, refused), [format!("{refused} 0")]);
        // Each cause under its own name.
        let expected = [
            "bad_head 1",
            "bodies 8",
            "large_body 5",
            "large_head 2",
            "long_address 3",
            "responses 9",
            "slow_body 6",
            "slow_head 4",
            "source 7",
        ];
        let shown: Vec<String> = lines(&one, "gossipper_api_requests_refused_total")
            .iter()
            .map(|line| line.split_once('"').unwrap().1.replace("\"}", ""))
            .collect();
        assert_eq!(shown, expected);
        let expected = ["displaced 3", "full 1", "handshake 4", "source 2"];
        let shown: Vec<String> = lines(&one, "gossipper_api_connections_refused_total")
            .iter()
            .map(|line| line.split_once('"').unwrap().1.replace("\"}", ""))
            .collect();
        assert_eq!(shown, expected);
        assert_eq!(lines(&one, "gossipper_api_connections "), ["gossipper_api_connections 3"]);
        assert_eq!(
            lines(&one, "gossipper_ws_"),
            [
                "gossipper_ws_clients 1",
                "gossipper_ws_frames_dropped_total 2",
                "gossipper_ws_frames_sent_total 3",
                "gossipper_ws_stalled_total 1",
            ]
        );
        assert_eq!(
            lines(&one, "gossipper_config_last_reload_successful"),
            ["gossipper_config_last_reload_successful 1"]
        );
        one.reloaded(false);
        assert_eq!(
            lines(&one, "gossipper_config_last_reload_successful"),
            ["gossipper_config_last_reload_successful 0"]
        );
    }
}
