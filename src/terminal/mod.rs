//! A run at a terminal: one front of the control contract.
//!
//! [`page`](self) is the terminal itself: single keys, pages, and the restoring of both at every
//! end of the program. Above it, `start` brings a run up, and `front` serves the user while it goes
//! on: `view` shows the run. Keys, the control socket and signals end in one
//! `Action`, which `front` turns into requests to the run ([`crate::control`]).
//! `questions` asks the run for figures that are on screens and in no report.
//!
//! This module knows no server: an API beside the run reaches it through its handle.

pub mod action;
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
