//! Random commands: what no case file thought of.
//!
//! Commands are drawn from templates over few keys and values at the edges of what types can hold, with options in any
//! combination and now and then an argument too many or too few. Nothing is drawn whose reply depends on hash order or on the moment: times are
//! absolute, and DBSIZE, which counts what has expired until it is reclaimed, is left out.

/// Words in capitals that are slots are replaced: K a key, V a value, H a field of a hash, N an integer, F a float, T a future time in
/// seconds, M one in milliseconds, P a pattern, D a database, S/G/E options of SET, GETEX and EXPIRE, L those of LCS,
/// C those of COPY, R those of LPOS, I the sides of LINSERT, W the ends of a list; BITAT, ONOFF, BITOP, OVERFLOW and FIELDOP the
/// arguments of bitmap commands; MEMBER, SCORE, SCOREAT, MEMBERAT, ZADDOPTION, RANGEOPTION and UNIONOPTION those of sorted sets; XKEY a key
/// that often holds a stream, XID the id of an entry, XEND the end of a range of them, XAFTER where a reader begins, XGROUP and XNAME its
/// group and its own name. Every other word stands for itself.
const TEMPLATES: &[&str] = &[
    "set K V",
    "set K V",
    "set K V S",
    "set K V S S",
    "set K V S S S",
    "get K",
    "get K",
    "setnx K V",
    "getset K V",
    "getdel K",
    "getex K",
    "getex K G",
    "getex K G G",
    "append K V",
    "strlen K",
    "getrange K N N",
    "substr K N N",
    "setrange K O V",
    "incr K",
    "decr K",
    "incrby K N",
    "decrby K N",
    "incrbyfloat K F",
    "mset K V K V",
    "mset K V K V K V",
    "msetnx K V K V",
    "mget K K K",
    "del K",
    "del K K",
    "unlink K",
    "exists K K K",
    "touch K K",
    "type K",
    "expireat K T",
    "expireat K T E",
    "expireat K T E E",
    "pexpireat K M",
    "pexpireat K M E",
    "expire K X",
    "pexpire K X",
    "expire K X E",
    "expiretime K",
    "pexpiretime K",
    "persist K",
    "rename K K",
    "renamenx K K",
    "copy K K",
    "copy K K C",
    "copy K K C C",
    "move K D",
    "restore K N V",
    "restore K 0 V REPLACE",
    "select D",
    "swapdb D D",
    "keys P",
    "object encoding K",
    "lcs K K",
    "lcs K K L",
    "lcs K K L L",
    "lcs K K L L L",
    "zadd K SCORE MEMBER",
    "zadd K SCORE MEMBER SCORE MEMBER SCORE MEMBER",
    "zadd K ZADDOPTION SCORE MEMBER",
    "zadd K ZADDOPTION ZADDOPTION SCORE MEMBER SCORE MEMBER",
    "zadd K ZADDOPTION ZADDOPTION ZADDOPTION SCORE MEMBER",
    "zincrby K SCORE MEMBER",
    "zrem K MEMBER MEMBER",
    "zcard K",
    "zscore K MEMBER",
    "zmscore K MEMBER MEMBER MEMBER",
    "zrank K MEMBER",
    "zrevrank K MEMBER",
    "zcount K SCOREAT SCOREAT",
    "zlexcount K MEMBERAT MEMBERAT",
    "zrange K N N",
    "zrange K N N RANGEOPTION",
    "zrange K SCOREAT SCOREAT BYSCORE RANGEOPTION RANGEOPTION",
    "zrange K MEMBERAT MEMBERAT BYLEX RANGEOPTION",
    "zrange K N N RANGEOPTION RANGEOPTION RANGEOPTION",
    "zrevrange K N N WITHSCORES",
    "zrangebyscore K SCOREAT SCOREAT RANGEOPTION RANGEOPTION",
    "zrevrangebyscore K SCOREAT SCOREAT RANGEOPTION",
    "zrangebylex K MEMBERAT MEMBERAT RANGEOPTION",
    "zrevrangebylex K MEMBERAT MEMBERAT RANGEOPTION",
    "zrangestore K K N N",
    "zrangestore K K SCOREAT SCOREAT BYSCORE RANGEOPTION",
    "zpopmin K",
    "zpopmax K N",
    "zmpop 2 K K MIN COUNT N",
    "bzmpop 0.001 2 K K MAX",
    "bzmpop 0.001 2 K K MIN COUNT N",
    "zremrangebyrank K N N",
    "zremrangebyscore K SCOREAT SCOREAT",
    "zremrangebylex K MEMBERAT MEMBERAT",
    "zunion 2 K K UNIONOPTION UNIONOPTION",
    "zunion 3 K K K WITHSCORES",
    "zinter 2 K K UNIONOPTION UNIONOPTION",
    "zdiff 2 K K WITHSCORES",
    "zunionstore K 2 K K UNIONOPTION",
    "zinterstore K 2 K K UNIONOPTION UNIONOPTION",
    "zdiffstore K 2 K K",
    "zintercard 2 K K",
    "zintercard 2 K K LIMIT N",
    "zrandmember K 0 extra words",
    "flushdb",
    "echo V",
    "ping V",
    "setex K X V",
    "psetex K X V",
    "randomkey extra words",
    "client getname",
    "client setname K",
    "config get databases",
    "command getkeys set K V",
    "scan 0 extra words",
    "nosuch K K",
    "setbit K BITAT ONOFF",
    "setbit K BITAT ONOFF",
    "getbit K BITAT",
    "bitop BITOP K K",
    "bitop BITOP K K K",
    "bitfield K FIELDOP",
    "bitfield K FIELDOP FIELDOP",
    "bitfield K FIELDOP OVERFLOW FIELDOP FIELDOP",
    "bitfield K OVERFLOW FIELDOP FIELDOP FIELDOP",
    "bitfield_ro K FIELDOP FIELDOP",
    "pfadd K",
    "pfadd K V V V",
    "pfcount K",
    "pfcount K K K",
    "pfmerge K K",
    "pfmerge K K K",
    "lpush K V",
    "rpush K V V",
    "rpush K V V V V",
    "lpush K V V V",
    "lpushx K V",
    "rpushx K V V",
    "lpop K",
    "rpop K",
    "lpop K N",
    "rpop K N",
    "llen K",
    "lrange K N N",
    "lrange K 0 -1",
    "lindex K N",
    "lset K N V",
    "linsert K I V V",
    "lrem K N V",
    "ltrim K N N",
    "lpos K V",
    "lpos K V R",
    "lpos K V R R R",
    "lmove K K W W",
    "lmove K K W W",
    "rpoplpush K K",
    "lmpop 1 K W",
    "lmpop 2 K K W COUNT N",
    "lmpop N K K W",
    "blmove K K W W 0.001",
    "brpoplpush K K 0.001",
    "blmpop 0.001 1 K W",
    "blmpop 0.001 3 K K K W COUNT N",
    "hset K H V",
    "hset K H V H V",
    "hset K H V H V H V",
    "hmset K H V H V",
    "hsetnx K H V",
    "hget K H",
    "hmget K H H H",
    "hgetall K",
    "hkeys K",
    "hvals K",
    "hlen K",
    "hstrlen K H",
    "hexists K H",
    "hdel K H",
    "hdel K H H",
    "hincrby K H N",
    "hincrbyfloat K H F",
    "hrandfield K 100",
    "hscan K 0",
    "hscan K 0 match P",
    "sadd K V",
    "sadd K V V V",
    "sadd K N N N",
    "sadd K V V V V V",
    "srem K V",
    "srem K V V V",
    "scard K",
    "sismember K V",
    "smismember K V V V",
    "smembers K",
    "smove K K V",
    "spop K 100",
    "srandmember K 100",
    "srandmember K N extra",
    "sscan K 0 count 1000",
    "sscan K 0 match P count 1000",
    "sinter K K",
    "sinter K K K",
    "sunion K K",
    "sunion K K K",
    "sdiff K K",
    "sdiff K K K K",
    "sinterstore K K K",
    "sunionstore K K K",
    "sdiffstore K K K",
    "sintercard 2 K K",
    "sintercard 2 K K limit N",
    "sintercard N K K",
    "sort K",
    "sort K desc limit N N",
    "sort K alpha",
    "sort K alpha desc",
    "sort K alpha limit N N",
    "sort K alpha get # get *->f get *",
    "sort_ro K by *->f get *->g alpha",
    "sort_ro K by * alpha",
    "sort K alpha store K",
    "sort K alpha desc limit N N get # get * store K",
    "sort_ro K by nosort",
    "xadd XKEY XID H V",
    "xadd XKEY XID H V",
    "xadd XKEY XID H V H V",
    "xadd XKEY maxlen N XID H V",
    "xadd XKEY maxlen ~ N XID H V",
    "xadd XKEY minid XID XID H V",
    "xadd XKEY nomkstream XID H V",
    "xlen XKEY",
    "xdel XKEY XID XID",
    "xtrim XKEY maxlen N",
    "xtrim XKEY maxlen ~ N limit N",
    "xtrim XKEY minid XID",
    "xtrim XKEY minid ~ XID",
    "xrange XKEY XEND XEND",
    "xrange XKEY - + count N",
    "xrevrange XKEY XEND XEND",
    "xrevrange XKEY + XEND count N",
    "xread streams XKEY XAFTER",
    "xread count N streams XKEY XKEY XAFTER XAFTER",
    "xgroup create XKEY XGROUP XAFTER mkstream",
    "xgroup create XKEY XGROUP XAFTER",
    "xgroup setid XKEY XGROUP XAFTER",
    "xgroup destroy XKEY XGROUP",
    "xgroup delconsumer XKEY XGROUP XNAME",
    "xread block 1 count N streams XKEY XKEY XAFTER XAFTER",
    "xreadgroup group XGROUP XNAME block 1 streams XKEY XKEY > XAFTER",
    "xreadgroup group XGROUP XNAME streams XKEY >",
    "xreadgroup group XGROUP XNAME count N streams XKEY >",
    "xreadgroup group XGROUP XNAME noack streams XKEY >",
    "xreadgroup group XGROUP XNAME count N streams XKEY XAFTER",
    "xack XKEY XGROUP XID XID",
    "xpending XKEY XGROUP",
    "xpending XKEY XGROUP idle 10000000 XEND XEND N",
    "xclaim XKEY XGROUP XNAME 0 XID XID",
    "xclaim XKEY XGROUP XNAME 10000000 XID",
    "xclaim XKEY XGROUP XNAME 0 XID force justid",
    "xclaim XKEY XGROUP XNAME 0 XID retrycount N",
    "xautoclaim XKEY XGROUP XNAME 0 XEND",
    "xautoclaim XKEY XGROUP XNAME 0 0 count N justid",
    "xinfo stream XKEY",
    "del XKEY",
    "copy XKEY XKEY replace",
    "rename XKEY XKEY",
    "type XKEY",
    "object encoding XKEY",
    "exists XKEY",
    "get XKEY",
    "xadd K XID H V",
    "xlen K",
];

