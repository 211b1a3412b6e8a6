//! The fault shim when it is compiled out: nothing ever fails on purpose.

#[derive(Clone, Copy)]
pub(crate) enum Site {
    Enter,
    Receive,
    Resend,
    Send,
    StopReceive,
}

#[inline(always)]
pub(crate) fn take(_site: Site) -> Option<i32> {
    None
}
