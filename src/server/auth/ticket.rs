//! Tickets: a browser puts one into the address of a WebSocket in the place of its token.
//!
//! An address ends up in logs and histories. A ticket in it is worth nothing afterwards: it is good
//! once, for half a minute, and for one path. This module reads no clock: the caller passes the
//! time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ring::digest;

use super::identity::{Identity, IdentityKind};
use super::random::{self, NoRandomness};

/// The time for which a ticket is good.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Tickets that wait to be used.
const TICKETS_MAX: usize = 1024;

/// Unused tickets of one name: one user must not take the tickets of all.
const TICKETS_PER_NAME_MAX: usize = 32;

/// Characters of a ticket.
const TICKET_CHARS: usize = 64;

/// No ticket can be drawn now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TicketError {
    #[error("too many tickets wait to be used; each is valid for 30 seconds")]
    TooMany,
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// The tickets that were drawn and not used yet.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// Unused tickets by digest, so that a memory dump shows no ticket.
    waiting: HashMap<[u8; 32], Waiting>,
}

#[derive(Debug)]
struct Waiting {
    identity: Identity,
    path: String,
    until: Instant,
}

impl Tickets {
    /// A ticket with which `identity` can enter `path`.
    pub(super) fn issue(
        &mut self,
        now: Instant,
        identity: &Identity,
        path: &str,
    ) -> Result<String, TicketError> {
        let of_name = |ticket: &&Waiting| ticket.identity.username == identity.username;
        let is_full = self.waiting.len() >= TICKETS_MAX;
        if is_full || self.waiting.values().filter(of_name).count() >= TICKETS_PER_NAME_MAX {
            self.waiting.retain(|_, ticket| now < ticket.until);
        }
        if self.waiting.len() >= TICKETS_MAX
            || self.waiting.values().filter(of_name).count() >= TICKETS_PER_NAME_MAX
        {
            return Err(TicketError::TooMany);
        }
        let ticket = random::hex(&random::bytes::<32>()?);
        let waiting = Waiting {
            identity: Identity { kind: IdentityKind::Ticket, ..identity.clone() },
            path: path.to_owned(),
            until: now + TICKET_LIFE,
        };
        self.waiting.insert(key(&ticket), waiting);
        Ok(ticket)
    }

    /// Returns the owner of a ticket, if it is good for `path`. The ticket is used up in any case.
    pub(super) fn redeem(&mut self, now: Instant, ticket: &str, path: &str) -> Option<Identity> {
        if ticket.len() != TICKET_CHARS {
            return None;
        }
        let waiting = self.waiting.remove(&key(ticket))?;
        (now < waiting.until && waiting.path == path).then_some(waiting.identity)
    }
}

fn key(ticket: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, ticket.as_bytes()).as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v1/live";

    fn alice() -> Identity {
        Identity { username: "alice".to_owned(), ..Identity::static_token() }
    }

    #[test]
    fn a_ticket_is_good_once() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(now, &alice(), PATH).unwrap();
        let identity = tickets.redeem(now, &ticket, PATH).unwrap();
        assert_eq!(identity.kind, IdentityKind::Ticket);
        assert_eq!((identity.username, identity.role), (alice().username, alice().role));
        assert_eq!(tickets.redeem(now, &ticket, PATH), None);
    }

    #[test]
    fn a_ticket_is_good_for_half_a_minute_and_its_path() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        let late = tickets.issue(now, &alice(), PATH).unwrap();
        assert_eq!(tickets.redeem(now + TICKET_LIFE, &late, PATH), None);
        let astray = tickets.issue(now, &alice(), PATH).unwrap();
        assert_eq!(tickets.redeem(now, &astray, "/api/v1/stats"), None);
        assert_eq!(tickets.redeem(now, &astray, PATH), None, "used up by the wrong path");
        let good = tickets.issue(now, &alice(), PATH).unwrap();
        let last_moment = now + TICKET_LIFE - Duration::from_nanos(1);
        assert!(tickets.redeem(last_moment, &good, PATH).is_some());
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(now, &alice(), PATH).unwrap();
        for other in ["", "x", &ticket[1..], &ticket.to_uppercase(), &"0".repeat(64)] {
            if other != ticket {
                assert_eq!(tickets.redeem(now, other, PATH), None, "{other:?}");
            }
        }
        assert!(tickets.redeem(now, &ticket, PATH).is_some());
    }

    #[test]
    fn one_name_cannot_take_all_tickets_and_all_cannot_take_more_than_there_are() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..TICKETS_PER_NAME_MAX {
            tickets.issue(now, &alice(), PATH).unwrap();
        }
        assert_eq!(tickets.issue(now, &alice(), PATH), Err(TicketError::TooMany));
        let name = |number: usize| Identity { username: format!("user{number}"), ..alice() };
        for number in 0..TICKETS_MAX - TICKETS_PER_NAME_MAX {
            tickets.issue(now, &name(number), PATH).unwrap();
        }
        assert_eq!(tickets.issue(now, &name(0), PATH), Err(TicketError::TooMany));
        // Unused tickets that have expired make room.
        assert!(tickets.issue(now + TICKET_LIFE, &alice(), PATH).is_ok());
        assert_eq!(tickets.waiting.len(), 1);
    }
}
