//! The command table: the only place that knows a command's name, arity, flags, key positions, categories,
//! documentation and handler.
//!
//! Each family's file in `commands/` holds its rows beside its handlers; [`registry`] joins them once. Parsing,
//! routing, COMMAND and its subcommands, statistics and the reference page all read the same rows. A new command
//! is one row and one function.
//!
//! A row's `syntax` is the argument part of the manual line (`key value [NX | XX] [GET]`), from which COMMAND DOCS
//! derives its argument tree (see `syntax.rs`).

use crate::error::Error;
use crate::exec::{Exec, Flow};
use crate::reply::Reply;
use bitflags::bitflags;
use std::sync::OnceLock;

bitflags! {
    /// What a command does, in Redis's terms; COMMAND INFO prints them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// May modify data.
        const WRITE = 1 << 0;
        /// Only reads data.
        const READONLY = 1 << 1;
        /// Refused when memory is short.
        const DENYOOM = 1 << 2;
        /// An operator's command.
        const ADMIN = 1 << 3;
        /// Publishes or subscribes.
        const PUBSUB = 1 << 4;
        /// Not allowed in scripts.
        const NOSCRIPT = 1 << 5;
        /// May block the connection.
        const BLOCKING = 1 << 6;
        /// Allowed while data is being loaded.
        const LOADING = 1 << 7;
        /// Allowed when data may be stale.
        const STALE = 1 << 8;
        /// Not shown to MONITOR.
        const SKIP_MONITOR = 1 << 9;
        /// Not kept in the slow log.
        const SKIP_SLOWLOG = 1 << 10;
        /// O(1) or O(log n).
        const FAST = 1 << 11;
        /// Allowed before AUTH.
        const NO_AUTH = 1 << 12;
        /// Not allowed inside MULTI.
        const NO_MULTI = 1 << 13;
        /// Allowed while a script blocks the server.
        const ALLOW_BUSY = 1 << 14;
        /// Key positions depend on the arguments.
        const MOVABLEKEYS = 1 << 15;
        /// Not allowed during an asynchronous load.
        const NO_ASYNC_LOADING = 1 << 16;
        /// May be called without any key.
        const NO_MANDATORY_KEYS = 1 << 17;
        /// Served also by a cluster node to which the slot is only just moving.
        const ASKING = 1 << 18;
    }
}

bitflags! {
    /// ACL categories beyond those that follow from [`Flags`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Categories: u32 {
        /// `@keyspace`
        const KEYSPACE = 1 << 0;
        /// `@string`
        const STRING = 1 << 1;
        /// `@connection`
        const CONNECTION = 1 << 2;
        /// `@dangerous` (ADMIN implies it)
        const DANGEROUS = 1 << 3;
        /// `@read` (READONLY implies it)
        const READ = 1 << 4;
        /// `@write` (WRITE implies it)
        const WRITE = 1 << 5;
        /// `@list`
        const LIST = 1 << 6;
        /// `@set`
        const SET = 1 << 7;
        /// `@sortedset`
        const SORTEDSET = 1 << 8;
        /// `@hash`
        const HASH = 1 << 9;
        /// `@stream`
        const STREAM = 1 << 10;
        /// `@bitmap`
        const BITMAP = 1 << 11;
        /// `@hyperloglog`
        const HYPERLOGLOG = 1 << 12;
        /// `@geo`
        const GEO = 1 << 13;
        /// `@transaction`
        const TRANSACTION = 1 << 14;
        /// `@scripting`
        const SCRIPTING = 1 << 15;
        /// `@admin` (ADMIN implies it)
        const ADMIN = 1 << 16;
    }
}

