//! An executor's end of the log.
//!
//! Changes are encoded as they happen. Before anything leaves the executor that could tell of them (mail, replies) they are sealed: they get their positions, so that
//! whatever happens because of them has higher ones. When they are written is the writer's decision; here its operations go into the ring and come back.
//!
//! Under `every_write` a reply waits until everything is durable that the executor has sealed or heard of before it: not only its own change, also what a read
//! may have seen. It waits as a send that is not submitted yet, so what the client asks meanwhile goes into the next one.

use super::keeper::{Full, Prepared, FIRST_SEGMENT_BYTES, SEGMENT_BYTES};
use super::SharedLog;
use crate::connection::Connection;
use crate::coordinate::Entry;
use crate::executor::Executor;
use crate::ring::SocketRing;
use kora_engine::change::{Change, ChangeSink};
use kora_persist::log::{LogWriter, Mark, Op, Segment, WalSync, WriterConfig};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// Encoded changes that wait for the disk, bytes, above which connections that want to write more wait as well.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// A reply that waits for the disk.
#[derive(Debug, Clone, Copy)]
struct Awaiting {
    lsn: u64,
    index: u32,
    generation: u32,
}

/// See the module.
pub(crate) struct Log {
    pub shared: Arc<SharedLog>,
    writer: Rc<RefCell<LogWriter>>,
    /// Segments that are being written, by number.
    files: Vec<(u64, File)>,
    /// A segment was asked for.
    asked: bool,
    /// Nothing is written any more, and who waited for that has been sent away.
    lost: bool,
    /// Where its clock begins.
    began: quanta::Instant,
    /// Whether replies wait.
    strict: bool,
    /// The highest position that this executor has sealed.
    sealed: u64,
    /// The highest one of which a peer has told.
    heard: u64,
    awaiting: VecDeque<Awaiting>,
    /// Operations in the ring.
    operations: usize,
}

/// Encodes every change of the shard.
struct Sink(Rc<RefCell<LogWriter>>);

impl ChangeSink for Sink {
    fn change(&mut self, _: u64, change: &Change<'_>) {
        self.0.borrow_mut().push(change);
    }
}

impl Log {
    /// What is to be written down before replies may leave that were made just now.
    fn gate(&self) -> u64 {
        self.sealed.max(self.heard)
    }
}

impl Executor {
    /// Begins to log the changes of this shard.
    pub(crate) fn start_log(&mut self, shared: Arc<SharedLog>) {
        let storage = self.process.storage.as_ref().expect("a log has a directory");
        let sync = storage.options.sync;
        let writer = LogWriter::new(
            WriterConfig {
                shard: self.id,
                shards: self.count,
                run: shared.run,
                run_first_lsn: shared.first_lsn,
                directory: storage.directory.id,
                sync,
                segment_bytes: SEGMENT_BYTES,
            },
            shared.order.clone(),
        );
        let writer = Rc::new(RefCell::new(writer));
        self.shard.keys.changes.attach(Box::new(Sink(writer.clone())));
        shared.keeper.prepare(self.id, FIRST_SEGMENT_BYTES);
        self.log = Some(Log {
            shared,
            writer,
            files: Vec::new(),
            asked: true,
            lost: false,
            began: self.clock.now(),
            strict: sync == WalSync::EveryWrite,
            sealed: 0,
            heard: 0,
            awaiting: VecDeque::new(),
            operations: 0,
        });
    }

    /// Where the log is now, in case that what follows turns out to be a unit that ends in a later turn.
    #[inline]
    pub(crate) fn mark_log(&self) -> Option<Mark> {
        self.log.as_ref().map(|log| log.writer.borrow().mark())
    }

    /// What was changed since then is the beginning of such a unit. Nothing has left this executor meanwhile.
    pub(crate) fn tag_log_since(&self, mark: Option<Mark>, tag: Option<u64>) {
        if let (Some(log), Some(mark), Some(tag)) = (&self.log, mark, tag) {
            log.writer.borrow_mut().tag_since(mark, tag);
        }
    }

    /// The libraries of functions have changed: the log gets all of them.
    pub(crate) fn log_functions(&mut self) {
        if let Some(log) = &self.log {
            let dump = self.process.scripts.known().libraries.dump();
            log.writer.borrow_mut().push_functions(&dump);
        }
    }

