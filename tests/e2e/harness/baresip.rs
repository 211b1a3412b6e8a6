//! baresip as the peer: a telephone that answers at once, with a tone.

use std::net::SocketAddr;
use std::process::Command;

use super::process::Process;
use super::scratch::Scratch;
use super::{ports, tools};

/// Seconds after which it ends by itself, even if the test has died.
const TIMEOUT_S: &str = "60";

/// A running baresip. Dropping it ends it.
pub struct Baresip {
    process: Process,
    _scratch: Scratch,
    port: u16,
}

/// The figures of a call's audio, as baresip prints them: of what it sent, and what it received.
#[derive(Debug, PartialEq, Eq)]
pub struct Figures {
    /// Packets.
    pub packets: [u64; 2],
    /// Packets lost; the first is the number that its peer reported.
    pub lost: [i64; 2],
}

impl Baresip {
    /// Starts a telephone for `bob`, whose account has these parameters too, and waits until it
    /// listens.
    #[track_caller]
    pub fn start(parameters: &str) -> Self {
        tools::need("baresip");
        let scratch = Scratch::new();
        let (port, rtp) = (ports::free(), ports::free_range(20));
        let config = format!(
            "poll_method epoll\nsip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\n\
             audio_source ausine,440\nausrc_srate 48000\nausrc_channels 2\n\
             rtp_ports {rtp}-{}\n\
             jitter_buffer_delay 1-5\nrtp_stats yes\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule ausine.so\n\
             module srtp.so\nmodule_app account.so\nmodule_app menu.so\n",
            rtp + 19,
        );
        scratch.write("config", &config);
        scratch.write("contacts", "");
        let account = format!(
            "<sip:bob@127.0.0.1>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1{parameters}\n"
        );
        scratch.write("accounts", &account);
        let mut command = Command::new("baresip");
        command.arg("-f").arg(scratch.path()).args(["-t", TIMEOUT_S]).current_dir(scratch.path());
        let mut process = Process::spawn(command);
        let pid = process.id();
        process.wait_until("bound port", || ports::is_bound(pid, port).then_some(()));
        Self { process, _scratch: scratch, port }
    }

    /// The address that is called.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The figures of the call, once it has ended.
    #[track_caller]
    pub fn figures(&mut self) -> Figures {
        self.process.wait_for_stdout("figures of a call", |text| {
            let (_, table) = text.split_once("Transmit:")?;
            Some(Figures { packets: row(table, "packets:")?, lost: row(table, "lost:")? })
        })
    }
}

/// Both numbers of a row of its table.
fn row<T: std::str::FromStr>(table: &str, name: &str) -> Option<[T; 2]> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(name))?;
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}
