//! Bitmap and HyperLogLog commands on a shard: against a string of bits, by their changes, and in slices.

mod support;

use kora_engine::command::registry;
use kora_engine::keyspace::{NewExpiry, View};
use kora_engine::shard::{Applied, Shard};
use kora_engine::table::{NewValue, ValueRef};
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::*;

const VIEW: View = View { db: 0, now: NOW, touch: true };

fn put(shard: &mut Shard, name: &str, bytes: &[u8]) {
    let key = shard.keys.key(name.as_bytes());
    shard.keys.set(VIEW, &key, NewValue::Bytes(bytes), NewExpiry::Clear);
}

/// Where a large string lies.
fn address(shard: &mut Shard, name: &str) -> usize {
    let key = shard.keys.key(name.as_bytes());
    match shard.keys.peek(VIEW, &key).expect("the key is there").value() {
        ValueRef::Shared(bytes) => bytes.as_ptr().addr(),
        value => panic!("not a large string: {value:?}"),
    }
}

#[test]
fn a_bit_of_a_large_string_is_written_where_it_is() {
    let mut shard = shard();
    put(&mut shard, "k", &vec![0; 32 << 20]);
    let before = address(&mut shard, "k");
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "SETBIT k 200000000 1"), int(0));
    assert_eq!(run(&mut shard, "BITFIELD k SET u8 100000000 255"), Value::Array(vec![int(0)]));
    assert_eq!(run(&mut shard, "SETBIT k 200000000 1"), int(1));
    assert_eq!(address(&mut shard, "k"), before);
    let range = |offset, bytes: &[u8]| OwnedChange::SetRange {
        db: 0,
        key: b"k".to_vec(),
        offset,
        bytes: bytes.to_vec(),
    };
    assert_eq!(recorder.take(), [range(25_000_000, &[0x80]), range(12_500_000, &[0xff])]);
}

#[test]
fn a_reader_keeps_what_it_holds_while_a_bit_is_written() {
    let mut shard = shard();
    put(&mut shard, "k", &vec![0; 1 << 20]);
    let key = shard.keys.key(b"k");
    let Some(ValueRef::Shared(bytes)) = shard.keys.peek(VIEW, &key).map(|entry| entry.value()) else {
        panic!("a large string is shared")
    };
    let held = bytes.clone();
    run(&mut shard, "SETBIT k 7 1");
    assert!(held.iter().all(|&byte| byte == 0));
    assert_eq!(run(&mut shard, "BITCOUNT k"), int(1));
}

#[test]
fn raising_a_register_changes_a_few_bytes() {
    let mut shard = shard();
    run(&mut shard, "PFADD k a b c d e f g");
    run(&mut shard, "PFCOUNT k");
    let recorder = Recorder::attach(&mut shard);
    assert_eq!(run(&mut shard, "PFADD k h"), int(1));
    let changes = recorder.take();
    assert_eq!(changes.len(), 2, "{changes:?}");
    let OwnedChange::Splice { removed, bytes, .. } = &changes[0] else { panic!("{changes:?}") };
    assert!(*removed <= 2 && bytes.len() <= 5, "{changes:?}");
    assert!(matches!(&changes[1], OwnedChange::SetRange { offset: 15, bytes, .. } if bytes.len() == 1));
    assert_eq!(run(&mut shard, "PFADD k h"), int(0));
    assert_eq!(recorder.take(), []);

    run(&mut shard, "PFDEBUG TODENSE k");
    recorder.take();
    assert_eq!(run(&mut shard, "PFADD k i"), int(1));
    let changes = recorder.take();
    assert!(matches!(&changes[..], [OwnedChange::SetRange { bytes, .. }] if bytes.len() <= 2), "{changes:?}");
}

/// How many slices a command takes after its first turn, and its answer.
fn slices(shard: &mut Shard, line: &str, mut between: impl FnMut(&mut Shard, usize)) -> (usize, Value) {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let command = registry().resolve(&argv).unwrap();
    let mut sink = Sink::default();
    let mut rest = match shard.apply(VIEW, command, &argv, None, &mut sink) {
        Applied::Later(rest) => rest,
        _ => return (0, sink.finish()),
    };
    let mut slices = 0;
    loop {
        slices += 1;
        if rest.resume(shard, NOW, 16, &mut sink) {
            return (slices, sink.finish());
        }
        between(shard, slices);
    }
}

