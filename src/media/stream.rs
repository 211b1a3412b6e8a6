//! One track of a leg: the addresses of both sides, and what it sends.

use std::net::SocketAddr;
use std::sync::Arc;

use super::clip::ClipSet;
use super::command::{Command, MediaFault, Track};
use super::negotiate::{Agreement, Peer, Side};

/// What a stream plays.
#[derive(Clone, Debug)]
pub(super) struct Playing {
    pub(super) clips: Arc<ClipSet>,
    /// How often it begins again; `None` without end.
    pub(super) loops: Option<u32>,
    pub(super) payload_type: Option<u8>,
    pub(super) encoding: Option<&'static str>,
    pub(super) is_paused: bool,
}

/// One track of a leg.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) leg: u32,
    pub(super) track: Track,
    /// The sockets.
    pub(super) pair: u32,
    /// The SSRC that we send with.
    pub(super) ssrc: u32,
    pub(super) ours: Side,
    pub(super) theirs: Peer,
    pub(super) agreement: Agreement,
    pub(super) playing: Option<Playing>,
    pub(super) echoes: bool,
}

impl Stream {
    pub(super) fn new(leg: u32, track: Track, pair: u32, ssrc: u32, echoes: bool) -> Self {
        Self {
            leg,
            track,
            pair,
            ssrc,
            ours: Side::default(),
            theirs: Peer::default(),
            agreement: Agreement::default(),
            playing: None,
            echoes,
        }
    }

    /// The address to send to, if the track may send.
    pub(super) fn target(&self) -> Option<SocketAddr> {
        self.theirs.rtp.filter(|_| self.agreement.sends)
    }

    /// Takes our description.
    pub(super) fn describe_ours(&mut self, ours: Side) {
        self.ours = ours;
        self.agreement = Agreement::of(&self.ours, &self.theirs.side, &self.ours);
    }

    /// Takes the peer's description.
    pub(super) fn describe_theirs(&mut self, theirs: Peer) {
        self.theirs = theirs;
        self.agreement = Agreement::of(&self.ours, &self.theirs.side, &self.theirs.side);
    }

    /// Carries out a command.
    pub(super) fn act(&mut self, command: Command) -> Result<(), MediaFault> {
        match command {
            Command::Play { clips, loops, payload_type, encoding, .. } => {
                if clips.clips.is_empty() {
                    return Err(MediaFault::NoClip);
                }
                self.playing =
                    Some(Playing { clips, loops, payload_type, encoding, is_paused: false });
            }
            Command::Pause => self.pause(true),
            Command::Resume => self.pause(false),
            Command::Stop => self.playing = None,
            Command::Echo(echoes) => self.echoes = echoes,
            Command::Record { .. } | Command::StopRecording => {
                return Err(MediaFault::NoRecording);
            }
            Command::Digits { .. } | Command::Check { .. } => {}
        }
        Ok(())
    }

    fn pause(&mut self, is_paused: bool) {
        if let Some(playing) = &mut self.playing {
            playing.is_paused = is_paused;
        }
    }
}