bitflags! {
    /// What a command does to the keys of one key specification; COMMAND GETKEYSANDFLAGS prints them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct KeyFlags: u16 {
        /// Reads the value.
        const RO = 1 << 0;
        /// Reads and writes it.
        const RW = 1 << 1;
        /// Overwrites it.
        const OW = 1 << 2;
        /// Removes it.
        const RM = 1 << 3;
        /// Returns or copies user data.
        const ACCESS = 1 << 4;
        /// May change user data according to the old one.
        const UPDATE = 1 << 5;
        /// May add user data.
        const INSERT = 1 << 6;
        /// May delete user data.
        const DELETE = 1 << 7;
        /// Access depends on the arguments.
        const VARIABLE_FLAGS = 1 << 8;
        /// There may be other keys that the specification does not find.
        const INCOMPLETE = 1 << 9;
    }
}

/// Where the keys of a specification begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At this argument; the command's name is 0 (a subcommand's is 1).
    Index(u8),
    /// After this word, which is looked for from this argument on; from the end backwards when it is negative, -1 being the last one.
    /// Without the word there are no keys.
    Keyword(&'static str, i8),
    /// After the last STORE of SORT.
    SortStore,
    /// What the BY and GET patterns of SORT make of the elements: not among the arguments.
    SortPatterns,
}

/// Which arguments are keys, from the first one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// Up to `last`, every `step`th.
    Range {
        /// Index of the last key relative to the first; negative: relative to the end of the arguments, -1 the last.
        last: i8,
        /// Distance from one key to the next.
        step: u8,
        /// 2: only the first half of the arguments from the first key on; 0: all.
        limit: u8,
    },
    /// The first argument is their number, and they follow it.
    NumKeys,
}

/// Where keys stand in the arguments.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// What happens to these keys.
    pub flags: KeyFlags,
    /// Where they begin.
    pub begin: Begin,
    /// Which arguments they are from there on.
    pub find: Find,
    /// What COMMAND INFO says of them besides; empty: nothing.
    pub notes: &'static str,
}

/// The indexes of keys in the arguments.
pub type Positions = std::iter::StepBy<std::ops::Range<usize>>;

impl KeySpec {
    /// One key at `index`.
    pub const fn one(index: u8, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, index as i8, 1, flags)
    }

    /// At `index` the number of keys, which follow it.
    pub const fn numkeys(index: u8, flags: KeyFlags) -> KeySpec {
        KeySpec { flags, begin: Begin::Index(index), find: Find::NumKeys, notes: "" }
    }

    /// One key after a word, which is looked for from argument `from` on. `word` is in upper case.
    pub const fn after(word: &'static str, from: u8, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Keyword(word, from as i8),
            find: Find::Range { last: 0, step: 1, limit: 0 },
            notes: "",
        }
    }

    /// All arguments after a word, which is looked for from the argument `from` of the end backwards. `word` is in upper case.
    pub const fn rest_after(word: &'static str, from: i8, flags: KeyFlags) -> KeySpec {
        assert!(from < 0);
        let find = Find::Range { last: -1, step: 1, limit: 0 };
        KeySpec { flags, begin: Begin::Keyword(word, from), find, notes: "" }
    }

    /// The first half of the arguments after the word STREAMS, which is looked for from argument `from` on.
    pub const fn streams(from: u8, flags: KeyFlags) -> KeySpec {
        let find = Find::Range { last: -1, step: 1, limit: 2 };
        KeySpec { flags, begin: Begin::Keyword("STREAMS", from as i8), find, notes: "" }
    }

    /// The key after the STORE option of SORT.
    pub const fn sort_store(flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::SortStore,
            find: Find::Range { last: 0, step: 1, limit: 0 },
            notes: "",
        }
    }

    /// The keys that the BY and GET patterns of SORT name.
    pub const fn sort_patterns(flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::SortPatterns,
            find: Find::Range { last: 0, step: 1, limit: 0 },
            notes: "",
        }
    }

    /// The same with a note.
    pub const fn noted(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }

    /// Keys from `first` to `last` every `step`; a negative `last` counts from the end.
    pub const fn range(first: u8, last: i8, step: u8, flags: KeyFlags) -> KeySpec {
        let last = if last < 0 { last } else { last - first as i8 };
        KeySpec { flags, begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, notes: "" }
    }

    /// The argument indexes of the keys of a command, all of them within its arguments. None are given when the arguments do
    /// not say properly which they are; the command's handler has the error for that.
    #[inline]
    pub fn positions(&self, argv: &[&[u8]]) -> Positions {
        let first = match self.begin {
            Begin::Index(index) => index as usize,
            begin => begin.search(argv),
        };
        match self.find {
            Find::Range { last, step, limit: 0 } => {
                let end = if last < 0 {
                    (argv.len() + 1).saturating_sub(last.unsigned_abs() as usize)
                } else {
                    (first + last as usize + 1).min(argv.len())
                };
                (first..end.max(first)).step_by(step as usize)
            }
            Find::Range { step, limit, .. } => {
                let end = first + argv.len().saturating_sub(first) / limit as usize;
                (first..end).step_by(step as usize)
            }
            Find::NumKeys => {
                let stated = argv.get(first).and_then(|text| crate::args::parse_i64(text));
                let rest = argv.len().saturating_sub(first + 1);
                let count = stated.and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= rest).unwrap_or(0);
                (first + 1..first + 1 + count).step_by(1)
            }
        }
    }

    /// Whether it names one argument, always the same.
    #[inline]
    pub fn is_one_at(&self, index: u8) -> bool {
        self.begin == Begin::Index(index) && matches!(self.find, Find::Range { last: 0, .. })
    }

    /// Index of the first key and step, of a specification that is a range from a fixed argument on.
    pub fn fixed_range(&self) -> Option<(usize, usize)> {
        match (self.begin, self.find) {
            (Begin::Index(first), Find::Range { step, limit: 0, .. }) => {
                Some((first as usize, step as usize))
            }
            _ => None,
        }
    }
}

