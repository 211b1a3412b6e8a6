//! The life of the daemon: start, reload, end, and its reports to the service manager.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};

use crate::harness;
use crate::harness::http::Client;
use crate::harness::peer::Peer;
use crate::harness::service::{self as daemon, management, until};
use crate::harness::{lock, ports, sipp, tools};

fn load(target: u16) -> Value {
    json!({
        "role": "load",
        "scenario_name": "uac",
        "transport": "u1",
        "local_ip": "127.0.0.1",
        "local_port": ports::free(),
        "remote_addr": format!("127.0.0.1:{target}"),
        "rate": 20,
        "total_calls": 0,
    })
}

fn summary(path: std::path::PathBuf) -> Value {
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a summary is JSON")
}

#[test]
fn it_ends_in_order_and_leaves_its_reports() {
    let _lock = lock::light();
    let target = ports::free();
    let _sipp = sipp::serve(target, &["-sn", "uas", "-i", "127.0.0.1"]);
    let mut server = management();
    server.as_object_mut().unwrap().remove("api_addr");
    server["summary_json"] = json!("server.json");
    let mut client = load(target);
    client["id"] = json!("load");
    client["summary_json"] = json!("load.json");
    let config = json!({ "api_addr": "127.0.0.1:0", "server": server, "clients": [client] });
    let daemon = daemon::start(&config);
    let api = daemon.client();
    until("calls", || {
        let stats = api.get("/api/v1/stats").json();
        (stats["engines"][1]["stats"]["success_calls"].as_u64()? > 5).then_some(())
    });
    let (finished, folder) = daemon.stop();
    // The last line of a journal has figures.
    let last = finished.stderr.trim_end().lines().last().unwrap_or_default();
    assert!(last.contains(": ended: "), "{}", finished.stderr);
    let written = summary(folder.join("load.json"));
    let number = |key: &str| written[key].as_u64().unwrap();
    let [all, good, bad] = ["total_calls", "success_calls", "failed_calls"].map(number);
    let totals = format!("engine load: ended: {all} calls, {good} successful, {bad} failed");
    assert!(finished.stderr.contains(&totals), "{totals}: {}", finished.stderr);
    assert!(number("total_calls") > 5, "{written}");
    let parts = ["success_calls", "failed_calls", "active_calls"].map(number);
    assert_eq!(number("total_calls"), parts.iter().sum::<u64>(), "{written}");
    assert_eq!(number("active_calls"), 0, "{written}");
    assert_eq!(summary(folder.join("server.json"))["schema_version"], "gossipper_summary_v1");
}

