//! Events for a collector that speaks OTLP (`-log_otel_endpoint`), over gRPC or HTTP.
//!
//! Events wait in a ring of limited size, where the oldest make room for new ones. A separate
//! thread with a small runtime sends them in batches. Only the end of a run waits for it, for a
//! limited time. Events that do not reach the collector are counted, and one warning is printed.
//! This is the only user of the OpenTelemetry crates, whose interfaces change from version to
//! version.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use gossipper_uring::sys;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    LogExporter, Protocol, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{
    LogBatch, LogExporter as _, SdkLogRecord, SdkLogger, SdkLoggerProvider,
};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{EventExporter, LogEvent, Value};
use crate::config::{LogLevel, OtlpConfig, OtlpProtocol};

/// Events of one request.
const BATCH: usize = 256;
/// The time in which events gather for a batch.
const GATHER: Duration = Duration::from_millis(200);
/// The time that a request may take, and that the end of a run waits for the remaining events.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name of the instrumentation scope.
const NAME: &str = "gossipper";

/// The reason why events cannot be sent.
#[derive(Debug, Error)]
pub enum OtlpError {
    /// TLS is asked for and forbidden.
    #[error("{endpoint} is an address for TLS, which -log_otel_insecure forbids")]
    InsecureHttps {
        /// The address.
        endpoint: String,
    },
    /// A header cannot be sent.
    #[error("-log_otel_header {key}: it has characters that a header cannot have")]
    Header {
        /// Name of the header.
        key: String,
    },
    /// The address or the system's certificates cannot be used.
    #[error("{0}")]
    Exporter(String),
    /// The thread cannot be started.
    #[error("its thread cannot be started: {0}")]
    Thread(io::Error),
}

/// The exporter: a ring of events and the thread that sends them.
#[derive(Debug)]
pub struct Otlp {
    ring: Arc<Ring>,
    logger: SdkLogger,
    /// Holds the last moment for sending, once no more events will come.
    over: watch::Sender<Option<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Otlp {
    /// Starts sending to the endpoint of `config`. Up to `buffer` events wait; `attributes` are
    /// those of the resource, beside the name of the service.
    ///
    /// # Errors
    /// If the endpoint or a header is malformed. A collector that does not answer is no error.
    pub fn start(
        config: &OtlpConfig,
        buffer: usize,
        attributes: &[(String, String)],
    ) -> Result<Self, OtlpError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(OtlpError::Thread)?;
        let endpoint = endpoint(config)?;
        let mut exporter = {
            // Connections are made within the runtime, so it must be entered.
            let _entered = runtime.enter();
            exporter(config, &endpoint)?
        };
        let attributes = attributes.iter().cloned().map(|(key, value)| KeyValue::new(key, value));
        let resource = Resource::builder_empty()
            .with_service_name(NAME)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(attributes)
            .build();
        exporter.set_resource(&resource);
        let ring = Arc::new(Ring::new(buffer));
        let (over, ends) = watch::channel(None);
        let sender = Sender { ring: Arc::clone(&ring), exporter, ends, endpoint, is_told: false };
        let thread = thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || send(runtime, sender))
            .map_err(OtlpError::Thread)?;
        // This provider only makes records; it exports nothing.
        let logger = SdkLoggerProvider::builder().build().logger(NAME);
        Ok(Self { ring, logger, over, thread: Some(thread) })
    }
}

impl EventExporter for Otlp {
    fn push(&mut self, event: &LogEvent<'_>) {
        let mut record = self.logger.create_log_record();
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(event.unix_ns);
        record.set_timestamp(time);
        record.set_observed_timestamp(time);
        record.set_event_name(event.kind);
        record.set_severity_text(event.level.name());
        record.set_severity_number(severity(event.level));
        record.set_body(AnyValue::from(event.message.clone().into_owned()));
        record.add_attribute("gossipper.kind", event.kind);
        for &(key, value) in event.attributes.each() {
            record.add_attribute(key, any(value));
        }
        self.ring.push(record);
    }

