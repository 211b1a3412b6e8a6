//! Events at collectors that speak OTLP, held against the known counts of real runs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::harness::{PATIENCE, certs, gossipper, lock};

/// An answerer that refuses every fifth call.
const REFUSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scenarios/refusing_uas.xml");

/// Events of ten calls, of which two are refused: begin and end of the run and of each call, two
/// unexpected messages, and the messages.
const EVENTS: usize = 2 + 2 * 10 + 2 + MESSAGES;
const MESSAGES: usize = 8 * 6 + 2 * 3;

/// Calls `REFUSING` ten times.
#[track_caller]
fn ten_calls(flags: &[&str]) -> gossipper::Over {
    ten_calls_with(&[], flags)
}

/// Like [`ten_calls`], with these variables in the environment.
#[track_caller]
fn ten_calls_with(variables: &[(&str, &str)], flags: &[&str]) -> gossipper::Over {
    let server_line = ["-sf", REFUSING, "-m", "10", "-i", "127.0.0.1"];
    let (server, address) = gossipper::serve(&server_line);
    let remote = address.to_string();
    let load = ["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "-m", "10", "-r", "100", "-d", "10"];
    let mut command = Command::new(gossipper::PROGRAM);
    command.envs(variables.iter().copied());
    let client = gossipper::start_as(command, &[&load[..], flags, &[&remote]].concat());
    let over = client.finish();
    server.finish().expect_code(0);
    over.expect_code(1)
}

/// A request with its headers.
type Request = (HashMap<String, String>, ExportLogsServiceRequest);

fn records_of(request: &ExportLogsServiceRequest) -> impl Iterator<Item = &LogRecord> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.flat_map(|scope| &scope.log_records)
}

fn count_of(requests: &[Request]) -> usize {
    requests.iter().map(|(_, request)| records_of(request).count()).sum()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn map(attributes: &[KeyValue]) -> HashMap<String, String> {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

/// The TLS of a collector that is called `localhost`.
fn tls(protocol: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(certs::path("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certs::path("server-key.pem")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(config)
}

/// A collector over HTTP that answers until it has all events.
fn http_collector() -> (String, JoinHandle<Vec<Request>>) {
    http_collector_with(|stream| stream)
}

fn http_collector_with<S: Read + Write>(
    secure: impl Fn(TcpStream) -> S + Send + 'static,
) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let collect = move || {
        let mut requests = Vec::new();
        while count_of(&requests) < EVENTS {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut reader = BufReader::new(secure(stream));
            while count_of(&requests) < EVENTS {
                let Some(request) = http_request(&mut reader) else { break };
                requests.push(request);
                reader
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
            }
        }
        requests
    };
    (address, thread::spawn(collect))
}

fn http_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut headers = HashMap::new();
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    assert_eq!(line, "POST /v1/logs HTTP/1.1\r\n");
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    Some((headers, ExportLogsServiceRequest::decode(&body[..]).unwrap()))
}

/// A collector over gRPC that answers until it has all events.
fn grpc_collector(tls: Option<Arc<ServerConfig>>) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let collect = async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        match tls {
            None => grpc_requests(stream).await,
            Some(tls) => {
                let stream = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await.unwrap();
                grpc_requests(stream).await
            }
        }
    };
    (address, thread::spawn(move || runtime.block_on(collect)))
}

