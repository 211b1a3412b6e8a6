//! rtpengine as a relay of media in user space, and an element of SIP that sends calls through it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Map, Value};

use super::peer::Received;
use super::process::Process;
use super::{PATIENCE, ports, tools};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A running rtpengine. Dropping it ends it.
pub struct Rtpengine {
    _process: Process,
    /// The socket for commands, and the number of the last one.
    control: Mutex<(UdpSocket, u32)>,
}

/// The names of a call, as commands have them.
#[derive(Clone, Debug, Default)]
pub struct Call {
    call_id: String,
    from_tag: String,
    to_tag: String,
}

impl Call {
    /// The call that a message of SIP belongs to. `is_forward` if its From is the caller.
    fn of(message: &Received) -> Self {
        let tag = |header: &str| {
            let tag = message.header(header).split_once(";tag=").map(|(_, tag)| tag);
            tag.and_then(|tag| tag.split(';').next()).unwrap_or_default().to_owned()
        };
        let call_id = message.header("Call-ID").to_owned();
        Self { call_id, from_tag: tag("From"), to_tag: tag("To") }
    }
}

impl Rtpengine {
    /// Starts rtpengine on loopback, and waits until it takes commands.
    #[track_caller]
    pub fn start() -> Self {
        tools::need("rtpengine");
        let (port, first) = (ports::free(), ports::free_range(20));
        let mut command = Command::new("rtpengine");
        command
            .args(["--config-file=none", "--table=-1", "--foreground", "--log-stderr"])
            .args(["--interface=127.0.0.1", "--num-threads=1", "--delete-delay=0"])
            .arg(format!("--listen-ng=127.0.0.1:{port}"))
            .arg(format!("--port-min={first}"))
            .arg(format!("--port-max={}", first + 19));
        let mut process = Process::spawn(command);
        let pid = process.id();
        process.wait_until("bound port", || ports::is_bound(pid, port).then_some(()));
        let control = UdpSocket::bind((LOCALHOST, 0)).expect("a free port");
        control.connect((LOCALHOST, port)).expect("an address of this host");
        control.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        Self { _process: process, control: Mutex::new((control, 0)) }
    }

    /// The answer to a command of its protocol "ng": a cookie and a dictionary in bencode.
    #[track_caller]
    pub fn ask(&self, command: &str, call: &Call, more: &[(&str, &str)]) -> Value {
        let named = [
            ("command", command),
            ("call-id", &call.call_id),
            ("from-tag", &call.from_tag),
            ("to-tag", &call.to_tag),
        ];
        let pairs = named.iter().chain(more).filter(|(_, value)| !value.is_empty());
        let pairs: String = pairs.map(|(key, value)| text(key) + &text(value)).collect();
        let mut control = self.control.lock().expect("no holder panics");
        // A cookie that comes again gets the first answer again.
        control.1 += 1;
        let cookie = format!("{} ", control.1);
        let command_text = format!("{cookie}d{pairs}e");
        control.0.send(command_text.as_bytes()).expect("the command can be sent");
        let mut answer = vec![0; 65_536];
        let len = control.0.recv(&mut answer).expect("an answer");
        let mut rest = answer[..len].strip_prefix(cookie.as_bytes()).expect("our cookie");
        let answer = decode(&mut rest);
        assert_eq!(answer["result"], "ok", "{command}: {answer:#}");
        answer
    }

    /// Packets of the caller's and of the answerer's audio that it has received.
    #[track_caller]
    pub fn packets(&self, call: &Call) -> [u64; 2] {
        let answer =
            self.ask("query", &Call { call_id: call.call_id.clone(), ..Call::default() }, &[]);
        [&call.from_tag, &call.to_tag].map(|tag| {
            let stream = &answer["tags"][tag]["medias"][0]["streams"][0];
            stream["stats"]["packets"].as_u64().unwrap_or_else(|| panic!("{answer:#}"))
        })
    }
}

fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// Reads a value in bencode.
fn decode(rest: &mut &[u8]) -> Value {
    let until = |rest: &mut &[u8], end: u8| {
        let at = rest.iter().position(|&byte| byte == end).expect("well-formed bencode");
        let number = std::str::from_utf8(&rest[..at]).ok().and_then(|text| text.parse().ok());
        *rest = &rest[at + 1..];
        number.unwrap_or(i64::MAX)
    };
    match rest[0] {
        b'i' => {
            *rest = &rest[1..];
            until(rest, b'e').into()
        }
        kind @ (b'l' | b'd') => {
            *rest = &rest[1..];
            let mut values = Vec::new();
            while rest[0] != b'e' {
                values.push(decode(rest));
            }
            *rest = &rest[1..];
            if kind == b'l' {
                return values.into();
            }
            let key = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let pairs = values.chunks_exact(2).map(|pair| (key(&pair[0]), pair[1].clone()));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        _ => {
            let len = until(rest, b':') as usize;
            let (text, behind) = rest.split_at(len);
            *rest = behind;
            String::from_utf8_lossy(text).into_owned().into()
        }
    }
}

/// An element of SIP between one caller and an answerer, whose descriptions it rewrites.
pub struct Border {
    address: SocketAddr,
    calls: Arc<Mutex<HashMap<String, Call>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The work of a border.
struct Way {
    front: UdpSocket,
    back: UdpSocket,
    answerer: SocketAddr,
    engine: Arc<Rtpengine>,
    calls: Arc<Mutex<HashMap<String, Call>>>,
}

impl Border {
    /// A border on loopback in front of `answerer`.
    pub fn start(engine: &Arc<Rtpengine>, answerer: SocketAddr) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((LOCALHOST, 0)).expect("a free port");
            socket.set_nonblocking(true).expect("a socket can be so");
            socket
        };
        let (front, back) = (socket(), socket());
        let address = front.local_addr().expect("the socket is bound");
        let (calls, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let way =
            Way { front, back, answerer, engine: Arc::clone(engine), calls: Arc::clone(&calls) };
        let thread = thread::spawn({
            let over = Arc::clone(&over);
            move || way.carry(&over)
        });
        Self { address, calls, over, thread: Some(thread) }
    }

    /// The address for the caller to send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The call that has been answered, if there is one.
    pub fn answered(&self) -> Option<Call> {
        self.calls.lock().expect("no holder panics").values().next().cloned()
    }
}

impl Drop for Border {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Way {
    fn carry(self, over: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        let mut caller = None;
        while !over.load(Ordering::Relaxed) {
            let mut is_idle = true;
            if let Ok((len, source)) = self.front.recv_from(&mut buffer) {
                (caller, is_idle) = (Some(source), false);
                let message = self.rewritten(&buffer[..len], source, "offer");
                let _ = self.back.send_to(message.as_bytes(), self.answerer);
            }
            if let Ok((len, source)) = self.back.recv_from(&mut buffer)
                && let Some(caller) = caller
            {
                is_idle = false;
                let message = self.rewritten(&buffer[..len], source, "answer");
                let _ = self.front.send_to(message.as_bytes(), caller);
            }
            if is_idle {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// A message with the description that rtpengine wants in the place of its own.
    fn rewritten(&self, message: &[u8], source: SocketAddr, command: &str) -> String {
        let text = String::from_utf8_lossy(message).into_owned();
        let message = Received { text, source };
        let (head, body) = message.text.split_once("\r\n\r\n").unwrap_or((&message.text, ""));
        if body.is_empty() {
            return message.text;
        }
        let call = Call::of(&message);
        let answer = self.engine.ask(command, &call, &[("sdp", body), ("ICE", "remove")]);
        let sdp = answer["sdp"].as_str().expect("a description");
        if command == "answer" {
            let mut calls = self.calls.lock().expect("no holder panics");
            calls.insert(call.call_id.clone(), call);
        }
        let lines = head.lines().map(|line| match line.starts_with("Content-Length:") {
            true => format!("Content-Length: {}\r\n", sdp.len()),
            false => format!("{line}\r\n"),
        });
        lines.collect::<String>() + "\r\n" + sdp
    }
}
