//! A run at a terminal: one front of the control contract.
//!
//! [`page`](self) is the terminal itself: single keys, pages, and giving both back whatever ends
//! the program. Above it, `start` brings a run up and `front` is what the user has of it while it
//! goes on: `view` shows it, and keys, the control socket and signals end in one
//! [`Action`](action::Action), which `front` turns into requests to the run
//! ([`crate::control`]). `questions` asks for what is shown and in no report.
//!
//! Knows no server: an API beside the run reaches it through its handle.

mod action;
mod background;
mod facts;
mod front;
mod keys;
mod page;
mod questions;
mod secret;
mod signals;
mod socket;
mod start;
mod view;

pub use keys::{Decoder, Key};
pub use page::{Keyboard, Page, can_draw, restore, size};
pub use secret::ask_secretly;
pub(crate) use start::{ID, Terminal, report, run};
