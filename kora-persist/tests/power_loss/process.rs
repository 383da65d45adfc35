//! A process that logs: several executors with a writer each, clients whose units of changes they carry out, and the keeper of segments.

use crate::disk::Disk;
use crate::model::{Model, Record, What};
use fastrand::Rng;
use kora_engine::change::Change;
use kora_persist::block::BLOCK_BYTES;
use kora_persist::log::{End, LogWriter, Mark, Op, Order, Segment, WalSync, WriterConfig};
use std::collections::VecDeque;
use std::sync::Arc;

/// Usual size of a segment here, bytes: small, so that there are many.
const SEGMENT_BYTES: u64 = 64 << 10;
/// No operation takes longer, milliseconds.
const OPERATION_MS: u64 = 40;
/// `every_second` promises that no more is lost, milliseconds.
const LOST_MS: u64 = 1000;

/// A segment that is full, as the keeper knows it.
#[derive(Clone, Copy)]
struct Full {
    id: u64,
    bytes: u64,
    last_lsn: u64,
}

/// What the kernel is doing for a writer.
enum Doing {
    Write { segment: u64, offset: u64, bytes: Vec<u8>, dsync: bool },
    Sync { segment: u64 },
}

struct UnderWay {
    token: u32,
    doing: Doing,
    ends_at: u64,
}

struct Executor {
    writer: LogWriter,
    under_way: Option<UnderWay>,
    /// When the segment that it wants is ready.
    segment_at: Option<u64>,
    /// What was pushed and not sealed.
    open: Vec<What>,
}

/// A transaction over several shards.
struct Transaction {
    tag: u64,
    unit: u32,
    records: u32,
    /// Shards that it has yet to change something on; the last one is the coordinator's.
    left: Vec<usize>,
}

/// How operations go wrong.
#[derive(Clone, Copy, PartialEq)]
pub enum Faults {
    /// Not at all; but some are done in part, and some are interrupted.
    Passing,
    /// The one with this number fails, counted from the start of the process.
    At(u64),
}

/// See the module.
pub struct Process<'w> {
    disk: &'w mut Disk,
    random: &'w mut Rng,
    model: &'w mut Model,
    sync: WalSync,
    faults: Faults,
    order: Arc<Order>,
    executors: Vec<Executor>,
    transactions: Vec<Transaction>,
    /// Units that took more than a turn and have not committed: shard and tag.
    late: Vec<(usize, u64)>,
    next_tag: u64,
    now: u64,
    next_segment: u64,
    full: Vec<Full>,
    spares: VecDeque<u64>,
    /// Operations so far.
    pub operations: u64,
    run: u32,
}