    /// Gives what has changed its positions. To be called before anything leaves this executor.
    #[inline]
    pub(crate) fn seal_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.sealed = log.writer.borrow_mut().seal();
        }
    }

    /// The position up to which a peer that hears from this executor must wait.
    #[inline]
    pub(crate) fn log_position(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::gate)
    }

    /// A peer has said how far its log is.
    #[inline]
    pub(crate) fn heard_of(&mut self, lsn: u64) {
        if let Some(log) = &mut self.log {
            log.heard = log.heard.max(lsn);
        }
    }

    /// What a coordinator says of its transaction.
    pub(crate) fn tell_log(&mut self, entry: Entry) {
        let Some(log) = &self.log else { return };
        let mut writer = log.writer.borrow_mut();
        match entry {
            Entry::Begin(tag) => writer.set_tag(Some(tag)),
            Entry::End => writer.set_tag(None),
            Entry::Commit(tag) => writer.commit(tag),
        }
    }

    /// Whether a reply must wait that could leave now. If so, it is remembered.
    #[inline]
    pub(crate) fn awaits_log(&mut self, index: u32, generation: u32) -> bool {
        if self.log.is_none() {
            return false;
        }
        // WAITAOF wants in every mode what `every_write` gives to all.
        let wanted = std::mem::take(&mut self.connection(index).wants_log);
        match &mut self.log {
            Some(log) if log.strict || wanted => {
                let lsn = log.gate();
                // Once nothing is written any more, only reads are answered.
                if log.shared.order.durable() >= lsn || log.lost {
                    return false;
                }
                log.awaiting.push_back(Awaiting { lsn, index, generation });
                true
            }
            _ => false,
        }
    }

    /// Sends the replies whose changes are durable.
    pub(crate) fn release_replies(&mut self) {
        let Some(log) = &mut self.log else { return };
        if !log.lost && self.process.storage.as_ref().is_some_and(|storage| storage.is_poisoned()) {
            return self.lose_log();
        }
        if log.awaiting.is_empty() {
            return;
        }
        let id = self.id as usize;
        loop {
            let log = self.log.as_mut().expect("just seen");
            let durable = log.shared.order.durable();
            let Some(&Awaiting { lsn, index, generation }) = log.awaiting.front() else {
                log.shared.awaited[id].store(u64::MAX, Ordering::SeqCst);
                return;
            };
            if lsn > durable {
                // First said, then looked again: whoever makes it durable in between rings.
                log.shared.awaited[id].store(lsn, Ordering::SeqCst);
                if lsn > log.shared.order.durable() {
                    return;
                }
                continue;
            }
            log.awaiting.pop_front();
            self.send_awaited(index, generation);
        }
    }

    /// Nothing is written any more. What was asked for before and not answered yet may have changed something that will not be durable: these clients are not told that it was done. Nor
    /// that it was not: it may be in the file. Whoever asks from now on is refused, or only reads.
    #[cold]
    fn lose_log(&mut self) {
        let log = self.log.as_mut().expect("it was there");
        log.lost = true;
        let strict = log.strict;
        log.shared.awaited[self.id as usize].store(u64::MAX, Ordering::SeqCst);
        let awaiting = std::mem::take(&mut log.awaiting);
        let mut lost: Vec<u32> = if strict {
            let unanswered = |connection: &Connection| {
                let waits = connection.sending.as_ref().is_some_and(|sending| sending.awaits_log);
                waits || !connection.out.is_empty() || !connection.pending.is_empty()
            };
            self.connections()
                .filter(|(_, connection)| unanswered(connection))
                .map(|(index, _)| index)
                .collect()
        } else {
            Vec::new()
        };
        for Awaiting { index, generation, .. } in awaiting {
            if self.connection_of(index, generation).is_some() {
                self.forget_awaited(index);
                if !lost.contains(&index) {
                    lost.push(index);
                }
            }
        }
        if !lost.is_empty() {
            tracing::error!(clients = lost.len(), "closing clients whose writes could not be made durable");
        }
        for index in lost {
            self.connection(index).out.clear();
            self.drop_connection(index);
        }
    }

    /// Whether something has happened to the log that this executor does not know yet.
    pub(crate) fn has_news_of_log(&self) -> bool {
        let Some(log) = &self.log else { return false };
        let durable = || log.shared.order.durable();
        let poisoned = || self.process.storage.as_ref().is_some_and(|storage| storage.is_poisoned());
        log.awaiting.front().is_some_and(|first| first.lsn <= durable())
            || (log.asked && log.shared.keeper.is_ready(self.id))
            || (!log.lost && poisoned())
    }

    /// Has written what is to be written now.
    pub(crate) fn write_log(&mut self) {
        let Some(log) = &mut self.log else { return };
        let keeper = &log.shared.keeper;
        let mut writer = log.writer.borrow_mut();
        if log.asked {
            match keeper.take(self.id) {
                None => {}
                Some(Ok(Prepared { id, file, bytes })) => {
                    log.asked = false;
                    writer.give_segment(Segment { id, bytes });
                    log.files.push((id, file));
                }
                Some(Err(error)) => {
                    log.asked = false;
                    let storage = self.process.storage.as_ref().expect("a log has a directory");
                    writer.poison(format!("a segment cannot be made: {error}"));
                    storage.poison(&format!("a segment cannot be made: {error}"));
                }
            }
        }
        if log.strict {
            writer.set_time(self.clock.now().duration_since(log.began).as_micros() as u64);
        }
        if let Some(op) = writer.poll(self.now) {
            log.shared.count(&op);
            submit(&mut self.ring, &log.files, &op);
            log.operations += 1;
        }
        for closed in writer.take_closed() {
            log.files.retain(|(id, _)| *id != closed.id);
            keeper.full(Full { id: closed.id, last_lsn: closed.last_lsn, bytes: closed.bytes });
        }
        if !log.asked {
            if let Some(bytes) = writer.wants_segment() {
                log.asked = true;
                keeper.prepare(self.id, bytes);
            }
        }
        if let Some(deadline) = writer.deadline() {
            drop(writer);
            self.tick_by(deadline);
        }
    }

    /// An operation of the log has ended.
    pub(crate) fn file_completed(&mut self, token: u32, result: i32) {
        let Some(log) = &mut self.log else { return };
        log.operations -= 1;
        let mut writer = log.writer.borrow_mut();
        if log.strict {
            writer.set_time(self.clock.now().duration_since(log.began).as_micros() as u64);
        }
        let result = if result < 0 { Err(-result) } else { Ok(result as usize) };
        if writer.completed(token, result) {
            let rest = writer.again().expect("it is not done");
            submit(&mut self.ring, &log.files, &rest);
            log.operations += 1;
            return;
        }
        if let Some(poison) = writer.poisoned() {
            let storage = self.process.storage.as_ref().expect("a log has a directory");
            storage.poison(&poison.to_string());
        }
        let durable = log.shared.order.durable();
        for (other, awaited) in log.shared.awaited.iter().enumerate() {
            if other != self.id as usize && awaited.load(Ordering::SeqCst) <= durable {
                self.process.doorbells[other].ring();
            }
        }
    }

    /// Has everything made durable that was sealed, without waiting for it to gather.
    pub(crate) fn hurry_log(&mut self) {
        self.seal_log();
        if let Some(log) = &self.log {
            log.writer.borrow_mut().flush_all();
        }
    }

    /// How long the next write waits for more to join it; then the executor must not sleep for longer.
    pub(crate) fn log_waits(&self) -> Option<Duration> {
        let log = self.log.as_ref().filter(|log| log.strict)?;
        log.writer.borrow().waits_us().map(Duration::from_micros)
    }

    /// The segment that is being written is closed: what is changed from now on lies in another one.
    pub(crate) fn rotate_log(&mut self) {
        if let Some(log) = &self.log {
            log.writer.borrow_mut().rotate();
        }
    }

    /// Whether so much waits for the disk that nothing more is to be written.
    #[inline]
    pub(crate) fn log_is_behind(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.writer.borrow().backlog_bytes() > BACKLOG_BYTES_MAX)
    }

    /// At the end: has everything written that was sealed. Returns whether it is.
    pub(crate) fn finish_log(&mut self) -> bool {
        self.seal_log();
        let Some(log) = &mut self.log else { return true };
        log.writer.borrow_mut().flush_all();
        self.write_log();
        let log = self.log.as_ref().expect("just seen");
        let writer = log.writer.borrow();
        log.operations == 0 && (writer.is_idle() || writer.poisoned().is_some())
    }
}

/// Has the kernel do it.
fn submit(ring: &mut SocketRing, files: &[(u64, File)], op: &Op<'_>) {
    let (token, segment) = match op {
        Op::Write { token, segment, .. } | Op::Sync { token, segment } => (*token, *segment),
    };
    let (_, file) = files.iter().find(|(id, _)| *id == segment).expect("given to the writer");
    // SAFETY: the buffer belongs to the writer, which keeps it in place until it is told of the completion. The writer lives as long as the ring: both are
    // the executor's, and the ring is closed first.
    unsafe { ring.file_operation(file.as_raw_fd(), op, Executor::file_token(token)) };
}