/// Commands that without their last argument answer with a random choice.
const CHOOSING: &[&str] = &["hrandfield", "spop", "srandmember", "zrandmember"];

pub const KEYS: &[&str] =
    &["a", "b", "c", "d", "{t}e", "{t}f", "", "a-key-that-is-too-long-to-be-stored-inline-in-any-table"];
pub const STREAM_KEYS: &[&str] = &["x", "y", "{t}z", "x", "y", "a"];
const ENTRY_IDS: &[&str] = &[
    "1-1", "1-2", "2-0", "3", "3-1", "4-4", "5-5", "5-*", "6-*", "7-*", "8-1", "9", "0", "0-0", "0-1", "-",
    "+", "$", "(2", "1-", "a", "",
];
const ENTRY_ENDS: &[&str] = &["-", "+", "1", "(1-1", "2", "(3", "5-5", "(5-5", "9", "(", "(0", "(+", "a", ""];
const ENTRIES_BEFORE: &[&str] = &["0", "0", "0", "1", "2-0", "5", "9-9", "$", ">", "-", "a", ""];
const GROUPS: &[&str] = &["g", "g", "g", "h", ""];
const NAMES: &[&str] = &["alice", "alice", "bob", ""];
const FIELDS: &[&str] = &["f", "g", "1", "-7", "", "x\0y"];
const VALUES: &[&str] = &[
    "",
    "x",
    "abc",
    "hello world",
    "0",
    "1",
    "-1",
    "10",
    "007",
    "+5",
    " 5",
    "3.5",
    "1e3",
    "-0",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "0.1",
    "\0",
    "a\r\nb",
    "ohmytext",
    "mynewtext",
    "nan",
    "inf",
    "9999",
    "the quick brown fox jumps over the lazy dog 44",
    "the quick brown fox jumps over the lazy dog and is a raw string",
];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "5",
    "-3",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
    "",
    "1.5",
    " 1",
    "01",
    "-0",
    "4294967296",
];
const OFFSETS: &[&str] =
    &["0", "1", "3", "7", "30", "100", "-1", "536870912", "9223372036854775807", "abc", "4294967296"];
