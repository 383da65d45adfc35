//! What commands want of which shards.

use super::locks::{Mode, Wants};
use super::Part;
use kora_engine::command::{Command, KeyFlags, Run};
use kora_engine::keyspace::Keyspace;
use kora_engine::slot::Slot;
use smallvec::SmallVec;

/// The name of a key in the lock table: its hash, which is the same on all shards and in all databases.
#[inline]
pub fn fingerprint(keys: &Keyspace, key: &[u8]) -> u64 {
    keys.key(key).fingerprint()
}

/// How a command holds the keys of a specification with these flags.
#[inline]
pub fn mode_of(command: &Command, flags: KeyFlags) -> Mode {
    // A command that writes and says of no key that it does (XREADGROUP) writes all of them.
    let reads = flags.contains(KeyFlags::RO)
        && (!command.is_write() || command.spec.keys.iter().any(|spec| !spec.flags.contains(KeyFlags::RO)));
    if reads {
        Mode::Shared
    } else {
        Mode::Exclusive
    }
}

/// What a command wants that runs on one shard.
pub fn wants_of(keys: &Keyspace, command: &Command, argv: &[&[u8]]) -> Wants {
    match command.spec.run {
        Run::Keys(..) => Wants::keys(command.spec.keys.iter().flat_map(|spec| {
            let mode = mode_of(command, spec.flags);
            spec.positions(argv).map(move |at| (fingerprint(keys, argv[at]), mode))
        })),
        Run::Everywhere(..) | Run::ByCursor(_) => Wants::whole(everywhere_mode(command)),
        // What it does there without having declared it is to be atomic as well.
        Run::Script(_) => Wants::whole(Mode::Exclusive),
        Run::Server(_) | Run::Container => Wants::default(),
    }
}

/// How a command holds shards that it concerns as a whole.
pub fn everywhere_mode(command: &Command) -> Mode {
    if command.is_write() {
        Mode::Exclusive
    } else {
        Mode::Shared
    }
}

/// What a transaction wants, by shard.
#[derive(Default)]
pub struct Footprint {
    shards: u16,
    keys: Vec<(u16, u64, Mode)>,
    /// Shards that are wanted as a whole.
    wholes: Vec<(u16, Mode)>,
    whole: Option<Mode>,
}

impl Footprint {
    /// Nothing yet, of so many shards.
    pub fn new(shards: u16) -> Footprint {
        Footprint { shards, ..Footprint::default() }
    }

    /// A key.
    pub fn add_key(&mut self, keys: &Keyspace, key: &[u8], mode: Mode) {
        self.keys.push((Slot::of(key).shard(self.shards), fingerprint(keys, key), mode));
    }

    /// A shard as a whole.
    pub fn add_shard(&mut self, shard: u16, mode: Mode) {
        self.wholes.push((shard, mode));
    }

    /// Every shard as a whole.
    pub fn add_everything(&mut self, mode: Mode) {
        self.whole = self.whole.max(Some(mode));
    }

    /// The keys of a command, or every shard if it concerns all of them.
    pub fn add_command(&mut self, keys: &Keyspace, command: &Command, argv: &[&[u8]]) {
        match command.spec.run {
            Run::Keys(..) => {
                for spec in command.spec.keys {
                    let mode = mode_of(command, spec.flags);
                    for at in spec.positions(argv) {
                        self.add_key(keys, argv[at], mode);
                    }
                }
            }
            Run::Everywhere(..) | Run::ByCursor(_) => self.add_everything(everywhere_mode(command)),
            // What a script wants depends on settings as well: see `script::spread`.
            Run::Script(_) | Run::Server(_) | Run::Container => {}
        }
    }

    /// By shard, in their order; each shard occurs once.
    pub fn parts(self) -> Vec<Part> {
        if let Some(mode) = self.whole {
            // Keys that are written among shards that are read are rare: the stronger one for all then.
            let modes =
                self.keys.iter().map(|&(.., mode)| mode).chain(self.wholes.iter().map(|&(_, mode)| mode));
            let mode = modes.fold(mode, Mode::max);
            return (0..self.shards).map(|shard| Part { shard, wants: Wants::whole(mode) }).collect();
        }
        let keyed = self.keys.iter().map(|&(shard, ..)| shard);
        let mut shards: SmallVec<[u16; 8]> =
            keyed.chain(self.wholes.iter().map(|&(shard, _)| shard)).collect();
        shards.sort_unstable();
        shards.dedup();
        let wants = |shard| {
            let keys = self.keys.iter().filter(|key| key.0 == shard);
            match self.wholes.iter().filter(|whole| whole.0 == shard).map(|&(_, mode)| mode).max() {
                Some(mode) => Wants::whole(keys.map(|&(.., mode)| mode).fold(mode, Mode::max)),
                None => Wants::keys(keys.map(|&(_, key, mode)| (key, mode))),
            }
        };
        shards.into_iter().map(|shard| Part { shard, wants: wants(shard) }).collect()
    }
}
