//! The socket ring: one io_uring per executor, for sockets, the wake-up eventfd and nothing else.
//!
//! Multishot accept and multishot recv into a ring of provided buffers, one send per connection per turn, one
//! `io_uring_enter` per turn that submits everything and reaps what is done (`SINGLE_ISSUER` and
//! `DEFER_TASKRUN`: the kernel does its completion work inside that call, never by interrupting).
//!
//! An entry that does not fit in the submission queue waits in a backlog: a queue that is full for a moment never loses a
//! re-arm.
//!
//! # Invariants that make the unsafe code sound
//! - `buffers` and `buffer_ring` are mapped before the kernel is told of them and unmapped only after the ring's fd
//!   is closed: `ring` is declared first in [`SocketRing`], so it is dropped first.
//! - A provided buffer is read only through a [`Received`], which exists between its completion and [`SocketRing::recycle`]; the kernel does
//!   not touch it in between. Recycling takes the `Received` by value, so no slice of it can be left.
//! - Memory named by a submission (the bytes of a send, the message header, the eventfd counter) must stay where it is until the
//!   completion: this is the caller's duty, which is why [`SocketRing::push`] is unsafe. The callers are the methods of this
//!   module (whose memory is boxed here) and `connection.rs` (which keeps a send's memory in a box until its completion).

use io_uring::{cqueue, opcode, squeue, types, IoUring};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Buffer group of the provided buffers. The ring has only one.
const BUFFER_GROUP: u16 = 0;

/// Sizes of a socket ring.
#[derive(Debug, Clone, Copy)]
pub struct RingSizes {
    /// Submission queue entries.
    pub entries: u32,
    /// Provided buffers; a power of two.
    pub buffers: u16,
    /// Size of each, bytes.
    pub buffer_len: usize,
}

impl Default for RingSizes {
    fn default() -> RingSizes {
        use crate::limits::*;
        RingSizes { entries: RING_ENTRIES, buffers: RECV_BUFFERS, buffer_len: RECV_BUFFER_LEN }
    }
}

/// One completion, copied out of the queue.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// What was given with the submission.
    pub user_data: u64,
    /// Bytes or descriptor, or minus the error number.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Whether a multishot operation goes on after this completion.
    #[inline]
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that holds the received bytes.
    #[inline]
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// A provided buffer that holds received bytes, until it is recycled.
pub struct Received {
    memory: Rc<Mapping>,
    offset: usize,
    len: usize,
    buffer: u16,
}

impl Received {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: within the mapping, by the assertion in `SocketRing::received`; the kernel does not write to it before it is recycled,
        // which needs `self` by value.
        unsafe { std::slice::from_raw_parts(self.memory.address.as_ptr().add(self.offset), self.len) }
    }
}

/// The ring; see the module.
pub struct SocketRing {
    ring: IoUring,
    /// Entries that did not fit, oldest first.
    backlog: VecDeque<squeue::Entry>,
    /// The ring of free buffers, shared with the kernel.
    buffer_ring: Mapping,
    /// The buffers themselves.
    buffers: Rc<Mapping>,
    buffer_len: usize,
    mask: u16,
    /// Local copy of the buffer ring's tail; published after each batch of recycled buffers.
    tail: u16,
    /// Buffers that were filled since their memory was last given back.
    filled: u32,
    /// Where the kernel writes the eventfd's counter.
    wake_counter: Box<u64>,
    /// What the kernel offers, for the line at start.
    features: String,
}

/// How an executor sleeps in its ring.
#[derive(Debug, Clone, Copy)]
pub struct Sleep {
    /// Wake at the latest after this time.
    pub time: Duration,
    /// Completions that are certain to be there when everything is submitted: the executor sleeps until there is one more.
    pub certain: usize,
}

