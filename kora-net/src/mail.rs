//! Mail between executors: a full mesh of bounded queues, one for each ordered pair, made at start.
//!
//! What the connections of an executor want from one peer in one turn leaves as one [`Batch`] and comes back, answered, as the same batch:
//! so its buffers are filled, emptied and freed on the executor that owns it. A batch is sent only with a credit (there are
//! [`BATCH_CREDITS`] per pair, returned with the answer), and a queue has room for all batches of both directions; hence
//! sending never fails and never waits, and two executors with full queues cannot wait for each other. Without a credit the requests gather in
//! the next batch; when that grows past a limit, the connections that want to add to it are parked.
//!
//! A peer that sleeps in its socket ring has said so by its `parked` flag; whoever sends to it takes the flag down and
//! writes its eventfd. The flag is raised before the last look into the queues and read after the send, both sequentially consistent: so
//! either the sleeper sees the mail or the sender sees the flag.
//!
//! The queues are `rtrb` rings and not glommio's shared channels: polling a glommio receiver that is empty registers one
//! more waker each time (nothing removes it before glommio's own loop runs), and its wake-ups reach only peers that sleep in glommio.

use crate::coordinate::{Call, Value};
use crate::limits::{BATCH_CREDITS, MESH_QUEUE_LEN};
use crate::resp::encode::Output;
use bytes::Bytes;
use kora_engine::reply::Protocol;
use smallvec::SmallVec;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Who waits for the reply of a request.
#[derive(Debug, Clone, Copy)]
pub enum ReplyTo {
    /// The pending reply `sequence` of a connection.
    Connection {
        /// Index of the connection.
        index: u32,
        /// Its generation: a later connection at the same index is another.
        generation: u32,
        /// Which of its pending replies.
        sequence: u32,
    },
    /// Part `part` of a command whose keys are on several shards.
    Gather {
        /// Number of the gathering.
        id: u32,
        /// Which part.
        part: u32,
    },
    /// What runs sends its reply itself.
    Nobody,
}

/// One command in a batch; its arguments lie in the batch's buffers.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead {
    /// Who waits.
    pub to: ReplyTo,
    /// Number of the command in the registry.
    pub command: u16,
    /// Database.
    pub db: u16,
    /// Number of arguments.
    pub argc: u32,
    /// How the reply is encoded.
    pub protocol: Protocol,
    /// Whether reads renew access times.
    pub touch: bool,
}

/// The reply to one request; its bytes lie in the batch's `answers`.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHead {
    /// Who waits.
    pub to: ReplyTo,
    /// End of its bytes in `answers.buf`.
    pub end: usize,
    /// End of its values in `answers.shared`.
    pub shared_end: usize,
}

/// A reply that was not ready when its batch went back.
pub struct LateReply {
    /// Who waits.
    pub to: ReplyTo,
    /// The whole reply.
    pub reply: Output,
}

/// A connection that another executor has accepted for this one.
pub struct Adopted {
    /// The socket.
    pub socket: OwnedFd,
    /// How it was reached.
    pub entrance: crate::connection::Entrance,
}

/// Everything one executor wants from one peer in one turn, and then what that peer answers.
#[derive(Default)]
pub struct Batch {
    /// Commands.
    pub heads: Vec<RequestHead>,
    /// Lengths of all arguments in turn; [`LARGE`] means that the argument is the next of `large`.
    pub lens: Vec<u32>,
    /// Bytes of all arguments in turn.
    pub bytes: Vec<u8>,
    /// Arguments that are passed by reference.
    pub large: Vec<Bytes>,
    /// Functions to run, with the numbers under which their results are awaited.
    pub calls: Vec<(u32, Call)>,
    /// Replies to requests of earlier batches from the peer.
    pub late: Vec<LateReply>,
    /// Results of calls of the peer that were not ready when their batch went back.
    pub late_returns: Vec<(u32, Value)>,
    /// Connections for the peer.
    pub adopted: Vec<Adopted>,

    /// What the sender's log must hold on the disk before anybody is told of what is in here.
    pub lsn: u64,

    /// Replies, in the order of the requests (those that take longer are missing and come late).
    pub answer_heads: Vec<AnswerHead>,
    /// Their bytes.
    pub answers: Output,
    /// Results of the calls.
    pub returns: Vec<(u32, Value)>,
}

/// In [`Batch::lens`]: the argument is passed by reference.
pub const LARGE: u32 = u32::MAX;

impl Batch {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
            && self.calls.is_empty()
            && self.late.is_empty()
            && self.late_returns.is_empty()
            && self.adopted.is_empty()
    }

    /// Adds a command.
    #[inline]
    pub fn push<'b>(
        &mut self,
        head: RequestHead,
        argv: impl Iterator<Item = &'b [u8]>,
        frame: Option<&Bytes>,
    ) {
        self.heads.push(head);
        for arg in argv {
            match frame {
                Some(frame) if arg.len() > kora_engine::limits::INLINE_VALUE_MAX => {
                    self.lens.push(LARGE);
                    self.large.push(frame.slice_ref(arg));
                }
                _ => {
                    self.lens.push(arg.len() as u32);
                    self.bytes.extend_from_slice(arg);
                }
            }
        }
    }

    /// Makes the batch ready for the next turn; the buffers stay, unless a rare large turn made them large.
    fn reset(&mut self) {
        const KEEP: usize = 1 << 20;
        self.heads.clear();
        self.lens.clear();
        self.bytes.clear();
        self.large.clear();
        self.answer_heads.clear();
        self.answers.clear();
        debug_assert!(self.calls.is_empty() && self.late.is_empty() && self.adopted.is_empty());
        debug_assert!(self.returns.is_empty() && self.late_returns.is_empty());
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        if self.answers.buf.capacity() > KEEP {
            self.answers.buf = Vec::new();
        }
    }
}