#[test]
fn while_it_ends_it_says_so_and_a_second_signal_ends_it_at_once() {
    let _lock = lock::light();
    let mut config = management();
    config["scenario_name"] = json!("uas");
    let daemon = daemon::start(&config);
    let port = config["local_port"].as_u64().unwrap();
    // A call that never ends: the caller sends nothing after its INVITE.
    let silent = harness::peer::Peer::new();
    let target = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
    let own = silent.address();
    silent.send(
        target,
        format!(
            "INVITE sip:a@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-1\r\n\
             From: <sip:a@{own}>;tag=1\r\nTo: <sip:a@{target}>\r\nCall-ID: 1@test\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:a@{own}>\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    silent.receive_kind("200");
    let api = daemon.client();
    api.get("/readyz").expect(200);
    until("open call", || {
        let stats = api.get("/api/v1/stats").json();
        (stats["stats"]["active_calls"] == 1).then_some(())
    });
    daemon.signal(Signal::TERM);
    until("refusal", || match api.get("/readyz").status {
        503 => Some(()),
        _ => None,
    });
    api.get("/livez").expect(200);
    daemon.signal(Signal::TERM);
    let (finished, _) = daemon.finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("at once"), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 open call may end for 26 s"), "{}", finished.stderr);
}

#[test]
fn load_without_an_api_ends_with_its_result() {
    let _lock = lock::light();
    let target = ports::free();
    let _sipp = sipp::serve(target, &["-sn", "uas", "-i", "127.0.0.1"]);
    let mut config = load(target);
    config["total_calls"] = json!(10);
    config["summary_json"] = json!("load.json");
    let (finished, folder) = daemon::prepare(&config).start_without_api().finish();
    let finished = finished.expect_code(0);
    assert!(!finished.stderr.contains("status page"), "{}", finished.stderr);
    assert_eq!(summary(folder.join("load.json"))["success_calls"], json!(10));

    // Nothing answers there.
    let mut config = load(ports::free());
    config["total_calls"] = json!(1);
    let (finished, _) = daemon::prepare(&config).start_without_api().finish();
    finished.expect_code(1);
}

#[test]
fn a_daemon_outlives_its_clients() {
    let _lock = lock::light();
    let mut server = management();
    server.as_object_mut().unwrap().remove("api_addr");
    let port = server["local_port"].clone();
    let mut client = load(u16::try_from(port.as_u64().unwrap()).unwrap());
    client["id"] = json!("short");
    client["total_calls"] = json!(3);
    let config = json!({ "api_addr": "127.0.0.1:0", "server": server, "clients": [client] });
    let daemon = daemon::start(&config);
    let api = daemon.client();
    until("end of the client", || {
        let stats = api.get("/api/v1/stats").json();
        (stats["engines"][1]["state"]["phase"] == "finished").then_some(())
    });
    api.get("/readyz").expect(200);
    let stats = api.get("/api/v1/stats").json();
    assert_eq!(stats["engines"][1]["stats"]["success_calls"], json!(3), "{stats}");
    assert_eq!(stats["engines"][1]["state"]["exit_code"], json!(0), "{stats}");
    daemon.stop();
}

#[test]
fn a_taken_address_is_said_before_the_first_call() {
    let _lock = lock::light();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = management();
    config["api_addr"] = json!(taken.local_addr().unwrap().to_string());
    let (finished, _) = daemon::prepare(&config).start_without_api().finish();
    let finished = finished.expect_code(254);
    assert!(finished.stderr.contains("api_addr"), "{}", finished.stderr);

    // The first engine's error, too: once, and in the journal with its level in each line.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = management();
    config["local_port"] = json!(taken.local_addr().unwrap().port());
    let daemon = daemon::prepare(&config).environment("JOURNAL_STREAM", "1:2");
    let (finished, _) = daemon.start_without_api().finish();
    let stderr = finished.expect_code(254).stderr;
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains("<3>")).collect();
    assert!(lines[0].starts_with("<3>engine primary: cannot bind UDP 127.0.0.1:"), "{stderr}");
    assert!(lines[1].starts_with("<3>  hint: ") && lines[1].contains("local_port"), "{stderr}");
    assert_eq!(stderr.matches("cannot bind").count(), 1, "{stderr}");
}

#[test]
fn an_address_that_is_about_to_be_free_is_waited_for() {
    let _lock = lock::light();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = management();
    config["api_addr"] = json!(taken.local_addr().unwrap().to_string());
    let mut daemon = daemon::prepare(&config).start_without_api();
    std::thread::sleep(Duration::from_millis(200));
    drop(taken);
    daemon.process().wait_for_stderr("status page");
    daemon.stop();
}

#[test]
fn what_several_listeners_have_to_say_is_said_once() {
    let _lock = lock::light();
    let mut config = management();
    config["listeners"] = json!([
        { "transport": "u1", "local_ip": "127.0.0.1", "local_port": 0 },
        { "transport": "t1", "local_ip": "127.0.0.1", "local_port": 0 },
    ]);
    // No host has as many processors.
    config["extra_args"] = json!(["-cpus", "1022,1023", "-workers", "2"]);
    let (finished, _) = daemon::start(&config).stop();
    let said = finished.stderr.matches("-cpus: workers are not pinned to CPU 1022, 1023").count();
    assert_eq!(said, 1, "{}", finished.stderr);
}

#[test]
fn the_configuration_is_read_again_and_a_mistake_changes_nothing() {
    let _lock = lock::light();
    let config = management();
    let mut daemon = daemon::start(&config);
    let api = daemon.client();
    assert!(!daemon.process().stderr().contains("DEBUG"));
    daemon.write("gossipper.json", "{ \"api_adr\": 1 }");
    daemon.signal(Signal::HUP);
    daemon.process().wait_for_stderr("stays as it was");
    assert!(daemon.process().stderr().contains("api_adr"));
    let metrics = api.get("/metrics").expect(200).body;
    assert!(metrics.contains("gossipper_config_last_reload_successful 0"), "{metrics}");

    let mut changed = config.clone();
    changed["api_allowed_hosts"] = json!(["lab7.example"]);
    changed["log_level"] = json!("debug");
    let named = api.with("Host", "lab7.example");
    named.get("/api/v1/health").error(421);
    daemon.write("gossipper.json", &changed.to_string());
    daemon.signal(Signal::HUP);
    daemon.process().wait_for_stderr("was read again");
    named.get("/api/v1/health").expect(200);
    daemon.process().wait_for_stderr("DEBUG");

    // Changes that need a restart are named.
    changed["local_port"] = json!(ports::free());
    daemon.write("gossipper.json", &changed.to_string());
    daemon.signal(Signal::HUP);
    daemon.process().wait_for_stderr("restart");
    assert!(daemon.process().stderr().contains("local_port"));
    daemon.stop();
}

/// Writes a configuration, and waits until the daemon has read it.
#[track_caller]
fn reload(daemon: &mut daemon::Daemon, config: &Value) {
    let told = |text: &str| text.matches("the configuration was read again\n").count();
    let before = told(&daemon.process().stderr());
    daemon.write("gossipper.json", &config.to_string());
    daemon.signal(Signal::HUP);
    until("reload", || (told(&daemon.process().stderr()) > before).then_some(()));
}

#[test]
fn two_reloads_do_not_open_what_is_bound() {
    let _lock = lock::light();
    let token = "5f2b8c1e9a7d40365f2b";
    let mut config = management();
    config["api_addr"] = json!("0.0.0.0:0");
    config["api_token"] = json!(token);
    let mut daemon = daemon::start(&config);
    let api = daemon.client();
    api.get("/api/v1/me").error(401);
    config["api_addr"] = json!("127.0.0.1:0");
    reload(&mut daemon, &config);
    config.as_object_mut().unwrap().remove("api_token");
    reload(&mut daemon, &config);
    api.get("/api/v1/me").error(401);
    // A token that stays in the file can be replaced.
    config["api_token"] = json!("0f2b8c1e9a7d40365f2c");
    reload(&mut daemon, &config);
    api.bearer(token).get("/api/v1/me").error(401);
    api.bearer("0f2b8c1e9a7d40365f2c").get("/api/v1/me").expect(200);
    daemon.stop();
}

#[test]
fn a_reload_compares_with_what_runs() {
    let _lock = lock::light();
    let target = ports::free();
    let mut server = management();
    server.as_object_mut().unwrap().remove("api_addr");
    server["id"] = json!("answers");
    let mut client = load(target);
    client["rate"] = json!(5);
    let file = |id: &str, rate: u64| {
        let mut client = client.clone();
        (client["id"], client["rate"]) = (json!(id), json!(rate));
        json!({ "api_addr": "127.0.0.1:0", "server": server, "clients": [client] })
    };
    let mut daemon = daemon::start(&file("c2", 5));
    let api = daemon.client();
    let rate = || api.get("/api/v1/control").json()["engines"][1]["rate"].clone();
    // New and removed ids need a restart, and then nothing is changed.
    reload(&mut daemon, &file("c9", 5));
    reload(&mut daemon, &file("c2", 7));
    assert_eq!(rate(), json!(7.0));
    // A change over the API is set back to the value of the file.
    api.post("/api/v1/control", &json!({ "engine_id": "c2", "rate": 1 })).expect(200);
    reload(&mut daemon, &file("c2", 7));
    assert_eq!(rate(), json!(7.0));
    let (finished, _) = daemon.stop();
    // Equal settings were not replaced.
    assert!(!finished.stderr.contains("new calls follow"), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("rate 7 calls/s").count(), 2, "{}", finished.stderr);
}

#[test]
fn files_of_a_new_configuration_are_kept_at_once() {
    let _lock = lock::light();
    let mut config = management();
    config["data_dir"] = json!(".");
    let names = ["results/cert.pem", "results/key.pem"];
    let prepared =
        names.iter().fold(daemon::prepare(&config), |daemon, name| daemon.file(name, "old"));
    let mut daemon = prepared.start();
    let client = daemon.client();
    // HTTPS comes with a restart, and so does another directory.
    config["api_tls_cert"] = json!(names[0]);
    config["api_tls_key"] = json!(names[1]);
    config["data_dir"] = json!("results");
    reload(&mut daemon, &config);
    let told = daemon.process().stderr();
    for part in ["api_tls_cert: HTTPS", "data_dir: the folders of clients stay in "] {
        assert!(told.contains(part), "{told}");
    }
    let snippet = |name: &str| {
        json!({ "scenario_name": "options", "remote_addr": "127.0.0.1:5060", "rate": 0,
            "total_calls": 0, "summary_json": name })
    };
    for name in names {
        let name = name.trim_start_matches("results/");
        let error = client.post("/api/v1/clients", &snippet(name)).error(400);
        assert!(error.contains("which no run may use"), "{error}");
    }
    client.post("/api/v1/clients", &snippet("summary.json")).expect(201);
    let (_, folder) = daemon.stop();
    for name in names {
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), "old");
    }
}