    fn lost(&self) -> u64 {
        self.ring.lost.load(Ordering::Relaxed)
    }

    fn finish(&mut self) {
        self.over.send_replace(Some(Instant::now() + PATIENCE));
        self.ring.full.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its losses were counted already.
            let _ = thread.join();
        }
    }
}

fn severity(level: LogLevel) -> Severity {
    match level {
        LogLevel::Debug => Severity::Debug,
        LogLevel::Info => Severity::Info,
        LogLevel::Warn => Severity::Warn,
        LogLevel::Error => Severity::Error,
    }
}

fn any(value: Value<'_>) -> AnyValue {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        Value::Number(number) => i64::try_from(number).unwrap_or(i64::MAX).into(),
        Value::Float(number) => number.into(),
        Value::Address(ip) => ip.to_string().into(),
    }
}

/// The waiting events.
#[derive(Debug)]
struct Ring {
    waiting: Mutex<VecDeque<SdkLogRecord>>,
    capacity: usize,
    /// Notified when a whole batch waits, or when no more events will come.
    full: Notify,
    lost: AtomicU64,
}

impl Ring {
    fn new(capacity: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            capacity: capacity.max(1),
            full: Notify::new(),
            lost: AtomicU64::new(0),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<SdkLogRecord>> {
        // The queue is consistent even if the other thread panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: SdkLogRecord) {
        let mut waiting = self.waiting();
        if waiting.len() >= self.capacity {
            waiting.pop_front();
            self.lose(1);
        }
        waiting.push_back(record);
        if waiting.len() >= BATCH.min(self.capacity) {
            self.full.notify_one();
        }
    }

    fn take(&self) -> Vec<SdkLogRecord> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }

    fn lose(&self, count: usize) {
        self.lost.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// The state of the sending thread.
#[derive(Debug)]
struct Sender {
    ring: Arc<Ring>,
    exporter: LogExporter,
    ends: watch::Receiver<Option<Instant>>,
    endpoint: String,
    is_told: bool,
}

fn send(runtime: Runtime, mut sender: Sender) {
    // It may lose events, and counts them; workers must not be late.
    let _ = sys::give_way(0);
    runtime.block_on(sender.run());
    // A resolver may still be busy; it is not waited for.
    runtime.shutdown_background();
}

impl Sender {
    async fn run(&mut self) {
        loop {
            let _ = timeout(GATHER, self.ring.full.notified()).await;
            let is_over = self.ends.borrow().is_some();
            loop {
                let batch = self.ring.take();
                if batch.is_empty() {
                    break;
                }
                self.send_batch(&batch).await;
            }
            if is_over {
                return;
            }
        }
    }

    async fn send_batch(&mut self, batch: &[SdkLogRecord]) {
        let scope = InstrumentationScope::builder(NAME).build();
        let records: Vec<_> = batch.iter().map(|record| (record, &scope)).collect();
        let request = self.exporter.export(LogBatch::new(&records));
        let error = match unless(request, expiry(self.ends.clone())).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "the run is over and it did not answer in time".to_owned(),
        };
        self.ring.lose(batch.len());
        if !std::mem::replace(&mut self.is_told, true) {
            // A closed stderr is ignored: no reader is left.
            let _ = writeln!(
                io::stderr(),
                "warning: cannot send events to {}: {error}; lost events are counted",
                self.endpoint
            );
        }
    }
}

/// Waits until no more events will come and the time for sending is over.
async fn expiry(mut ends: watch::Receiver<Option<Instant>>) {
    loop {
        let end = *ends.borrow_and_update();
        match end {
            Some(end) => return sleep_until(end).await,
            None if ends.changed().await.is_err() => return,
            None => {}
        }
    }
}

/// The result of `work`, or `None` if `end` comes before.
async fn unless<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// The address as a URL: with TLS unless that is forbidden, and with the usual path over HTTP.
fn endpoint(config: &OtlpConfig) -> Result<String, OtlpError> {
    let given = config.endpoint.clone().unwrap_or_default();
    let mut endpoint = match given.split_once("://") {
        Some(("https", _)) if config.insecure => {
            return Err(OtlpError::InsecureHttps { endpoint: given });
        }
        Some(_) => given,
        None if config.insecure => format!("http://{given}"),
        None => format!("https://{given}"),
    };
    if config.protocol == OtlpProtocol::Http {
        let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        if path.is_empty() {
            endpoint = format!("{}/v1/logs", endpoint.trim_end_matches('/'));
        }
    }
    Ok(endpoint)
}

fn exporter(config: &OtlpConfig, endpoint: &str) -> Result<LogExporter, OtlpError> {
    let failed = |error: &dyn std::fmt::Display| OtlpError::Exporter(error.to_string());
    match config.protocol {
        OtlpProtocol::Grpc => {
            let mut builder = LogExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .with_timeout(PATIENCE)
                .with_metadata(metadata(&config.headers)?);
            if endpoint.starts_with("https://") {
                builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
            }
            builder.build().map_err(|error| failed(&error))
        }
        OtlpProtocol::Http => {
            // The same check as over gRPC: a malformed header must not fail every request.
            metadata(&config.headers)?;
            let connector = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| failed(&error))?
                .https_or_http()
                .enable_http1()
                .build();
            let headers: HashMap<String, String> = config.headers.iter().cloned().collect();
            LogExporter::builder()
                .with_http()
                .with_http_client(HyperClient::new(connector, PATIENCE, None))
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(endpoint)
                .with_timeout(PATIENCE)
                .with_headers(headers)
                .build()
                .map_err(|error| failed(&error))
        }
    }
}