async fn grpc_requests(stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<Request> {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut requests = Vec::new();
    // To the end of the connection, so that the last answer is sent.
    while let Some(accepted) = connection.accept().await {
        let Ok((request, mut respond)) = accepted else { break };
        let (parts, mut body) = request.into_parts();
        assert_eq!(parts.uri.path(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        let length = |bytes: &[u8]| match bytes {
            [0, a, b, c, d, ..] => 5 + u32::from_be_bytes([*a, *b, *c, *d]) as usize,
            _ => 5,
        };
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < length(&bytes) {
            // The stream's data arrives while the connection is polled.
            let chunk = std::future::poll_fn(|cx| {
                let _ = connection.poll_closed(cx);
                body.poll_data(cx)
            });
            let Some(chunk) = chunk.await else { break };
            let chunk = chunk.unwrap();
            body.flow_control().release_capacity(chunk.len()).unwrap();
            bytes.extend_from_slice(&chunk);
        }
        let decoded = ExportLogsServiceRequest::decode(&bytes[5..]).unwrap();
        let headers = parts.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
        });
        requests.push((headers.collect(), decoded));
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
        stream.send_data(vec![0; 5].into(), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    }
    requests
}

#[track_caller]
fn check(requests: &[Request]) {
    assert_eq!(count_of(requests), EVENTS);
    let mut kinds: HashMap<(String, String), usize> = HashMap::new();
    for (headers, request) in requests {
        assert_eq!(headers["x-token"], "abc");
        for resource in &request.resource_logs {
            let attributes = map(&resource.resource.as_ref().unwrap().attributes);
            assert_eq!(attributes["service.name"], "gossipper");
            assert_eq!(attributes["service.version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(attributes["gossipper.role"], "client");
            assert_eq!(attributes["site"], "lab 1");
        }
        assert!(records_of(request).count() <= 256);
        for record in records_of(request) {
            let attributes = map(&record.attributes);
            assert_eq!(attributes["gossipper.kind"], record.event_name);
            assert!(!text(record.body.as_ref()).is_empty());
            assert!(record.time_unix_nano > 1_700_000_000_000_000_000);
            let key = (record.event_name.clone(), record.severity_text.clone());
            *kinds.entry(key).or_default() += 1;
            if record.event_name == "call.ended" && record.severity_text == "warn" {
                assert_eq!(attributes["result"], "unexpected_sip");
            }
            if record.event_name == "engine.stopped" {
                assert_eq!(
                    (&attributes["failed"][..], &attributes["dropped_logs"][..]),
                    ("2", "0")
                );
            }
        }
    }
    let count = |kind: &str, level: &str| {
        kinds.get(&(kind.to_owned(), level.to_owned())).copied().unwrap_or(0)
    };
    assert_eq!(count("engine.started", "info"), 1);
    assert_eq!(count("call.started", "info"), 10);
    assert_eq!((count("call.ended", "info"), count("call.ended", "warn")), (8, 2));
    assert_eq!(count("sip.unexpected", "warn"), 2);
    assert_eq!(count("sip.send", "info") + count("sip.recv", "info"), MESSAGES);
    assert_eq!(count("engine.stopped", "info"), 1);
}

#[test]
fn a_collector_over_http_gets_every_event() {
    let _turn = lock::light();
    let (address, requests) = http_collector();
    let flags = ["-log_otel_endpoint", &address, "-log_otel_proto", "http", "-log_otel_insecure"];
    let more = ["-log_otel_header", "X-Token=abc", "-log_attr", "site=lab 1"];
    let over = ten_calls(&[&flags[..], &more].concat());
    check(&requests.join().unwrap());
    assert!(over.summary().0.pointer("/traces").is_none());
}

#[test]
fn a_collector_over_grpc_gets_every_event() {
    let _turn = lock::light();
    let (address, requests) = grpc_collector(None);
    let url = format!("http://{address}");
    let flags = ["-log_otel_endpoint", &url, "-log_otel_header", "x-token=abc"];
    let over = ten_calls(&[&flags[..], &["-log_attr", "site=lab 1"]].concat());
    check(&requests.join().unwrap());
    assert!(over.summary().0.pointer("/traces").is_none());
}

/// Ten calls whose events go to a collector that is called `localhost`, over TLS. The system's
/// certificates are those of our own authority.
fn ten_calls_over_tls(address: &str, protocol: &str) -> gossipper::Over {
    let (_, port) = address.rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}");
    let flags = ["-log_otel_endpoint", &url, "-log_otel_proto", protocol];
    let more = ["-log_otel_header", "x-token=abc", "-log_attr", "site=lab 1"];
    ten_calls_with(&[("SSL_CERT_FILE", &certs::file("ca.pem"))], &[&flags[..], &more].concat())
}

#[test]
fn a_collector_over_https_gets_every_event() {
    let _turn = lock::light();
    let config = tls("http/1.1");
    let (address, requests) = http_collector_with(move |stream| {
        StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream)
    });
    let over = ten_calls_over_tls(&address, "http");
    check(&requests.join().unwrap());
    assert!(over.summary().0.pointer("/traces").is_none());
}

#[test]
fn a_collector_over_grpc_with_tls_gets_every_event() {
    let _turn = lock::light();
    let (address, requests) = grpc_collector(Some(tls("h2")));
    let over = ten_calls_over_tls(&address, "grpc");
    check(&requests.join().unwrap());
    assert!(over.summary().0.pointer("/traces").is_none());
}

#[test]
fn a_collector_that_nobody_vouches_for_gets_no_events() {
    let _turn = lock::light();
    let config = tls("http/1.1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Every connection is accepted; none may reach a request.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            assert!(stream.read(&mut [0; 1]).is_err());
        }
    });
    let url = format!("https://localhost:{port}");
    let flags = ["-log_otel_endpoint", &url, "-log_otel_proto", "http"];
    let stranger = certs::file("stranger.pem");
    let over = ten_calls_with(&[("SSL_CERT_FILE", &stranger)], &flags);
    assert_eq!(over.summary().number("/traces/dropped_events"), EVENTS as u64);
    assert_eq!(over.summary().number("/success_calls"), 8);
}

#[test]
fn a_collector_that_is_down_costs_events_and_no_calls() {
    let _turn = lock::light();
    for protocol in ["grpc", "http"] {
        // Bound, so that the port is free, then closed.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let flags = ["-log_otel_endpoint", &address, "-log_otel_insecure"];
        let over = ten_calls(&[&flags[..], &["-log_otel_proto", protocol]].concat());
        let said = &over.finished.stderr;
        assert_eq!(said.matches("cannot send events to ").count(), 1, "{said}");
        let end = format!("warning: {EVENTS} events did not reach the collector");
        assert!(said.contains(&end), "{said}");
        assert_eq!(over.summary().number("/traces/dropped_events"), EVENTS as u64);
        assert_eq!(over.summary().number("/success_calls"), 8);
    }
}

#[test]
fn what_cannot_be_a_collector_ends_the_run_before_the_first_call() {
    for (flags, reason) in [
        (&["-log_otel_endpoint", "https://h:1", "-log_otel_insecure"][..], "forbids"),
        (&["-log_otel_endpoint", "h:1", "-log_otel_header", "a b=c"][..], "a header cannot have"),
        (&["-log_otel_endpoint", "http://h h"][..], "invalid"),
    ] {
        let line = [&["-sn", "uac", "-i", "127.0.0.1", "-p", "0", "127.0.0.1:9"], flags].concat();
        let over = gossipper::run(&line).expect_code(255);
        let said = &over.finished.stderr;
        assert!(said.contains("-log_otel_endpoint: ") && said.contains(reason), "{said}");
        assert!(over.summary.is_none());
    }
}