/// Reads the arguments of a batch's requests, one request after the other.
#[derive(Clone, Default)]
pub struct BatchReader {
    len: usize,
    byte: usize,
    large: usize,
}

impl BatchReader {
    /// Adds the arguments of the next request to `argv`. Returns the memory of the large one among them if there is exactly one: it can be kept
    /// by reference.
    #[inline]
    pub fn arguments<'b>(
        &mut self,
        head: &RequestHead,
        batch: &'b Batch,
        argv: &mut SmallVec<[&'b [u8]; 16]>,
    ) -> Option<&'b Bytes> {
        let first_large = self.large;
        for &len in &batch.lens[self.len..self.len + head.argc as usize] {
            if len == LARGE {
                argv.push(&batch.large[self.large]);
                self.large += 1;
            } else {
                argv.push(&batch.bytes[self.byte..self.byte + len as usize]);
                self.byte += len as usize;
            }
        }
        self.len += head.argc as usize;
        if self.large == first_large + 1 {
            Some(&batch.large[first_large])
        } else {
            None
        }
    }
}

/// What travels through a queue of the mesh.
pub enum Mail {
    /// Work for the receiver.
    Request(Box<Batch>),
    /// The receiver's own batch, answered.
    Answer(Box<Batch>),
}

/// What everybody may know of an executor: how to wake it.
pub struct Doorbell {
    eventfd: OwnedFd,
    /// Raised while the executor sleeps in its socket ring, or is about to.
    parked: AtomicBool,
}

impl Doorbell {
    /// A doorbell with an eventfd of its own.
    pub fn new() -> std::io::Result<Doorbell> {
        // SAFETY: no memory is involved; a new descriptor is owned from here on.
        let eventfd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(std::io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Doorbell { eventfd, parked: AtomicBool::new(false) })
    }

    /// The descriptor that the executor's ring reads.
    pub fn fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Wakes the executor if it sleeps.
    #[inline]
    pub fn ring(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::SeqCst) {
            self.write();
        }
    }

    #[cold]
    fn write(&self) {
        let one: u64 = 1;
        // SAFETY: eight readable bytes, a descriptor that we own. A full counter would mean a wake-up that is already due.
        unsafe {
            libc::write(self.fd(), (&raw const one).cast(), 8);
        }
    }

    /// Says that the executor is about to sleep. It must look into its queues once more after this.
    pub fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Says that the executor is awake.
    #[inline]
    pub fn unpark(&self) {
        if self.parked.load(Ordering::Relaxed) {
            self.parked.store(false, Ordering::SeqCst);
        }
    }
}

/// One executor's end of its two queues with one peer.
pub struct Peer {
    to: rtrb::Producer<Mail>,
    from: rtrb::Consumer<Mail>,
    /// Batches that may still be sent before one is answered.
    credits: usize,
    /// What this turn has gathered for the peer.
    pub outbox: Box<Batch>,
    /// Answered batches, for reuse: boxed because they travel through the queues as one pointer.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Batch>>,
}

impl Peer {
    /// Sends what has gathered, if there is a credit for it. Returns whether something was sent.
    pub fn send(&mut self) -> bool {
        if self.outbox.is_empty() || self.credits == 0 {
            return false;
        }
        self.credits -= 1;
        let batch = std::mem::replace(&mut self.outbox, self.spare.pop().unwrap_or_default());
        self.push(Mail::Request(batch));
        true
    }

    /// Sends an answered batch back.
    pub fn answer(&mut self, batch: Box<Batch>) {
        self.push(Mail::Answer(batch));
    }

    fn push(&mut self, mail: Mail) {
        assert!(self.to.push(mail).is_ok(), "credits bound what is in the queue");
    }

    /// The next mail, if there is some.
    #[inline]
    pub fn receive(&mut self) -> Option<Mail> {
        self.from.pop().ok()
    }

    /// Whether mail is waiting.
    pub fn has_mail(&self) -> bool {
        !self.from.is_empty()
    }

    /// Takes an answered batch back, with its credit, after everything in it has been used.
    pub fn retire(&mut self, mut batch: Box<Batch>) {
        self.credits += 1;
        batch.reset();
        self.spare.push(batch);
    }
}

/// The mesh for `count` executors: for each the ends of its queues, by peer; its own place is `None`.
pub fn mesh(count: usize) -> Vec<Vec<Option<Peer>>> {
    let mut outgoing: Vec<Vec<_>> = (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
    let mut incoming: Vec<Vec<_>> = (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
    for (from, row) in outgoing.iter_mut().enumerate() {
        for (to, end) in row.iter_mut().enumerate() {
            if from != to {
                let (producer, consumer) = rtrb::RingBuffer::new(MESH_QUEUE_LEN);
                *end = Some(producer);
                incoming[to][from] = Some(consumer);
            }
        }
    }
    let peer = |(to, from): (Option<_>, Option<_>)| {
        Some(Peer { to: to?, from: from?, credits: BATCH_CREDITS, outbox: Box::default(), spare: Vec::new() })
    };
    outgoing
        .into_iter()
        .zip(incoming)
        .map(|(out, back)| out.into_iter().zip(back).map(peer).collect())
        .collect()
}

#[cfg(test)]
#[path = "mail/tests.rs"]
mod tests;
