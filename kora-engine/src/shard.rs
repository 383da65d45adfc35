//! The shard: all the data of a range of slots, and the one door through which commands reach it.

use crate::change::UnixMs;
use crate::command::{Command, Run};
use crate::exec::{Exec, Flow};
use crate::keyspace::{Keyspace, View};
use crate::limits::{EncodingLimits, PROTO_MAX_BULK_LEN_DEFAULT};
use crate::random::Random;
use crate::reply::Reply;
use crate::value::lazy;
use bytes::Bytes;

/// How many blocks of dropped memory are freed in the time of a segment of keys, which is mostly looked at and not touched.
const BLOCKS_PER_SEGMENT: usize = 128;

/// Which shard this is, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardId {
    /// From 0.
    pub index: u16,
    /// At least 1.
    pub count: u16,
}

/// Settings that change what commands do. The same on every shard of a process.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Longest string value, bytes (`proto-max-bulk-len`).
    pub max_string_len: usize,
    /// Number of databases.
    pub databases: u16,
    /// Keep a count of keys per cluster slot (costs a CRC16 per new or removed key).
    pub count_slots: bool,
    /// Up to where collections are packed.
    pub limits: EncodingLimits,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            max_string_len: PROTO_MAX_BULK_LEN_DEFAULT,
            databases: 16,
            count_slots: false,
            limits: EncodingLimits::default(),
        }
    }
}

/// One shard: a pure state machine.
pub struct Shard {
    /// Which one.
    pub id: ShardId,
    /// Its data, behind the apply path.
    pub keys: Keyspace,
    /// Settings.
    pub config: EngineConfig,
    /// The random sequence that RANDOMKEY and sampling use; part of the shard, seeded at creation.
    random: Random,
}

impl Shard {
    /// An empty shard. `seed` seeds the hash of keys and the random sequence: same seed, same behaviour.
    pub fn new(id: ShardId, config: EngineConfig, seed: u64) -> Shard {
        assert!(id.index < id.count);
        assert!(config.databases >= 1);
        Shard {
            id,
            keys: Keyspace::new(config.databases, seed, config.count_slots),
            config,
            random: Random::new(seed ^ 0x9E37_79B9_7F4A_7C15),
        }
    }

    /// Executes one command whose keys all belong to this shard and writes its one reply, or returns
    /// [`Flow::Later`] with what remains to be done before there is one.
    ///
    /// Returns whether the reply is an error in the first part, for statistics.
    #[inline]
    pub fn apply(
        &mut self,
        view: View,
        command: &'static Command,
        argv: &[&[u8]],
        frame: Option<&Bytes>,
        reply: &mut dyn Reply,
    ) -> Applied {
        let handler = match command.spec.run {
            Run::Keys(handler, _) | Run::Everywhere(handler, _) | Run::ByCursor(handler) => handler,
            Run::Server(_) | Run::Script(_) | Run::Container => {
                unreachable!("{} is not a shard's command", command.full_name)
            }
        };
        let mut exec = Exec { shard: self, view, command, argv, frame };
        match handler(&mut exec, reply) {
            Ok(Flow::Done) => Applied::Replied,
            Ok(Flow::Later(rest)) => Applied::Later(rest),
            Err(error) => {
                reply.error(error.text());
                Applied::Failed(error)
            }
        }
    }

    /// The next number of the shard's random sequence.
    pub fn random(&mut self) -> u64 {
        self.random.number()
    }

    /// The keys, and the shard's random sequence beside them: for random choices among what a key holds.
    pub(crate) fn keys_and_random(&mut self) -> (&mut Keyspace, &mut Random) {
        (&mut self.keys, &mut self.random)
    }

    /// A random live key of the database, or none when it is empty.
    pub fn random_key(&mut self, view: View) -> Option<Vec<u8>> {
        let random = &mut self.random;
        self.keys.random_key(view, &mut || random.number())
    }

    /// Frees about so many blocks of dropped collections; returns whether more is left.
    pub fn free_dropped(&mut self, blocks: usize) -> bool {
        lazy::free_some(blocks)
    }

    /// Whether memory waits to be freed: then [`Shard::background`] should be called soon.
    #[inline]
    pub fn has_garbage(&self) -> bool {
        lazy::is_pending() || self.keys.has_remains()
    }

    /// Collections, and keys of flushed databases, whose memory waits to be freed; and how many of both have been freed so. The
    /// collections are those of all shards of the calling thread.
    pub fn lazily_freed(&self) -> (u64, u64) {
        let ((objects, objects_freed), (keys, keys_freed)) = (lazy::counts(), self.keys.remains());
        (objects as u64 + keys as u64, objects_freed + keys_freed)
    }

    /// Background work of one tick: expired keys and fields go, memory of dropped tables is freed. Returns whether
    /// there is more to do right away.
    pub fn background(&mut self, now: UnixMs, segments: usize) -> bool {
        let more_expired = self.keys.sweep_expired(now, segments);
        let more_fields = self.keys.reclaim_fields(now, segments);
        let more_remains = self.keys.free_remains(segments * BLOCKS_PER_SEGMENT);
        let more_objects = lazy::free_some(segments * BLOCKS_PER_SEGMENT);
        more_expired || more_fields || more_remains || more_objects
    }
}

/// The result of [`Shard::apply`].
pub enum Applied {
    /// The reply is written.
    Replied,
    /// The reply is written, and it is this error.
    Failed(crate::error::Error),
    /// No reply yet.
    Later(Box<dyn crate::exec::Continuation>),
}
