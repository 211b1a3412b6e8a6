//! Streams whose peer's address is found by ICE.

use std::net::SocketAddr;

use gossipper_uring::{TxArena, TxOrder};

use super::send::NO_STREAM;
use super::{Media, NONE};
use crate::media::command::{Event, LegId, MediaFault};
use crate::media::config::Mode;
use crate::media::crypto::Side;
use crate::media::dtls::IceSecrets;
use crate::media::ice::{Description, Ice, News};
use crate::media::negotiate::Peer;
use crate::stats::{HandshakeFault, StrayCause};

impl Media {
    /// The secrets of a leg for its descriptions; `None` if the run has no ICE.
    pub fn ice_secrets(&self, leg: LegId) -> Option<IceSecrets> {
        let leg = &self.legs[self.row(leg)?];
        let identity = self.config.identity.as_ref()?;
        Some(identity.ice_secrets([leg.call, leg.generation.into()]))
    }

    /// Takes the words of a description about ICE. Those of the peer name the addresses that checks
    /// go to, and these must be allowed ones.
    ///
    /// # Errors
    /// The list of targets allows none of the peer's addresses.
    pub(super) fn describe_ice(
        &mut self,
        row: u32,
        side: Side,
        words: Option<Description>,
        now: u64,
    ) -> Result<(), MediaFault> {
        let identity = self.config.identity.clone().filter(|_| self.config.mode == Mode::Ports);
        let Some(identity) = identity else { return Ok(()) };
        let words = match side {
            Side::Ours => words,
            Side::Peers => self.allowed(row, words, now)?,
        };
        let pair = self.streams[row].pair;
        // Streams without protection have no ICE: their peers are where their descriptions say.
        let Some(protection) = &mut self.streams[row].protection else { return Ok(()) };
        if protection.ice.is_none() && words.is_none() {
            return Ok(());
        }
        let local = SocketAddr::new(self.config.ip, self.pool.pair(pair).port);
        self.has_ice = true;
        let make = || Box::new(Ice::new(local, identity.origin()));
        let ice = protection.ice.get_or_insert_with(make);
        match side {
            Side::Ours => ice.describe_ours(words, now),
            Side::Peers => ice.describe_theirs(words, now),
        }
        Ok(())
    }

    /// The words of a peer without the addresses that may not be sent to.
    fn allowed(
        &mut self,
        row: u32,
        words: Option<Description>,
        now: u64,
    ) -> Result<Option<Description>, MediaFault> {
        let Some(mut words) = words else { return Ok(None) };
        let leg = self.streams[row].leg;
        let named = words.candidates.len();
        words.candidates.retain(|&(address, _)| self.may_send_to(leg, address, now));
        let blocked = named - words.candidates.len();
        self.counters.handshake_faults.bump_by(HandshakeFault::IceBlocked, blocked as u64);
        match words.candidates.is_empty() && named > 0 {
            true => Err(MediaFault::BlockedTarget),
            false => Ok(Some(words)),
        }
    }

    /// Takes the words of a peer about ICE, before the stream follows its description.
    pub(super) fn let_find(
        &mut self,
        row: u32,
        peer: Peer,
        words: Option<Description>,
        now: u64,
    ) -> Result<Peer, MediaFault> {
        self.describe_ice(row, Side::Peers, words, now)?;
        let found = self.streams[row].ice().filter(|ice| ice.is_active());
        Ok(found.map_or(peer, |ice| peer.at(ice.nominated())))
    }

    /// Lets the peer of a stream be where ICE finds it, if both descriptions ask for that.
    pub(super) fn place_peer(&mut self, row: u32) {
        let stream = &mut self.streams[row];
        if let Some(ice) = stream.ice().filter(|ice| ice.is_active()) {
            let address = ice.nominated();
            stream.move_peer(address);
        }
    }

    /// Takes a STUN message.
    pub(super) fn on_stun(
        &mut self,
        (pair, source): (u32, SocketAddr),
        payload: &[u8],
        now: u64,
        tx: &mut TxArena,
    ) {
        let row = self.by_pair.get(pair as usize).copied().unwrap_or(NONE);
        if row == NONE {
            return self.stray(StrayCause::AfterEnd);
        }
        if self.streams[row].ice().is_none() {
            return self.stray(StrayCause::OtherProtocol);
        }
        // An answer goes to where the check came from.
        if !self.may_send_to(self.streams[row].leg, source, now) {
            return self.stray(StrayCause::Foreign);
        }
        let Some(ice) = self.streams[row].ice_mut() else { return };
        match ice.receive(source, payload, now) {
            Err(fault) => self.counters.handshake_faults.bump(fault),
            Ok(()) => self.go_on_with_ice(row, now, tx),
        }
    }

    /// Does what is due of a stream's ICE.
    pub(super) fn pass_time_of_ice(&mut self, row: u32, now: u64, tx: &mut TxArena) {
        let ice = self.streams[row].ice_mut().filter(|ice| ice.next_ns() <= now);
        let Some(ice) = ice else { return };
        ice.pass_time(now);
        self.go_on_with_ice(row, now, tx);
    }

    /// Sends what the agent of a stream has to send, and follows its news.
    fn go_on_with_ice(&mut self, row: u32, now: u64, tx: &mut TxArena) {
        let stream = &mut self.streams[row];
        let (leg, socket) = (stream.leg, self.pool.pair(stream.pair).rtp);
        let Some(protection) = &mut stream.protection else { return };
        let Some(mut ice) = protection.ice.take() else { return };
        while let Some(outgoing) = ice.next_datagram() {
            let target = outgoing.destination;
            if self.may_send_to(leg, target, now) {
                // Without room a check is lost, and sent again as one that the network loses.
                tx.send_copy(&outgoing.bytes, socket, target, NO_STREAM, &mut TxOrder::default());
            }
        }
        let news = std::iter::from_fn(|| ice.next_news(now)).last();
        if let Some(protection) = &mut self.streams[row].protection {
            protection.ice = Some(ice);
        }
        match news {
            None => {}
            Some(News::Nominated(address)) => {
                self.streams[row].move_peer(Some(address));
                self.agree(row, now);
            }
            Some(News::Failed(fault)) => {
                self.counters.handshake_faults.bump(fault);
                self.turn_to(row, Peer::default(), now);
                self.tell(row, Event::Failed(MediaFault::Handshake(fault)));
            }
        }
        self.plan_matter(row);
    }
}