const FLOATS: &[&str] = &[
    "0", "1", "1.5", "-1.5", "0.25", "3.0e3", "1e-3", "0.1", "abc", "nan", "inf", "-inf", "", "1e400", "1 ",
];
const TIMES: &[&str] =
    &["9999999999", "8888888888", "1", "0", "-1", "9223372036854775807", "abc", "9223372036854775", ""];
const TIMES_MS: &[&str] =
    &["9999999999999", "8888888888500", "8888888888499", "1", "0", "-1", "9223372036854775807", "abc"];
const INVALID_OR_PAST: &[&str] =
    &["0", "-1", "-100", "-9223372036854775808", "9223372036854775807", "abc", "", "1.5"];
const PATTERNS: &[&str] = &["*", "a*", "?", "[a-c]", "[^a]", "{t}*", "", "nothing", "*e", "\\a", "[", "a["];
const DATABASES: &[&str] = &["0", "0", "1", "2", "16", "-1", "abc"];
const SET_OPTIONS: &[&str] =
    &["NX", "XX", "GET", "KEEPTTL", "EXAT T", "PXAT M", "EX X", "PX X", "nx", "get", "EX", "FOO", "exat T"];
const GETEX_OPTIONS: &[&str] = &["PERSIST", "EXAT T", "PXAT M", "EX X", "PX X", "EX", "NX", "FOO", "persist"];
const EXPIRE_OPTIONS: &[&str] = &["NX", "XX", "GT", "LT", "nx", "FOO", ""];
const LCS_OPTIONS: &[&str] = &["LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN N", "MINMATCHLEN", "FOO", "idx"];
const LPOS_OPTIONS: &[&str] = &[
    "RANK 1", "RANK -2", "RANK 0", "COUNT N", "MAXLEN N", "COUNT 0", "RANK -1", "RANK 2", "rank", "FOO",
    "count 1",
];
const SIDES: &[&str] = &["BEFORE", "AFTER", "before", "after", "BESIDE", ""];
const ENDS: &[&str] = &["LEFT", "RIGHT", "LEFT", "RIGHT", "left", "right", "UP"];
/// None is another one up to a zero byte: SORT ALPHA takes such two for equal, and leaves open which comes first.
const MEMBERS: &[&str] = &["a", "b", "c", "dd", "", "7", "-1", "0x", "aa", "q\0"];
/// Scores that Debian's Redis and Redis 8 print alike, also when some of them are added.
const SCORES: &[&str] = &[
    "0",
    "1",
    "1",
    "2",
    "-3",
    "1.5",
    "-0.25",
    "1e3",
    "inf",
    "-inf",
    "nan",
    "x",
    "0x10",
    "",
    " 1",
    "1e400",
    "65536",
    "1099511627776",
    "-0",
];
const SCORE_LIMITS: &[&str] = &[
    "-inf", "+inf", "0", "1", "(1", "2", "(2", "-5", "1.5", "(inf", "nan", "x", "", "(", "1e400", " 1", "[1",
];
const MEMBER_LIMITS: &[&str] =
    &["-", "+", "[a", "(a", "[b", "(c", "[", "(", "[7", "a", "", "-x", "(dd", "[aa"];
