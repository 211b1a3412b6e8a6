//! The daemon under test: it is started with a configuration, and gets requests over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::gossipper::PROGRAM;
use super::process::{Finished, Process};
use super::scratch::Scratch;
use super::{PATIENCE, ports};

/// The response to a request.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub code: u16,
    /// The lines above the body.
    #[allow(dead_code, reason = "failures show it")]
    pub head: String,
    /// The body.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request on its own connection; `None` without an answer.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: Option<&str>) -> Option<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // With 1.0 the body ends with the connection, and comes in one piece.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    if let Some(body) = body {
        let kind = if body.starts_with('<') { "application/xml" } else { "application/json" };
        request.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()));
    }
    let text = format!("{request}\r\n{}", body.unwrap_or_default());
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { code, head: head.to_owned(), body: body.to_owned() })
}

/// A running daemon.
pub struct Daemon {
    process: Process,
    /// The address of its API.
    pub address: SocketAddr,
    scratch: Scratch,
}

impl Daemon {
    /// Starts a daemon with `config`, to which the address of the API is added, and waits until it
    /// answers.
    #[track_caller]
    pub fn start(mut config: Value) -> Self {
        let scratch = Scratch::new();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        config["api_addr"] = address.to_string().into();
        let file = scratch.write("daemon.json", &config.to_string());
        let mut command = Command::new(PROGRAM);
        command.args(["server", "-config", &file]).current_dir(scratch.path());
        let mut process = Process::spawn(command);
        process.wait_until("answer of the API", || {
            ask(address, "GET", "/api/v1/health", None).filter(|response| response.code == 200)
        });
        Self { process, address, scratch }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The working directory.
    pub fn folder(&self) -> &Scratch {
        &self.scratch
    }

    /// The text on stderr so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Sends a request; a daemon that does not answer fails the test.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Response {
        ask(self.address, method, path, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}\n{}", self.process.stderr()))
    }

    /// Like [`ask`](Self::ask); fails the test unless the answer is of the 2xx.
    #[track_caller]
    pub fn expect(&self, method: &str, path: &str, body: Option<&str>) -> Response {
        let response = self.ask(method, path, body);
        assert!((200..300).contains(&response.code), "{method} {path}: {response:?}");
        response
    }

    /// Asks the daemon to end, and waits for its end.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.process.signal(Signal::TERM);
        self.process.finish()
    }
}