impl<'w> Process<'w> {
    /// Goes on where a recovery has ended.
    pub fn start(
        disk: &'w mut Disk,
        random: &'w mut Rng,
        model: &'w mut Model,
        end: &End,
        sync: WalSync,
        faults: Faults,
    ) -> Process<'w> {
        // As the server does: what was read must not vanish after all.
        for facts in &end.segments {
            disk.sync(facts.header.segment);
        }
        let shards = random.u16(1..=4);
        let first = end.last_lsn + 1;
        let order = Arc::new(Order::new(shards as usize, first));
        let run = end.run + 1;
        let executor = |shard| {
            let config = WriterConfig {
                shard,
                shards,
                run,
                run_first_lsn: first,
                directory: 7,
                sync,
                segment_bytes: SEGMENT_BYTES,
            };
            let writer = LogWriter::new(config, order.clone());
            Executor { writer, under_way: None, segment_at: None, open: Vec::new() }
        };
        let executors = (0..shards).map(executor).collect();
        let full = end.segments.iter();
        let full = full
            .map(|facts| Full { id: facts.header.segment, bytes: facts.bytes, last_lsn: facts.last_lsn })
            .collect();
        Process {
            disk,
            random,
            model,
            sync,
            faults,
            order,
            executors,
            transactions: Vec::new(),
            late: Vec::new(),
            next_tag: 1,
            now: 1_000_000,
            next_segment: end.next_segment,
            full,
            spares: VecDeque::new(),
            operations: 0,
            run,
        }
    }

    /// A number of steps.
    pub fn steps(&mut self, range: std::ops::Range<usize>) -> usize {
        self.random.usize(range)
    }

    /// Works for so many steps.
    pub fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            let shard = self.random.usize(0..self.executors.len());
            match self.random.u8(0..100) {
                0..55 => self.unit(shard),
                55..75 => self.transaction_step(),
                75..80 => self.late_transaction(shard),
                80..84 => self.executors[shard].writer.rotate(),
                84..88 => self.executors[shard].writer.flush_all(),
                88..92 => self.idle(),
                92..95 if self.snapshot() => return,
                _ => {}
            }
            if self.random.u8(0..3) > 0 {
                self.seal(shard);
            }
            self.now += self.random.u64(0..3);
            self.turn();
        }
    }

    /// Everything is written as it should be at a stop.
    pub fn stop(mut self) {
        for shard in 0..self.executors.len() {
            self.seal(shard);
            self.executors[shard].writer.flush_all();
        }
        for _ in 0..1000 {
            if self.executors.iter().all(|executor| executor.writer.is_idle()) {
                assert_eq!(self.order.durable(), self.order.last());
                self.model.note_durable(self.order.durable());
                return;
            }
            self.now += 5;
            self.turn();
        }
        panic!("a writer never comes to an end");
    }

    /// The process is killed; `power`: and the disk forgets what it must not keep.
    pub fn die(mut self, power: bool) {
        for shard in 0..self.executors.len() {
            if let Some(UnderWay { doing: Doing::Write { segment, offset, bytes, .. }, .. }) =
                self.executors[shard].under_way.take()
            {
                self.disk.write_in_part(segment, offset, &bytes, self.random);
            }
        }
        if power {
            self.disk.fail_power(self.random);
        }
    }

    fn is_poisoned(&self) -> bool {
        self.executors.iter().any(|executor| executor.writer.poisoned().is_some())
    }

    // ---- clients -----------------------------------------------------------------------------------------

    fn push(&mut self, shard: usize, unit: u32, index: u32, of: u32, tag: Option<u64>) {
        let executor = &mut self.executors[shard];
        if executor.writer.poisoned().is_some() {
            return;
        }
        let len = match self.random.u8(0..40) {
            0 => 20_000,
            1 => 90_000,
            2..6 => 3_000,
            _ => self.random.usize(0..200),
        };
        let record = Record { unit, index, of, len };
        executor.writer.push(&Change::Append { db: 0, key: &record.key(), tail: &vec![b'x'; len] });
        executor.open.push(What::Record(record, tag));
    }

    /// A unit on one shard.
    fn unit(&mut self, shard: usize) {
        let (unit, of) = (self.model.new_unit(), self.random.u32(1..4));
        for index in 0..of {
            self.push(shard, unit, index, of, None);
        }
        if self.random.u8(0..20) == 0 && self.executors[shard].writer.poisoned().is_none() {
            self.executors[shard].writer.push_functions(b"all of them");
            self.executors[shard].open.push(What::Functions);
        }
    }

    fn new_tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    /// Goes on with a transaction, or begins one.
    fn transaction_step(&mut self) {
        if let Some((shard, tag)) = self.late.pop() {
            self.commit(shard, tag);
        }
        if self.transactions.len() < 3 {
            let mut left: Vec<usize> = (0..self.executors.len()).collect();
            self.random.shuffle(&mut left);
            left.truncate(self.random.usize(1..=left.len()));
            let (tag, unit, records) = (self.new_tag(), self.model.new_unit(), left.len() as u32);
            self.transactions.push(Transaction { tag, unit, records, left });
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        let at = self.random.usize(0..self.transactions.len());
        let Transaction { tag, unit, records, .. } = self.transactions[at];
        let left = &mut self.transactions[at].left;
        let shard = left.remove(0);
        let (index, ends) = (records - 1 - left.len() as u32, left.is_empty());
        self.executors[shard].writer.set_tag(Some(tag));
        self.push(shard, unit, index, records, Some(tag));
        self.executors[shard].writer.set_tag(None);
        if !ends {
            // The others are told of it only after that.
            self.seal(shard);
            return;
        }
        self.transactions.swap_remove(at);
        self.commit(shard, tag);
    }

    fn commit(&mut self, shard: usize, tag: u64) {
        let executor = &mut self.executors[shard];
        if executor.writer.poisoned().is_none() {
            executor.writer.commit(tag);
            executor.open.push(What::Commit(tag));
        }
    }

    /// A unit on one shard that turns out to take more than a turn.
    fn late_transaction(&mut self, shard: usize) {
        if self.executors[shard].writer.poisoned().is_some() {
            return;
        }
        let mark: Mark = self.executors[shard].writer.mark();
        let (unit, of, tag) = (self.model.new_unit(), self.random.u32(1..4), self.new_tag());
        let first = self.executors[shard].open.len();
        let at_once = self.random.u32(1..=of);
        for index in 0..at_once {
            self.push(shard, unit, index, of, None);
        }
        self.executors[shard].writer.tag_since(mark, tag);
        for what in &mut self.executors[shard].open[first..] {
            if let What::Record(_, tagged) = what {
                *tagged = Some(tag);
            }
        }
        self.seal(shard);
        self.turn();
        self.executors[shard].writer.set_tag(Some(tag));
        for index in at_once..of {
            self.push(shard, unit, index, of, Some(tag));
        }
        if self.random.bool() {
            self.commit(shard, tag);
        } else {
            self.late.push((shard, tag));
        }
        self.executors[shard].writer.set_tag(None);
    }

    fn seal(&mut self, shard: usize) {
        let executor = &mut self.executors[shard];
        let last = executor.writer.seal();
        if executor.writer.poisoned().is_some() {
            executor.open.clear();
        }
        let count = executor.open.len() as u64;
        for (lsn, what) in (last + 1 - count..).zip(executor.open.drain(..)) {
            self.model.sealed(lsn, what, self.run, self.now);
        }
    }

    /// Nothing happens for a while, but timers and the disk.
    fn idle(&mut self) {
        for shard in 0..self.executors.len() {
            self.seal(shard);
        }
        for _ in 0..self.random.usize(0..150) {
            self.now += 5;
            self.turn();
        }
    }

    /// A snapshot is taken and is durable; the log before it is used again, as far as the process comes with that. Returns whether it comes no further, which
    /// may be before anything of the log is written.
    fn snapshot(&mut self) -> bool {
        if self.is_poisoned() {
            return false;
        }
        // It holds all shards: nothing else is half done.
        while !self.transactions.is_empty() {
            self.go_on();
        }
        for (shard, tag) in std::mem::take(&mut self.late) {
            self.commit(shard, tag);
        }
        for shard in 0..self.executors.len() {
            self.seal(shard);
        }
        let cut = self.order.last();
        self.model.snapshot(cut, self.run);
        for executor in &mut self.executors {
            executor.writer.rotate();
        }
        if self.random.u8(0..4) == 0 {
            return true;
        }
        self.idle();
        let done: Vec<Full> = self.full.iter().copied().filter(|full| full.last_lsn <= cut).collect();
        let some = self.random.usize(0..=done.len());
        for full in &done[..some] {
            self.full.retain(|other| other.id != full.id);
            if full.bytes == SEGMENT_BYTES {
                // Under a name that recovery does not look at: here one that is made at once for the next use.
                let id = self.next_segment;
                self.next_segment += 1;
                self.disk.rename(full.id, id);
                self.spares.push_back(id);
            } else {
                self.disk.remove(full.id);
            }
        }
        false
    }

    // ---- the disk ----------------------------------------------------------------------------------------

    /// What an executor does about its log in a turn.
    fn turn(&mut self) {
        for shard in 0..self.executors.len() {
            self.segments(shard);
            self.completions(shard);
            self.submit(shard);
        }
        let durable = self.order.durable();
        self.model.note_durable(durable);
        if self.sync == WalSync::EverySecond && !self.is_poisoned() {
            if let Some(at) = self.model.sealed_at(durable + 1) {
                assert!(
                    self.now <= at + LOST_MS,
                    "position {} waits since {at}, now is {}",
                    durable + 1,
                    self.now
                );
            }
        }
    }

    fn segments(&mut self, shard: usize) {
        let executor = &mut self.executors[shard];
        for closed in executor.writer.take_closed() {
            self.full.push(Full { id: closed.id, bytes: closed.bytes, last_lsn: closed.last_lsn });
        }
        let Some(bytes) = executor.writer.wants_segment() else { return };
        let at = *executor.segment_at.get_or_insert(self.now + self.random.u64(0..OPERATION_MS));
        if at > self.now {
            return;
        }
        executor.segment_at = None;
        let bytes = bytes.next_multiple_of(BLOCK_BYTES as u64);
        let id = match self.spares.pop_front().filter(|_| bytes == SEGMENT_BYTES) {
            Some(spare) => spare,
            None => {
                let id = self.next_segment;
                self.next_segment += 1;
                self.disk.create(id, bytes);
                id
            }
        };
        executor.writer.give_segment(Segment { id, bytes });
    }

    fn completions(&mut self, shard: usize) {
        let executor = &mut self.executors[shard];
        let Some(UnderWay { token, doing, .. }) = executor.under_way.take_if(|op| op.ends_at <= self.now)
        else {
            return;
        };
        let fails = match self.faults {
            Faults::Passing => None,
            Faults::At(number) => (self.operations >= number).then(|| self.random.choice([5, 28]).unwrap()),
        };
        let passing = fails.is_none().then(|| self.random.u8(0..12));
        let result = match (doing, fails, passing) {
            (Doing::Write { segment, offset, bytes, .. }, Some(errno), _) => {
                self.disk.write_in_part(segment, offset, &bytes, self.random);
                Err(errno)
            }
            (Doing::Sync { .. }, Some(errno), _) => Err(errno),
            (_, None, Some(0)) => Err(self.random.choice([4, 11]).unwrap()),
            (Doing::Write { segment, offset, bytes, dsync }, None, passing) => {
                let blocks = bytes.len() / BLOCK_BYTES;
                let done =
                    if passing == Some(1) && blocks > 1 { self.random.usize(1..blocks) } else { blocks };
                let bytes = &bytes[..done * BLOCK_BYTES];
                self.disk.write(segment, offset, bytes, dsync);
                Ok(bytes.len())
            }
            (Doing::Sync { segment }, None, _) => {
                self.disk.sync(segment);
                Ok(0)
            }
        };
        if executor.writer.completed(token, result) {
            let op = executor.writer.again().expect("it is not done");
            let ends_at = self.now + self.random.u64(0..5);
            executor.under_way = Some(under_way(op, ends_at));
        }
        assert_eq!(fails.is_some(), executor.writer.poisoned().is_some());
    }

    fn submit(&mut self, shard: usize) {
        let executor = &mut self.executors[shard];
        executor.writer.set_time(self.now * 1000);
        if let Some(op) = executor.writer.poll(self.now) {
            let ends_at = self.now + self.random.u64(0..OPERATION_MS);
            executor.under_way = Some(under_way(op, ends_at));
            self.operations += 1;
        }
    }
}

fn under_way(op: Op<'_>, ends_at: u64) -> UnderWay {
    match op {
        Op::Write { token, segment, offset, buf, dsync } => {
            let doing = Doing::Write { segment, offset, bytes: buf.to_vec(), dsync };
            UnderWay { token, doing, ends_at }
        }
        Op::Sync { token, segment } => UnderWay { token, doing: Doing::Sync { segment }, ends_at },
    }
}
