//! The steps of a scenario: executing them, running their actions, rendering what they send.

pub(in crate::engine) mod actions;
pub(in crate::engine) mod audio;
pub(in crate::engine) mod execute;
pub(in crate::engine) mod inject;
pub(in crate::engine) mod outside;
pub(in crate::engine) mod render;
mod webrtc;