#[test]
fn calls_that_a_reload_adds_find_room_in_the_pool() {
    let _lock = lock::light();
    // It answers nothing, and so calls stay open.
    let silent = Peer::new();
    let mut client = load(silent.address().port());
    (client["api_addr"], client["total_calls"]) = (json!("127.0.0.1:0"), json!(2));
    let mut daemon = daemon::start(&client);
    let api = daemon.client();
    let open = |least: u64| {
        until("open calls", || {
            let stats = api.get("/api/v1/stats").json()["stats"].clone();
            assert_eq!(stats["failed_calls"], json!(0), "{stats}");
            (stats["active_calls"].as_u64()? >= least).then_some(())
        });
    };
    open(2);
    client["total_calls"] = json!(40);
    reload(&mut daemon, &client);
    open(40);
    // No calls are waited for that stay unanswered.
    drop(daemon);
}

#[test]
fn the_service_manager_hears_how_it_goes() {
    let _lock = lock::light();
    let prepared = daemon::prepare(&management());
    let path = prepared.path("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = |part: &str| {
        let mut bytes = [0; 4096];
        loop {
            let len = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("{part}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
            if text.contains(part) {
                return text;
            }
        }
    };
    // `start` removes the variable of the test's own environment, and sets the given one.
    let daemon = prepared
        .environment("NOTIFY_SOCKET", &path.display().to_string())
        .environment("WATCHDOG_USEC", "400000")
        .start();
    assert!(hear("READY=1").contains("STATUS="));
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(!hear("READY=1").contains("reload failed"));
    daemon.write("gossipper.json", "{ \"role\": \"management\", \"api_adr\": 1 }");
    daemon.signal(Signal::HUP);
    hear("RELOADING=1");
    let status = hear("READY=1");
    assert!(status.contains("the last reload failed: ") && status.contains("api_adr"), "{status}");

    // A file that hangs holds up neither the watchdog nor the API nor the end.
    let mut config = management();
    config["extra_args"] = json!(["-sf", "pipe.xml"]);
    config.as_object_mut().unwrap().remove("scenario_name");
    daemon.write("gossipper.json", &config.to_string());
    let pipe = daemon.path("pipe.xml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    daemon.signal(Signal::HUP);
    hear("RELOADING=1");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    daemon.client().get("/api/v1/health").expect(200);
    daemon.signal(Signal::TERM);
    hear("STOPPING=1");
    let (finished, _) = daemon.finish();
    finished.expect_code(0);
}

/// Trusts one certificate, and no other.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("another certificate".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The answer to GET `path` over TLS from a daemon with the certificate of `pem`.
fn over_tls(address: SocketAddr, pem: &str, path: &str) -> Result<String, String> {
    let pem = std::fs::read(pem).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let only = Only { certificate, provider: Arc::clone(&provider) };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(only))
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let client = Client::new(address);
    let mut stream = rustls::StreamOwned::new(session, client.connect());
    let request = format!("{}Connection: close\r\n\r\n", client.head("GET", path));
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

#[test]
fn tls_is_spoken_and_its_certificate_renewed_without_a_restart() {
    let _lock = lock::light();
    let mut config = management();
    config["api_tls_cert"] = json!("api.pem");
    config["api_tls_key"] = json!("api.key");
    let scratch = harness::scratch::Scratch::new();
    let [first, first_key] = tools::self_signed(&scratch, "first");
    let [second, second_key] = tools::self_signed(&scratch, "second");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let mut daemon = daemon::prepare(&config)
        .file("api.pem", &read(&first))
        .file("api.key", &read(&first_key))
        .start();
    let address = daemon.address();
    let text = over_tls(address, &first, "/api/v1/health").unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("strict-transport-security: max-age="), "{text}");
    over_tls(address, &second, "/").unwrap_err();

    daemon.write("api.pem", &read(&second));
    daemon.signal(Signal::HUP);
    // Certificate and key do not fit together.
    daemon.process().wait_for_stderr("stays as it was");
    over_tls(address, &first, "/").unwrap();
    daemon.write("api.key", &read(&second_key));
    daemon.signal(Signal::HUP);
    daemon.process().wait_for_stderr("was read again");
    over_tls(address, &second, "/").unwrap();
    over_tls(address, &first, "/").unwrap_err();

    // A client without TLS does not disturb clients with TLS.
    let mut plain = Client::new(address).connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    over_tls(address, &second, "/").unwrap();
    daemon.stop();
}