fn metadata(headers: &[(String, String)]) -> Result<MetadataMap, OtlpError> {
    let mut map = http::HeaderMap::new();
    for (key, value) in headers {
        let wrong = || OtlpError::Header { key: key.clone() };
        let name = http::HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong())?;
        let value = http::HeaderValue::from_str(value).map_err(|_| wrong())?;
        map.insert(name, value);
    }
    Ok(MetadataMap::from_headers(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str, protocol: OtlpProtocol, insecure: bool) -> OtlpConfig {
        let endpoint = Some(endpoint.to_owned());
        OtlpConfig { endpoint, protocol, insecure, headers: Vec::new() }
    }

    #[test]
    fn endpoints_become_urls() {
        use OtlpProtocol::{Grpc, Http};
        for (given, protocol, insecure, expected) in [
            ("collector:4317", Grpc, false, "https://collector:4317"),
            ("collector:4317", Grpc, true, "http://collector:4317"),
            ("http://collector:4317", Grpc, false, "http://collector:4317"),
            ("collector:4318", Http, true, "http://collector:4318/v1/logs"),
            ("https://collector/", Http, false, "https://collector/v1/logs"),
            ("https://collector/own/path", Http, false, "https://collector/own/path"),
        ] {
            assert_eq!(endpoint(&config(given, protocol, insecure)).unwrap(), expected);
        }
        assert!(endpoint(&config("https://collector", Grpc, true)).is_err());
    }

    #[test]
    fn a_full_ring_gives_up_the_oldest() {
        let ring = Ring::new(2);
        let logger = SdkLoggerProvider::builder().build().logger(NAME);
        for body in ["first", "second", "third"] {
            let mut record = logger.create_log_record();
            record.set_body(body.into());
            ring.push(record);
        }
        let bodies: Vec<_> = ring.take().iter().map(|record| record.body().cloned()).collect();
        assert_eq!(bodies, [Some("second".into()), Some("third".into())]);
        assert_eq!(ring.lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        assert!(metadata(&pair("Authorization", "Bearer x")).is_ok());
        assert!(metadata(&pair("not a name", "x")).is_err());
        assert!(metadata(&pair("name", "a\nb")).is_err());
    }
}