impl Begin {
    /// What COMMAND INFO says about keys that cannot be described; none of those that can.
    pub fn notes(self) -> Option<&'static str> {
        match self {
            Begin::Index(_) | Begin::Keyword(..) => None,
            Begin::SortStore => Some(
                "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in \
                 the argument array",
            ),
            Begin::SortPatterns => Some(
                "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
                 content of the key we sort",
            ),
        }
    }

    /// The index of the first key; the number of arguments when there is none.
    #[cold]
    fn search(self, argv: &[&[u8]]) -> usize {
        let after = |index: usize| (index + 1).min(argv.len());
        match self {
            Begin::Index(index) => index as usize,
            Begin::Keyword(word, from) => {
                let is_word = |at: &usize| argv[*at].eq_ignore_ascii_case(word.as_bytes());
                let found = match usize::try_from(from) {
                    Ok(from) => (from..argv.len()).find(is_word),
                    Err(_) => {
                        let last = argv.len().checked_sub(from.unsigned_abs() as usize);
                        last.and_then(|last| (1..=last).rev().find(is_word))
                    }
                };
                found.map_or(argv.len(), after)
            }
            Begin::SortPatterns => argv.len(),
            Begin::SortStore => {
                let mut store = argv.len();
                let mut at = 2;
                while at < argv.len() {
                    let word = |name: &str| argv[at].eq_ignore_ascii_case(name.as_bytes());
                    if word("STORE") {
                        store = after(at);
                    }
                    at += if word("LIMIT") {
                        3
                    } else if word("STORE") || word("GET") || word("BY") {
                        2
                    } else {
                        1
                    };
                }
                store
            }
        }
    }
}

/// Documentation groups, in Redis's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Any type's keys.
    Generic,
    /// Strings.
    String,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// Cluster topology.
    Cluster,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Streams.
    Stream,
    /// Strings as arrays of bits.
    Bitmap,
    /// Strings as sketches of cardinality.
    Hyperloglog,
    /// Sorted sets as positions on the globe.
    Geo,
    /// Several commands as one.
    Transactions,
    /// Lua.
    Scripting,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::Hyperloglog => "hyperloglog",
            Group::Geo => "geo",
            Group::Transactions => "transactions",
            Group::Scripting => "scripting",
        }
    }
}

