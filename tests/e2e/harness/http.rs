//! A small HTTP and WebSocket client. It does one thing after the other, so that a test reads in
//! the order of events. Every request has its own connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use serde_json::Value;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// The time that a peer may take for any single step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails the test unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The text of a refusal with `status`.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let value = self.json();
        let error = value["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert_eq!(value.as_object().unwrap().len(), 1, "{self:?}");
        error.to_owned()
    }
}

/// A connection from a certain address of this host.
fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}

/// A client: an address and the headers of every request.
#[derive(Clone, Debug)]
pub struct Client {
    /// The address of the server.
    pub address: SocketAddr,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// The address that its connections come from; `None` leaves it to the kernel.
    pub source: Option<Ipv4Addr>,
}

impl Client {
    /// A client without a token.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, headers: Vec::new(), source: None }
    }

    /// A copy that connects from another address of this host.
    pub fn coming_from(&self, source: Ipv4Addr) -> Self {
        Self { source: Some(source), ..self.clone() }
    }

    /// A copy with one more header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// A copy with a bearer token.
    pub fn bearer(&self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, None)
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path, None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path, Some(("application/json", &body.to_string())))
    }

    /// Sends a request and reads the answer.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> Response {
        let mut stream = self.connect();
        let mut head = self.head(method, path);
        head.push_str("Connection: close\r\n");
        if let Some((media_type, body)) = body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            if !media_type.is_empty() {
                head.push_str(&format!("Content-Type: {media_type}\r\n"));
            }
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("the head can be sent");
        if let Some((_, body)) = body {
            // A server that has refused already may not read all of it.
            let _ = stream.write_all(body.as_bytes());
        }
        let response = match method {
            // The length is that of a body that is not sent.
            "HEAD" => read_head(&mut stream).map(|head| parse_head(&head)),
            _ => read_response(&mut stream),
        };
        response.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A connection.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = match self.source {
            None => TcpStream::connect(self.address),
            Some(source) => connect_from(source, self.address),
        };
        let stream = stream.expect("the daemon can be connected to");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a limit can be set");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a limit can be set");
        stream
    }

    /// The head of a request without its last line.
    pub fn head(&self, method: &str, path: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !self.headers.iter().any(|(name, _)| name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }

    /// Opens a WebSocket; `Err` is the refusal.
    #[track_caller]
    pub fn websocket(&self, path: &str) -> Result<Live, Response> {
        let mut stream = self.connect();
        let mut head = self.head("GET", path);
        head.push_str(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        stream.write_all(head.as_bytes()).expect("the head can be sent");
        let head = read_head(&mut stream).expect("a head comes back");
        let response = parse_head(&head);
        if response.status != 101 {
            let rest = read_body(&mut stream, &response).expect("a body");
            return Err(Response { body: rest, ..response });
        }
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let config = WebSocketConfig::default();
        Ok(Live(WebSocket::from_raw_socket(stream, Role::Client, Some(config))))
    }
}

/// An open WebSocket.
pub struct Live(pub WebSocket<TcpStream>);

impl Live {
    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Value {
        loop {
            match self.0.read().expect("a frame comes") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The code with which the other side closes; frames before are skipped.
    #[track_caller]
    pub fn close_code(&mut self) -> u16 {
        loop {
            match self.0.read() {
                Ok(Message::Close(Some(frame))) => return frame.code.into(),
                Ok(Message::Close(None)) => return 1005,
                Ok(_) => {}
                Err(error) => panic!("no close: {error}"),
            }
        }
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            let text = String::from_utf8_lossy(&head).into_owned();
            return Err(io::Error::other(format!("closed within the head: {text:?}")));
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn parse_head(head: &str) -> Response {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Response {
        status: status.unwrap_or_else(|| panic!("no status line: {head}")),
        headers: headers.collect(),
        body: String::new(),
    }
}

fn read_body(stream: &mut TcpStream, head: &Response) -> io::Result<String> {
    let len = head.header("content-length").and_then(|len| len.parse::<usize>().ok());
    let mut body = Vec::new();
    match len {
        Some(len) => {
            body.resize(len, 0);
            stream.read_exact(&mut body)?;
        }
        None if head.status == 204 => {}
        None => {
            stream.read_to_end(&mut body)?;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Reads a response with a length.
pub fn read_response(stream: &mut TcpStream) -> io::Result<Response> {
    let response = parse_head(&read_head(stream)?);
    let body = read_body(stream, &response)?;
    Ok(Response { body, ..response })
}