#[test]
fn large_strings_are_visited_in_slices() {
    let mut shard = shard();
    put(&mut shard, "k", &vec![0x11; 8 << 20]);
    put(&mut shard, "other", &vec![0xf0; 8 << 20]);
    put(&mut shard, "small", &[0xff; 1000]);
    let whole = (8 << 20) * 2;
    let nothing = |_: &mut Shard, _| {};
    let (count, answer) = slices(&mut shard, "BITCOUNT k", nothing);
    assert_eq!(answer, int(whole));
    assert!(count >= 10, "{count}");
    let (count, answer) = slices(&mut shard, "BITPOS k 1 8000000", nothing);
    assert_eq!((count, answer), (0, int(64_000_003)));
    run(&mut shard, "BITOP AND zero k other small");
    let (count, answer) = slices(&mut shard, "BITPOS zero 1 1000", nothing);
    assert_eq!(answer, int(-1));
    assert!(count >= 10, "{count}");
    let (count, answer) = slices(&mut shard, "BITOP XOR out k other", nothing);
    assert_eq!(answer, int(8 << 20));
    assert!(count >= 30, "{count}");
    assert_eq!(run(&mut shard, "BITCOUNT out"), int(whole * 2));
    assert_eq!(slices(&mut shard, "BITOP OR out small small", nothing), (0, int(1000)));
}

#[test]
fn a_sliced_count_is_about_the_string_as_it_was() {
    let mut shard = shard();
    put(&mut shard, "k", &vec![0x11; 4 << 20]);
    let (_, answer) = slices(&mut shard, "BITCOUNT k", |shard, _| {
        run(shard, "SETBIT k 33554431 0");
        run(shard, "DEL k");
    });
    assert_eq!(answer, int((4 << 20) * 2));
}

#[test]
fn a_sliced_operation_sees_what_is_written_to_its_sources_meanwhile() {
    let mut shard = shard();
    put(&mut shard, "a", &vec![0; 4 << 20]);
    put(&mut shard, "b", &vec![0; 4 << 20]);
    let write_once = |shard: &mut Shard, slice| {
        if slice == 3 {
            run(shard, "SETBIT a 0 1");
        }
    };
    assert_eq!(slices(&mut shard, "BITOP OR out a b", write_once).1, int(4 << 20));
    assert_eq!(run(&mut shard, "BITCOUNT out"), int(1), "the bit was there when the result was stored");
    // A source that is written to all the time does not hold it up for ever.
    let mut bit = 0;
    let write_always = |shard: &mut Shard, _| {
        bit += 1;
        run(shard, &format!("SETBIT a {bit} 1"));
    };
    let (count, answer) = slices(&mut shard, "BITOP OR out a b", write_always);
    assert_eq!(answer, int(4 << 20));
    assert!(count < 1000, "{count}");
    assert_eq!(run(&mut shard, "BITCOUNT out"), run(&mut shard, "BITCOUNT a"));
    // A source that becomes another type is noticed.
    assert_eq!(run(&mut shard, "BITOP OR a a a"), int(4 << 20));
}