/// A function that executes a command on one shard.
///
/// It either returns an error, having written nothing to the reply, or writes exactly one reply.
pub type Handler = fn(&mut Exec<'_>, &mut dyn Reply) -> Result<Flow, Error>;

/// How the replies of several shards become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// Arrays of one element per key are put back into the order of the keys.
    Gather,
    /// Arrays are joined, in shard order.
    Concat,
    /// All said OK.
    AllOk,
}

/// Multi-key commands that need more than one round when their keys are on several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinated {
    /// MSETNX: all or nothing.
    MsetNx,
    /// RENAME.
    Rename,
    /// RENAMENX.
    RenameNx,
    /// COPY.
    Copy,
    /// LCS.
    Lcs,
    /// Reads several keys and writes at most one: the others come as guests to the shard of that one (or of the first).
    Fetch,
    /// SORT: reads keys that its patterns make of the elements.
    Sort,
    /// LMOVE and RPOPLPUSH: an element from the end of one list to an end of another.
    MoveElement,
    /// SMOVE.
    MoveMember,
    /// LMPOP and ZMPOP: each key in turn, until one has elements.
    FirstOf,
    /// XREAD and XREADGROUP: each stream by itself, replies joined.
    PerStream,
}

/// What to do when the keys of a command are on several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// It has one key: cannot happen.
    OneKey,
    /// Each shard gets the command with its own keys (and the arguments up to the next key); replies merge.
    Split(Merge),
    /// The connection's executor coordinates several rounds.
    Coordinate(Coordinated),
}

/// Where and how a command runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// On the shard that owns its keys.
    Keys(Handler, Spread),
    /// On every shard, replies merged.
    Everywhere(Handler, Merge),
    /// On the shard that the cursor in argument 1 names (SCAN).
    ByCursor(Handler),
    /// A script, on the shards that own its keys.
    Script(ScriptCommand),
    /// In the network layer, which has the connections, the configuration and the statistics.
    Server(ServerCommand),
    /// Only its subcommands run.
    Container,
}

/// Commands that run a script.
#[allow(missing_docs)] // the names are those of the commands
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptCommand {
    Eval,
    EvalSha,
    Fcall,
}

/// Commands that the network layer executes.
#[allow(missing_docs)] // the names are those of the commands
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerCommand {
    Migrate,
    Ping,
    Echo,
    Auth,
    Hello,
    Select,
    Quit,
    Reset,
    Time,
    RandomKey,
    ClientId,
    ClientInfo,
    ClientList,
    ClientKill,
    ClientGetName,
    ClientSetName,
    ClientSetInfo,
    ClientReply,
    ClientPause,
    ClientUnpause,
    ClientNoEvict,
    ClientNoTouch,
    ClientUnblock,
    Command,
    CommandCount,
    CommandList,
    CommandInfo,
    CommandDocs,
    CommandGetKeys,
    CommandGetKeysAndFlags,
    ConfigGet,
    ConfigSet,
    ConfigResetStat,
    ConfigRewrite,
    Info,
    Shutdown,
    Debug,
    LatencyHistogram,
    LatencyLatest,
    LatencyHistory,
    LatencyReset,
    LatencyDoctor,
    LatencyGraph,
    SlowlogGet,
    SlowlogLen,
    SlowlogReset,
    MemoryStats,
    MemoryDoctor,
    MemoryMallocStats,
    MemoryPurge,
    ClusterSlots,
    ClusterShards,
    ClusterNodes,
    ClusterInfo,
    ClusterMyId,
    ClusterKeySlot,
    ClusterCountKeysInSlot,
    ClusterGetKeysInSlot,
    Readonly,
    Readwrite,
    Asking,
    Wait,
    WaitAof,
    Save,
    BgSave,
    LastSave,
    BgRewriteAof,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    ScriptDebug,
    ScriptExists,
    ScriptFlush,
    ScriptKill,
    ScriptLoad,
    FunctionDelete,
    FunctionDump,
    FunctionFlush,
    FunctionKill,
    FunctionList,
    FunctionLoad,
    FunctionRestore,
    FunctionStats,
    /// `X HELP` of any container: the text is the container's `help` lines.
    Help,
}

