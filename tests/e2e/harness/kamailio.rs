//! Kamailio as registrar and proxy: UDP, TCP, TLS and WebSocket on loopback.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use super::process::Process;
use super::scratch::Scratch;
use super::{ports, tools};

const CONFIGURATION: &str = include_str!("kamailio.cfg");
/// Seconds after which it ends, even if the test has died.
const TIMEOUT_S: &str = "240";

/// A running Kamailio. Dropping it ends it.
pub struct Kamailio {
    process: Process,
    scratch: Scratch,
    sip_port: u16,
    tls_port: u16,
    ws_port: u16,
}

impl Kamailio {
    /// Starts a Kamailio that challenges with `algorithm` ("MD5", "SHA-256") and `qop` ("auth",
    /// "auth-int"), and waits until it listens.
    #[track_caller]
    pub fn start(algorithm: &str, qop: &str) -> Self {
        tools::need("kamailio");
        let scratch = Scratch::new();
        let [certificate, key] = tools::self_signed(&scratch, "kamailio");
        let [sip_port, tls_port, ws_port] = [ports::free(), ports::free(), ports::free()];
        let text = CONFIGURATION
            .replace("@SIP_PORT@", &sip_port.to_string())
            .replace("@TLS_PORT@", &tls_port.to_string())
            .replace("@WS_PORT@", &ws_port.to_string())
            .replace("@ALGORITHM@", algorithm)
            .replace("@QOP@", qop)
            .replace("@CERTIFICATE@", &certificate)
            .replace("@KEY@", &key);
        let file = scratch.write("kamailio.cfg", &text);
        let folder = scratch.path().display().to_string();
        // Kamailio forks: `timeout` passes a signal on to it, and it ends its children.
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", TIMEOUT_S, "kamailio", "-f", &file, "-DD", "-E"])
            .args(["-m", "64", "-M", "8", "-w", &folder, "-Y", &folder])
            .args(["-P", &format!("{folder}/pid")])
            .current_dir(scratch.path());
        let mut process = Process::spawn(command);
        let pid = process.id();
        process.wait_until("bound UDP port", || ports::is_bound(pid, sip_port).then_some(()));
        for port in [sip_port, tls_port, ws_port] {
            process.wait_until("listener", || ports::is_listening(pid, port).then_some(()));
        }
        Self { process, scratch, sip_port, tls_port, ws_port }
    }

    /// The address for SIP over UDP and TCP.
    pub fn sip(&self) -> String {
        format!("127.0.0.1:{}", self.sip_port)
    }

    /// The address for SIP over TLS, and WebSocket over TLS.
    pub fn tls(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port)
    }

    /// The address for SIP over WebSocket.
    pub fn ws(&self) -> String {
        format!("127.0.0.1:{}", self.ws_port)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if !self.process.is_running() {
            return;
        }
        self.process.signal(Signal::TERM);
        for _ in 0..500 {
            if !self.process.is_running() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        if std::thread::panicking() {
            let log = format!("{}\n{}", self.process.stdout(), self.process.stderr());
            let _ = fs::write(self.scratch.join("kamailio.log"), log);
        }
    }
}