const ZADD_OPTIONS: &[&str] = &["NX", "XX", "GT", "LT", "CH", "INCR", "nx", "FOO"];
const RANGE_OPTIONS: &[&str] =
    &["WITHSCORES", "LIMIT N N", "REV", "BYSCORE", "BYLEX", "LIMIT N N", "withscores", "LIMIT N", "FOO"];
const UNION_OPTIONS: &[&str] = &[
    "WITHSCORES",
    "WEIGHTS 2 -1",
    "WEIGHTS 0 0.5",
    "WEIGHTS inf 1",
    "WEIGHTS x",
    "AGGREGATE MIN",
    "AGGREGATE MAX",
    "AGGREGATE SUM",
    "AGGREGATE",
    "FOO",
];
const COPY_OPTIONS: &[&str] = &["REPLACE", "DB D", "DB", "FOO", "replace"];

const BIT_OFFSETS: &[&str] = &[
    "0",
    "1",
    "7",
    "8",
    "13",
    "30",
    "100",
    "1000",
    "-1",
    "4294967296",
    "9223372036854775807",
    "abc",
    "#1",
    "",
];
const BIT_VALUES: &[&str] = &["0", "1", "0", "1", "1", "2", "-1", "x"];
const BITOP_OPERATIONS: &[&str] = &["and", "or", "xor", "not", "AND", "nand"];
const OVERFLOWS: &[&str] = &["overflow wrap", "overflow sat", "overflow fail", "overflow none", "OVERFLOW"];
const FIELD_OPERATIONS: &[&str] = &[
    "get u8 #1",
    "get i5 BITAT",
    "get u63 BITAT",
    "set u8 #2 N",
    "set i64 BITAT N",
    "set u3 BITAT N",
    "incrby i5 BITAT N",
    "incrby u63 #1 N",
    "incrby u16 BITAT N",
    "incrby i64 BITAT N",
    "get u64 0",
    "get i0 0",
    "foo u8 0",
];

