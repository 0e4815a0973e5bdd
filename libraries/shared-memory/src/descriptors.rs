//! Descriptors beside the bytes of a Unix stream.
//!
//! A descriptor travels with the first byte of the frame that announces it, and the system never
//! lets one read run past the bytes that a descriptor came with. So whoever has read a whole
//! announcement has its descriptor, and the order of the announcements is that of the descriptors.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// Most descriptors that one message of the system may bring. We send one; more than that many are
/// a peer that does not know the protocol.
const PER_MESSAGE: usize = 4;
/// Most descriptors that wait for their announcements.
const MAX_WAITING: usize = 64;

/// Descriptors that arrived and whose announcements have not been read yet, in order. Those that
/// are left are closed with this.
#[derive(Default)]
pub struct Descriptors(VecDeque<OwnedFd>);

impl Descriptors {
    /// The descriptor of the announcement that was read just now.
    pub fn take(&mut self) -> Option<OwnedFd> {
        self.0.pop_front()
    }
}

/// Sends a part of `slices`, at least one byte, with a descriptor that arrives with the first one.
/// What is left is sent without it.
pub fn send_with(
    stream: impl AsFd,
    slices: &[IoSlice<'_>],
    descriptor: BorrowedFd<'_>,
) -> io::Result<usize> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    Ok(sendmsg(stream, slices, &mut beside, SendFlags::NOSIGNAL)?)
}

/// Reads into `window`, and keeps the descriptors that come with these bytes.
pub fn receive(
    stream: impl AsFd,
    window: &mut [u8],
    arrived: &mut Descriptors,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(window)];
    let received = recvmsg(stream, &mut slices, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            arrived.0.extend(descriptors);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // The system has dropped some: this process may not open more, or the peer sent too many.
        return Err(io::Error::other(
            "a descriptor of shared memory was lost; allow this process more open files (ulimit -n)",
        ));
    }
    if arrived.0.len() > MAX_WAITING {
        return Err(io::Error::other(
            "the peer sends descriptors that it does not announce",
        ));
    }
    Ok(received.bytes)
}