/// One row of the command table.
#[derive(Clone, Copy)]
pub struct CommandSpec {
    /// Lower-case name; a subcommand's is its own word (`get` of `config`).
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least that many.
    pub arity: i8,
    /// What it does.
    pub flags: Flags,
    /// ACL categories that the flags do not imply.
    pub categories: Categories,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Documentation group.
    pub group: Group,
    /// First Redis version with it.
    pub since: &'static str,
    /// Cost.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Arguments, as in a manual line.
    pub syntax: &'static str,
    /// Hints to clients and proxies, in Redis's words (`request_policy:all_shards`).
    pub tips: &'static [&'static str],
    /// What `X HELP` of a container (or of DEBUG) prints between its first line and the lines on HELP itself: a syntax
    /// line, then indented lines of explanation.
    pub help: &'static [&'static str],
    /// Subcommands of a container.
    pub subcommands: &'static [CommandSpec],
    /// What executes it.
    pub run: Run,
}

/// Defaults for rows: `CommandSpec { name: .., ..ROW }`.
pub const ROW: CommandSpec = CommandSpec {
    name: "",
    arity: 0,
    flags: Flags::empty(),
    categories: Categories::empty(),
    keys: &[],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    tips: &[],
    help: &[],
    subcommands: &[],
    run: Run::Container,
};

/// A command as registered: its row, its number and its full name.
pub struct Command {
    /// The row.
    pub spec: &'static CommandSpec,
    /// Dense number from 0, for statistics arrays and for mail between executors.
    pub id: u16,
    /// `get`, or `config|get` for a subcommand.
    pub full_name: String,
    /// Numbers of its subcommands.
    pub subcommands: Vec<u16>,
    /// The container's number, for a subcommand.
    pub parent: Option<u16>,
}

impl Command {
    /// Whether `argc` arguments (name included) are acceptable.
    #[inline]
    pub fn accepts(&self, argc: usize) -> bool {
        let arity = self.spec.arity as isize;
        if arity >= 0 {
            argc as isize == arity
        } else {
            argc as isize >= -arity
        }
    }

    /// Whether it may modify data.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.spec.flags.contains(Flags::WRITE)
    }
}

/// All commands, by number and by name.
pub struct Registry {
    commands: Vec<Command>,
    /// Open addressing over the folded first and last bytes of the name; 0 is empty, else number + 1.
    slots: Box<[u16; SLOTS]>,
}

/// Power of two, several times the number of top-level commands, so that a probe nearly always ends at once.
const SLOTS: usize = 1024;