/// A small generator with a known sequence (xorshift64*), so that a seed in a report is enough to see it again.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number below another one.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// One of several.
    pub fn of(&mut self, pool: &[&'static str]) -> &'static str {
        pool[self.below(pool.len())]
    }

    /// The next command, right or wrong.
    pub fn command(&mut self) -> Vec<String> {
        let template = self.of(TEMPLATES);
        let mut arguments = Vec::new();
        for word in template.split(' ') {
            self.expand(word, &mut arguments);
        }
        if self.below(8) == 0 {
            arguments[0].make_ascii_uppercase();
        }
        match self.below(60) {
            0 if !CHOOSING.contains(&template.split(' ').next().expect("a name")) => {
                arguments.pop();
            }
            1 => arguments.push("x".into()),
            _ => {}
        }
        if arguments.is_empty() {
            arguments.push("ping".into());
        }
        arguments
    }

    fn expand(&mut self, word: &str, arguments: &mut Vec<String>) {
        let pool = match word {
            "K" => KEYS,
            "V" => VALUES,
            "H" => FIELDS,
            "N" => INTEGERS,
            "O" => OFFSETS,
            "F" => FLOATS,
            "T" => TIMES,
            "M" => TIMES_MS,
            "X" => INVALID_OR_PAST,
            "P" => PATTERNS,
            "D" => DATABASES,
            "S" => SET_OPTIONS,
            "G" => GETEX_OPTIONS,
            "E" => EXPIRE_OPTIONS,
            "L" => LCS_OPTIONS,
            "C" => COPY_OPTIONS,
            "R" => LPOS_OPTIONS,
            "I" => SIDES,
            "W" => ENDS,
            "MEMBER" => MEMBERS,
            "SCORE" => SCORES,
            "SCOREAT" => SCORE_LIMITS,
            "MEMBERAT" => MEMBER_LIMITS,
            "ZADDOPTION" => ZADD_OPTIONS,
            "RANGEOPTION" => RANGE_OPTIONS,
            "UNIONOPTION" => UNION_OPTIONS,
            "XKEY" => STREAM_KEYS,
            "XID" => ENTRY_IDS,
            "XEND" => ENTRY_ENDS,
            "XAFTER" => ENTRIES_BEFORE,
            "XGROUP" => GROUPS,
            "XNAME" => NAMES,
            "BITAT" => BIT_OFFSETS,
            "ONOFF" => BIT_VALUES,
            "BITOP" => BITOP_OPERATIONS,
            "OVERFLOW" => OVERFLOWS,
            "FIELDOP" => FIELD_OPERATIONS,
            _ => {
                arguments.push(word.to_owned());
                return;
            }
        };
        let chosen = self.of(pool);
        match chosen.split_once(' ') {
            // An option with a slot for its value.
            Some((option, slot))
                if slot.len() == 1
                    && "TMXND".contains(slot)
                    && matches!(word, "S" | "G" | "L" | "C" | "R") =>
            {
                arguments.push(option.to_owned());
                self.expand(slot, arguments);
            }
            Some((option, value)) if word == "R" => {
                arguments.push(option.to_owned());
                arguments.push(value.to_owned());
            }
            Some(_) if matches!(word, "OVERFLOW" | "FIELDOP" | "RANGEOPTION" | "UNIONOPTION") => {
                chosen.split(' ').for_each(|part| self.expand(part, arguments));
            }
            _ => arguments.push(chosen.to_owned()),
        }
    }
}