impl SocketRing {
    /// Creates the ring on the calling thread, which is then the only one that may use it.
    ///
    /// # Errors
    /// Those of io_uring_setup and io_uring_register: ENOSYS or EPERM where io_uring is absent or forbidden, ENOMEM when the
    /// memory lock limit is too small.
    pub fn new(sizes: RingSizes) -> io::Result<SocketRing> {
        assert!(sizes.buffers.is_power_of_two());
        let mut features = Vec::new();
        let build = |no_sqarray: bool| {
            let mut builder = IoUring::builder();
            builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_clamp();
            builder.setup_cqsize(sizes.entries.max(64) * 4).setup_submit_all();
            if no_sqarray {
                builder.setup_no_sqarray();
            }
            builder.build(sizes.entries)
        };
        let ring = match build(true) {
            Ok(ring) => {
                features.push("no_sqarray");
                ring
            }
            // Kernels before 6.6 do not know the flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build(false)?,
            Err(error) => return Err(error),
        };
        features.push("defer_taskrun");
        if ring.submitter().register_ring_fd().is_ok() {
            features.push("registered_ring_fd");
        }
        if ring.params().is_feature_recvsend_bundle() {
            features.push("kernel_bundles");
        }
        let count = sizes.buffers as usize;
        let buffer_ring = Mapping::new(count * std::mem::size_of::<types::BufRingEntry>())?;
        let buffers = Rc::new(Mapping::new(count * sizes.buffer_len)?);
        // SAFETY: the mapping is page-aligned, large enough for `buffers` entries, and outlives the ring (see the
        // module's invariants).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffer_ring.address.as_ptr() as u64,
                sizes.buffers,
                BUFFER_GROUP,
                0,
            )?;
        }
        let mut this = SocketRing {
            ring,
            backlog: VecDeque::new(),
            buffer_ring,
            buffers,
            buffer_len: sizes.buffer_len,
            mask: sizes.buffers - 1,
            tail: 0,
            filled: 0,
            wake_counter: Box::new(0),
            features: features.join(","),
        };
        for id in 0..sizes.buffers {
            this.recycle_unused(id);
        }
        this.publish_recycled();
        Ok(this)
    }

    /// What the kernel offers, for the line at start.
    pub fn features(&self) -> &str {
        &self.features
    }

    // ---- buffers -----------------------------------------------------------------------------------------

    /// Takes charge of a provided buffer that a completion named, with this many bytes in it.
    #[inline]
    pub fn received(&self, buffer: u16, len: usize) -> Received {
        assert!(len <= self.buffer_len && buffer <= self.mask);
        Received { memory: self.buffers.clone(), offset: buffer as usize * self.buffer_len, len, buffer }
    }

    /// Gives a buffer back. The kernel sees it after [`SocketRing::publish_recycled`].
    #[inline]
    pub fn recycle(&mut self, received: Received) {
        self.filled = self.filled.saturating_add(1);
        self.recycle_unused(received.buffer);
    }

    /// Gives back a buffer that a completion named without bytes in it.
    #[inline]
    pub fn recycle_unused(&mut self, buffer: u16) {
        assert!(buffer <= self.mask);
        let index = (self.tail & self.mask) as usize;
        // SAFETY: `index` is below the number of entries of the mapping; entries at and past the tail belong to us.
        unsafe {
            let entry = &mut *self.buffer_ring.address.as_ptr().cast::<types::BufRingEntry>().add(index);
            let address = self.buffers.address.as_ptr().add(buffer as usize * self.buffer_len);
            entry.set_addr(address as u64);
            entry.set_len(self.buffer_len as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Gives the memory of the buffers back to the system, for the time when nothing is received. They are used in turn, so all of them have
    /// some after a while, whatever the number of connections.
    pub fn release_buffers(&mut self) {
        /// Fewer pages than that are not worth a call.
        const FILLED_MIN: u32 = 32;
        // Beside the ring itself it is those who have received that hold the memory.
        if self.filled < FILLED_MIN || Rc::strong_count(&self.buffers) > 1 {
            return;
        }
        self.filled = 0;
        // SAFETY: a private mapping of this length, of which no slice exists, as slices are borrowed from a `Received`. What the kernel
        // has received and not reported yet would be lost, but nothing else.
        unsafe {
            libc::madvise(self.buffers.address.as_ptr().cast(), self.buffers.len, libc::MADV_DONTNEED);
        }
    }

    /// Lets the kernel see the recycled buffers.
    #[inline]
    pub fn publish_recycled(&mut self) {
        // SAFETY: the tail lies in the first entry of the mapping (kernel ABI), which lives as long as the ring; the release store
        // publishes the entries written before it.
        unsafe {
            let tail = types::BufRingEntry::tail(self.buffer_ring.address.as_ptr().cast());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    // ---- submissions -------------------------------------------------------------------------------------

    /// Queues an operation for the next submit.
    ///
    /// # Safety
    /// Memory that the entry points to must stay valid and in place until its completion (for a multishot operation:
    /// until the completion without `more`).
    #[inline]
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on to the caller.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Receives into provided buffers until the connection ends or buffers run out.
    #[inline]
    pub fn recv_multi(&mut self, fd: RawFd, user_data: u64) {
        let entry = opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build().user_data(user_data);
        // SAFETY: the entry points to no memory; the buffers are the ring's own.
        unsafe { self.push(entry) }
    }

    /// Accepts connections until it is cancelled or fails.
    pub fn accept_multi(&mut self, fd: RawFd, user_data: u64) {
        let entry = opcode::AcceptMulti::new(types::Fd(fd))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build()
            .user_data(user_data);
        // SAFETY: the entry points to no memory: peer addresses are asked for later.
        unsafe { self.push(entry) }
    }

    /// Reads the wake-up eventfd once.
    pub fn read_wake(&mut self, fd: RawFd, user_data: u64) {
        let counter: *mut u64 = &mut *self.wake_counter;
        let entry = opcode::Read::new(types::Fd(fd), counter.cast(), 8).build().user_data(user_data);
        // SAFETY: the counter is boxed in `self` and nothing else uses it.
        unsafe { self.push(entry) }
    }

    /// An operation on a file.
    ///
    /// # Safety
    /// The buffer of a write must stay valid and in place until the completion.
    pub unsafe fn file_operation(
        &mut self,
        fd: RawFd,
        operation: &kora_persist::log::Op<'_>,
        user_data: u64,
    ) {
        use kora_persist::log::Op;
        let entry = match operation {
            Op::Write { offset, buf, dsync, .. } => {
                opcode::Write::new(types::Fd(fd), buf.as_ptr(), buf.len() as u32)
                    .offset(*offset)
                    .rw_flags(if *dsync { libc::RWF_DSYNC } else { 0 })
                    .build()
            }
            Op::Sync { .. } => opcode::Fsync::new(types::Fd(fd)).flags(types::FsyncFlags::DATASYNC).build(),
        };
        // SAFETY: passed on to the caller.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Cancels the operation that carries this user data. Its own completion arrives as ever.
    pub fn cancel(&mut self, target: u64, user_data: u64) {
        let entry = opcode::AsyncCancel::new(target).build().user_data(user_data);
        // SAFETY: the entry points to no memory.
        unsafe { self.push(entry) }
    }

    /// Moves what did not fit into the queue, as far as it fits now.
    fn drain_backlog(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed the entry promised that its memory stays.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits everything and, when `wait` is given, sleeps until a completion arrives or the time is over.
    /// Without `wait` it only picks up what is already done.
    ///
    /// # Errors
    /// Those of io_uring_enter that are not part of normal life (time-out, interruption and a full completion queue are).
    pub fn enter(&mut self, wait: Option<Sleep>) -> io::Result<()> {
        loop {
            self.drain_backlog();
            let last = self.backlog.is_empty();
            let ready = !self.ring.completion().is_empty();
            let result = match wait {
                Some(sleep) if last && !ready => {
                    let time = types::Timespec::from(sleep.time);
                    let args = types::SubmitArgs::new().timespec(&time);
                    self.ring.submitter().submit_with_args(sleep.certain + 1, &args)
                }
                _ => {
                    let queue = self.ring.submission();
                    if queue.is_empty() && !queue.taskrun() {
                        return Ok(());
                    }
                    drop(queue);
                    self.ring.submit()
                }
            };
            match result {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {
                        if last {
                            return Ok(());
                        }
                        if error.raw_os_error() == Some(libc::EBUSY) {
                            // Completions must be reaped before more can be submitted.
                            return Ok(());
                        }
                    }
                    _ => return Err(error),
                },
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Whether completions wait to be reaped.
    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Copies the completions out, so that the ring can be used while they are worked on.
    #[inline]
    pub fn reap(&mut self, into: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            into.push(Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
    }
}

/// Anonymous, page-aligned memory.
struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { address: NonNull::new(address.cast()).expect("mmap does not map at zero"), len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and nobody refers to it any more.
        unsafe {
            libc::munmap(self.address.as_ptr().cast(), self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// Pages of the buffers that have memory.
    fn resident(ring: &SocketRing) -> usize {
        let mut pages = vec![0u8; ring.buffers.len / 4096];
        // SAFETY: a mapping of this length, and a byte for each of its pages.
        let result = unsafe {
            libc::mincore(ring.buffers.address.as_ptr().cast(), ring.buffers.len, pages.as_mut_ptr())
        };
        assert_eq!(result, 0);
        pages.iter().filter(|&&page| page & 1 != 0).count()
    }

    #[test]
    fn memory_of_buffers_that_nobody_needs_goes_back() {
        let sizes = RingSizes { entries: 8, buffers: 64, buffer_len: 4096 };
        let mut ring = SocketRing::new(sizes).expect("io_uring");
        let (mut client, server) = UnixStream::pair().unwrap();
        ring.recv_multi(server.as_raw_fd(), 1);
        let mut receive = |ring: &mut SocketRing, text: &[u8]| {
            client.write_all(text).unwrap();
            let mut completions = Vec::new();
            while completions.is_empty() {
                ring.enter(Some(Sleep { time: Duration::from_secs(5), certain: 0 })).unwrap();
                ring.reap(&mut completions);
            }
            let completion: Completion = completions[0];
            assert!(completion.more());
            let received = ring.received(completion.buffer().unwrap(), completion.result as usize);
            assert_eq!(received.bytes(), text);
            received
        };
        for round in 0..3 {
            for i in 0..100 {
                let received = receive(&mut ring, format!("{round} {i}").as_bytes());
                ring.recycle(received);
                ring.publish_recycled();
            }
            assert_eq!(resident(&ring), 64);
            let held = receive(&mut ring, b"held");
            ring.release_buffers();
            assert_eq!((resident(&ring), held.bytes()), (64, &b"held"[..]));
            ring.recycle(held);
            ring.publish_recycled();
            ring.release_buffers();
            assert_eq!(resident(&ring), 0);
        }
    }
}