// ---- against a model -----------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Step {
    Set(&'static str, Vec<u8>),
    SetBit(&'static str, u64, bool),
    GetBit(&'static str, u64),
    Count(&'static str, i64, i64, bool),
    Position(&'static str, bool, i64, Option<(i64, bool)>),
    Operation(&'static str, &'static str, Vec<&'static str>),
    Increment(&'static str, bool, u32, u64, i64),
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn a_key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&KEYS[..])
}

fn a_step() -> impl Strategy<Value = Step> {
    let bit = || prop_oneof![0u64..64, 0u64..20_000];
    let end = || prop_oneof![-40i64..40, -20_000i64..20_000, Just(i64::MIN), Just(i64::MAX)];
    let operation = prop::sample::select(vec!["AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"]);
    prop_oneof![
        1 => (a_key(), prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..6))
            .prop_map(|(k, bytes)| Step::Set(k, bytes)),
        4 => (a_key(), bit(), any::<bool>()).prop_map(|(k, at, on)| Step::SetBit(k, at, on)),
        1 => (a_key(), bit()).prop_map(|(k, at)| Step::GetBit(k, at)),
        2 => (a_key(), end(), end(), any::<bool>()).prop_map(|(k, a, b, bits)| Step::Count(k, a, b, bits)),
        2 => (a_key(), any::<bool>(), end(), prop::option::of((end(), any::<bool>())))
            .prop_map(|(k, bit, a, b)| Step::Position(k, bit, a, b)),
        2 => (operation, a_key(), prop::collection::vec(a_key(), 2..4))
            .prop_map(|(op, to, from)| Step::Operation(op, to, from)),
        2 => (a_key(), any::<bool>(), 1u32..=63, bit(), prop_oneof![-9i64..9, any::<i64>()])
            .prop_map(|(k, signed, width, at, by)| Step::Increment(k, signed, width, at, by)),
    ]
}

/// Strings as their bits, one by one.
#[derive(Default)]
struct Model(BTreeMap<&'static str, Vec<bool>>);

impl Model {
    fn bits(&self, key: &str) -> Vec<bool> {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        self.0.get(key).map(|bits| bits.chunks(8).map(byte).collect())
    }

    fn grow(&mut self, key: &'static str, bits: u64) -> &mut Vec<bool> {
        let string = self.0.entry(key).or_default();
        let len = string.len().max(bits.next_multiple_of(8) as usize);
        string.resize(len, false);
        string
    }

    /// The bits from one end to the other, as BITCOUNT and BITPOS count them.
    fn range(&self, key: &str, start: i64, end: i64, in_bits: bool) -> Vec<(i64, bool)> {
        let each = if in_bits { 1 } else { 8 };
        let units = self.bits(key).len() as i128 / each;
        let absolute = |at: i64| if at < 0 { (i128::from(at) + units).max(0) } else { i128::from(at) };
        let (start, end) = (absolute(start), absolute(end).min(units - 1));
        self.bits(key)
            .into_iter()
            .enumerate()
            .filter(|(at, _)| (start..=end).contains(&(*at as i128 / each)))
            .map(|(at, bit)| (at as i64, bit))
            .collect()
    }

    fn run(&mut self, step: &Step) -> (Vec<Vec<u8>>, Value) {
        let words = |line: String| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        match step {
            Step::Set(key, bytes) => {
                let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
                self.0.insert(key, bits.collect());
                (vec![b"SET".to_vec(), key.as_bytes().to_vec(), bytes.clone()], ok())
            }
            Step::SetBit(key, at, on) => {
                let old = std::mem::replace(&mut self.grow(key, at + 1)[*at as usize], *on);
                (words(format!("SETBIT {key} {at} {}", *on as u8)), int(old as i64))
            }
            Step::GetBit(key, at) => {
                let bit = self.bits(key).get(*at as usize).copied().unwrap_or(false);
                (words(format!("GETBIT {key} {at}")), int(bit as i64))
            }
            Step::Count(key, start, end, in_bits) => {
                let backwards = *start < 0 && *end < 0 && start > end;
                let ones = self.range(key, *start, *end, *in_bits).iter().filter(|(_, bit)| *bit).count();
                let unit = if *in_bits { "BIT" } else { "BYTE" };
                let count = if backwards { 0 } else { ones as i64 };
                (words(format!("BITCOUNT {key} {start} {end} {unit}")), int(count))
            }
            Step::Position(key, wanted, start, end) => {
                let (last, in_bits) = end.unwrap_or((-1, false));
                let range = self.range(key, *start, last, in_bits);
                let found = range.iter().find(|(_, bit)| bit == wanted).map(|(at, _)| *at);
                let answer = match found {
                    Some(at) => at,
                    None if !self.0.contains_key(key) && !wanted => 0,
                    None if !wanted && end.is_none() && !range.is_empty() => self.bits(key).len() as i64,
                    None => -1,
                };
                let mut line = format!("BITPOS {key} {} {start}", *wanted as u8);
                if let Some((end, in_bits)) = end {
                    line += &format!(" {end} {}", if *in_bits { "bit" } else { "byte" });
                }
                (words(line), int(answer))
            }
            Step::Operation(operation, to, from) => {
                let from = if *operation == "NOT" { &from[..1] } else { &from[..] };
                let strings: Vec<Vec<bool>> = from.iter().map(|key| self.bits(key)).collect();
                let len = strings.iter().map(Vec::len).max().expect("there is a source");
                let result: Vec<bool> = (0..len)
                    .map(|at| {
                        let bits: Vec<bool> =
                            strings.iter().map(|string| string.get(at).copied().unwrap_or(false)).collect();
                        let (ones, others) =
                            (bits.iter().filter(|&&bit| bit).count(), bits[1..].contains(&true));
                        match *operation {
                            "AND" => ones == bits.len(),
                            "OR" => ones > 0,
                            "XOR" => ones % 2 == 1,
                            "NOT" => !bits[0],
                            "DIFF" => bits[0] && !others,
                            "DIFF1" => !bits[0] && others,
                            "ANDOR" => bits[0] && others,
                            _ => ones == 1,
                        }
                    })
                    .collect();
                if len == 0 {
                    self.0.remove(to);
                } else {
                    self.0.insert(to, result);
                }
                (words(format!("BITOP {operation} {to} {}", from.join(" "))), int(len as i64 / 8))
            }
            Step::Increment(key, signed, width, at, by) => {
                let field = &mut self.grow(key, at + u64::from(*width))[*at as usize..][..*width as usize];
                let unsigned = field.iter().fold(0i128, |number, &bit| number << 1 | i128::from(bit));
                let size = 1i128 << width;
                let centred = |number: i128| {
                    let number = number.rem_euclid(size);
                    if *signed && number >= size / 2 {
                        number - size
                    } else {
                        number
                    }
                };
                let sum = centred(centred(unsigned) + i128::from(*by));
                for (back, bit) in field.iter_mut().rev().enumerate() {
                    *bit = sum.rem_euclid(size) >> back & 1 == 1;
                }
                let sign = if *signed { "i" } else { "u" };
                (
                    words(format!("BITFIELD {key} INCRBY {sign}{width} {at} {by}")),
                    Value::Array(vec![int(sum as i64)]),
                )
            }
        }
    }
}

fn replay(copy: &mut Shard, recorder: &Recorder) {
    for change in recorder.take() {
        copy.keys.replay(&change.as_change(), NOW).unwrap();
    }
}

fn a_sketch_command() -> impl Strategy<Value = String> {
    let element = || prop_oneof![0u32..50, 0u32..100_000];
    prop_oneof![
        4 => (a_key(), prop::collection::vec(element(), 0..40)).prop_map(|(k, elements)| {
            elements.iter().fold(format!("PFADD {k}"), |line, element| line + &format!(" {element}"))
        }),
        2 => a_key().prop_map(|k| format!("PFCOUNT {k}")),
        1 => (a_key(), a_key()).prop_map(|(a, b)| format!("PFCOUNT {a} {b}")),
        1 => (a_key(), a_key(), a_key()).prop_map(|(to, a, b)| format!("PFMERGE {to} {a} {b}")),
        1 => a_key().prop_map(|k| format!("PFMERGE {k}")),
        1 => a_key().prop_map(|k| format!("PFDEBUG TODENSE {k}")),
        1 => a_key().prop_map(|k| format!("PFDEBUG GETREG {k}")),
        1 => (a_key(), 0u32..30).prop_map(|(k, at)| format!("SETBIT {k} {at} 1")),
        1 => (a_key(), 16u32..40).prop_map(|(k, at)| format!("SETRANGE {k} {at} \"\\x80\\xff\"")),
        1 => a_key().prop_map(|k| format!("DEL {k}")),
        1 => a_key().prop_map(|k| format!("PEXPIREAT {k} {}", NOW + 1000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bitmaps_are_strings_of_bits_and_their_changes_replay(steps in prop::collection::vec(a_step(), 1..60)) {
        let (mut shard, mut copy) = (shard(), shard());
        let recorder = Recorder::attach(&mut shard);
        let mut model = Model::default();
        for step in &steps {
            let (argv, expected) = model.run(step);
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(run_args(&mut shard, VIEW, &argv), expected, "{:?}", step);
            replay(&mut copy, &recorder);
            for key in KEYS {
                let value = model.bytes(key).map_or(Value::Null, bulk);
                prop_assert_eq!(run(&mut shard, &format!("GET {key}")), value, "{:?}", step);
            }
            prop_assert_eq!(contents(&shard, 0, NOW), contents(&copy, 0, NOW));
        }
    }

    #[test]
    fn changes_of_sketches_replay(lines in prop::collection::vec(a_sketch_command(), 1..60)) {
        let (mut shard, mut copy) = (shard(), shard());
        let recorder = Recorder::attach(&mut shard);
        for line in &lines {
            run(&mut shard, line);
            replay(&mut copy, &recorder);
            prop_assert_eq!(contents(&shard, 0, NOW), contents(&copy, 0, NOW), "after {}", line);
        }
    }

    #[test]
    fn a_union_counts_as_its_merge_does(sets in prop::collection::vec(prop::collection::vec(0u32..3000, 0..200), 3)) {
        let mut shard = shard();
        for (key, elements) in KEYS.iter().zip(&sets) {
            run(&mut shard, &elements.iter().fold(format!("PFADD {key}"), |line, e| line + &format!(" {e}")));
        }
        let union = run(&mut shard, "PFCOUNT a b c");
        run(&mut shard, "PFMERGE merged a b c");
        prop_assert_eq!(run(&mut shard, "PFCOUNT merged"), union.clone());
        run(&mut shard, "PFDEBUG TODENSE b");
        prop_assert_eq!(run(&mut shard, "PFCOUNT a b c"), union.clone());
        run(&mut shard, "PFMERGE dense a b c");
        prop_assert_eq!(run(&mut shard, "PFDEBUG ENCODING dense"), Value::Simple("dense".into()));
        prop_assert_eq!(run(&mut shard, "PFCOUNT dense"), union);
    }
}

#[test]
fn the_self_test_passes() {
    let mut shard = shard();
    let (slices, answer) = slices(&mut shard, "PFSELFTEST", |_, _| {});
    assert_eq!(answer, ok());
    assert!(slices > 1000);
}