/// The fold makes `GET`, `get` and `Get` the same and takes two loads; the name is compared afterwards.
#[inline]
fn slot_of(name: &[u8]) -> usize {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    let n = name.len();
    let (a, b) = if n >= 8 {
        (
            u64::from_le_bytes(name[..8].try_into().expect("8 bytes")),
            u64::from_le_bytes(name[n - 8..].try_into().expect("8 bytes")),
        )
    } else if n >= 4 {
        (
            u32::from_le_bytes(name[..4].try_into().expect("4 bytes")) as u64,
            u32::from_le_bytes(name[n - 4..].try_into().expect("4 bytes")) as u64,
        )
    } else if n >= 1 {
        ((name[0] as u64) | ((name[n / 2] as u64) << 8) | ((name[n - 1] as u64) << 16), 0)
    } else {
        (0, 0)
    };
    let h = ((a | FOLD) ^ (b | FOLD).rotate_left(29) ^ (n as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (h >> 54) as usize & (SLOTS - 1)
}

impl Registry {
    fn build() -> Registry {
        let mut commands: Vec<Command> = Vec::new();
        let mut slots = Box::new([0u16; SLOTS]);
        for rows in crate::commands::FAMILIES {
            for spec in rows.iter() {
                let id = commands.len() as u16;
                commands.push(Command {
                    spec,
                    id,
                    full_name: spec.name.to_owned(),
                    subcommands: Vec::new(),
                    parent: None,
                });
                for sub in spec.subcommands {
                    let sub_id = commands.len() as u16;
                    commands.push(Command {
                        spec: sub,
                        id: sub_id,
                        full_name: format!("{}|{}", spec.name, sub.name),
                        subcommands: Vec::new(),
                        parent: Some(id),
                    });
                    commands[id as usize].subcommands.push(sub_id);
                }
                let mut slot = slot_of(spec.name.as_bytes());
                while slots[slot] != 0 {
                    slot = (slot + 1) & (SLOTS - 1);
                }
                slots[slot] = id + 1;
            }
        }
        Registry { commands, slots }
    }

    /// The top-level command of this name, in any case of letters.
    #[inline]
    pub fn find(&'static self, name: &[u8]) -> Option<&'static Command> {
        let mut slot = slot_of(name);
        loop {
            let id = self.slots[slot];
            if id == 0 {
                return None;
            }
            let command = &self.commands[id as usize - 1];
            if command.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }

    /// The subcommand of `container` of this name, in any case of letters.
    pub fn find_subcommand(&'static self, container: &Command, name: &[u8]) -> Option<&'static Command> {
        container
            .subcommands
            .iter()
            .map(|&id| &self.commands[id as usize])
            .find(|c| c.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The command of this number. Panics when there is none: numbers come from this registry only.
    #[inline]
    pub fn by_id(&'static self, id: u16) -> &'static Command {
        &self.commands[id as usize]
    }

    /// All commands and subcommands, in the order of their numbers.
    pub fn all(&'static self) -> &'static [Command] {
        &self.commands
    }

    /// The command that these arguments name, with its arity checked, or the error that Redis gives.
    #[inline]
    pub fn resolve(&'static self, argv: &[&[u8]]) -> Result<&'static Command, Error> {
        let Some(command) = self.find(argv[0]) else { return Err(unknown_command(argv)) };
        if command.subcommands.is_empty() || argv.len() < 2 {
            if !command.accepts(argv.len()) {
                return Err(Error::wrong_arity(&command.full_name));
            }
            return Ok(command);
        }
        self.resolve_subcommand(command, argv)
    }

    /// The command that these arguments name, whether or not their number is right.
    pub fn named(&'static self, argv: &[&[u8]]) -> Option<&'static Command> {
        let command = self.find(argv.first()?)?;
        match argv.get(1) {
            Some(name) if !command.subcommands.is_empty() => self.find_subcommand(command, name),
            _ => Some(command),
        }
    }

    #[cold]
    fn resolve_subcommand(
        &'static self,
        command: &'static Command,
        argv: &[&[u8]],
    ) -> Result<&'static Command, Error> {
        match self.find_subcommand(command, argv[1]) {
            Some(sub) if sub.accepts(argv.len()) => Ok(sub),
            Some(sub) => Err(Error::wrong_arity(&sub.full_name)),
            None => {
                let mut text = b"ERR unknown subcommand '".to_vec();
                text.extend_from_slice(quotable(argv[1], 128));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(command.spec.name.to_ascii_uppercase().as_bytes());
                text.extend_from_slice(b" HELP.");
                Err(Error::owned(text))
            }
        }
    }
}

/// Redis's words, with the first arguments quoted up to 128 bytes in all.
#[cold]
fn unknown_command(argv: &[&[u8]]) -> Error {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(quotable(argv[0], 128));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut quoted = 0;
    for arg in &argv[1..] {
        if quoted >= 128 {
            break;
        }
        let part = quotable(arg, 128 - quoted);
        text.push(b'\'');
        text.extend_from_slice(part);
        text.extend_from_slice(b"' ");
        quoted += part.len() + 3;
    }
    Error::owned(text)
}

/// What an error quotes of an argument: at most `limit` bytes, and nothing from a NUL on, as in Redis.
pub(crate) fn quotable(arg: &[u8], limit: usize) -> &[u8] {
    let shown = &arg[..arg.len().min(limit)];
    shown.split(|&b| b == 0).next().expect("split gives one")
}

/// The command table, joined from the families on first use.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::build)
}
