//! Sets: distinct members without an order.
//!
//! | form | what it is | Redis calls it |
//! |---|---|---|
//! | [`ints`] | sorted integers in one buffer | `intset` |
//! | [`packed`] | members one behind the other in one buffer | `listpack` |
//! | table | a [`Table`] of members without values | `hashtable` |
//!
//! A set begins in the form that suits its first member and the number of members that are to come, and converts on the
//! way to more members, never back: so the form is the one that Redis would report after the same commands. The [`Rules`] hold
//! the limits. Set operations (union, intersection, difference) build their results by the same insertions, and so arrive at
//! Redis's form too, with one exception that Redis has as well: see [`Set::compact_ints`].
//!
//! Good at: memory (a few bits per near integer, one byte over the text of a short member), steady insertion, since a table
//! grows a segment at a time. Bad at: order; ranks exist for random choices only.

mod ints;
mod packed;
#[cfg(test)]
mod tests;

use super::buffer::Buffer;
use super::forms::forms;
use super::item::Item;
use super::{Collection, Object, Type};
use crate::change::SetForm;
use crate::limits::EncodingLimits;
use crate::random::Random;
use crate::table::{NewValue, Remains, Table};
use ints::Ints;
use packed::Packed;

forms! {
    /// A set.
    pub enum Set {
        /// Sorted integers.
        Ints(Buffer) = 0,
        /// Members in the order in which they came.
        Packed(Buffer) = 1,
        /// Members as the keys of a table, the values empty.
        Table(Box<Table>) = 2,
        /// A table on its way back to the allocator: only while a set is freed in slices.
        Remains(Box<Remains>) = 3,
    }
}

/// Members that a walk over a table visits before it looks whether to go on.
const WALK_STEP: usize = 128;

/// Up to where sets stay packed, and how the members of large ones are hashed.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    ints_max: usize,
    packed_max: usize,
    member_max: usize,
    seed: u64,
}

impl Rules {
    /// The rules of these limits. `seed` seeds the hash of members: [`crate::keyspace::Keyspace::collection_seed`].
    pub fn new(limits: &EncodingLimits, seed: u64) -> Rules {
        Rules {
            // The second is Redis's own bound.
            ints_max: limits.set_max_intset_entries.min(1 << 30),
            packed_max: limits.set_max_listpack_entries.min(packed::MEMBERS_MAX),
            member_max: limits.set_max_listpack_value,
            seed,
        }
    }

    /// The same for members of any length.
    pub(crate) fn of_any_length(self) -> Rules {
        Rules { member_max: usize::MAX, ..self }
    }

    /// Rules under which a set keeps its form as long as it can.
    pub(crate) fn unlimited(seed: u64) -> Rules {
        Rules { ints_max: usize::MAX, packed_max: packed::MEMBERS_MAX, member_max: usize::MAX, seed }
    }
}

/// Gives memory back when a third of a buffer is not in use any more; less would go to and fro with the next member.
fn give_back(buffer: &mut Buffer) {
    if buffer.len() + buffer.len() / 2 < buffer.capacity() {
        buffer.shrink_to_fit();
    }
}

impl Set {
    /// The members of a table.
    pub(super) fn members(&self) -> Option<&Table> {
        match self {
            Set::Table(table) => Some(table),
            Set::Ints(_) | Set::Packed(_) | Set::Remains(_) => None,
        }
    }

    /// An empty set in the form for `expected` members of which this is the first.
    pub(crate) fn for_members(first: &[u8], expected: usize, rules: &Rules) -> Set {
        if expected <= rules.ints_max && matches!(Item::of(first), Item::Int(_)) {
            Set::Ints(Buffer::new())
        } else if expected <= rules.packed_max {
            Set::Packed(Buffer::new())
        } else {
            Set::Table(Box::new(Table::new(rules.seed)))
        }
    }

    /// An empty set of integers.
    pub(crate) fn of_ints() -> Set {
        Set::Ints(Buffer::new())
    }

    /// An empty packed set.
    pub(crate) fn packed() -> Set {
        Set::Packed(Buffer::new())
    }

    /// Its form.
    #[inline]
    pub(crate) fn form(&self) -> SetForm {
        match self {
            Set::Ints(_) => SetForm::Ints,
            Set::Packed(_) => SetForm::Packed,
            Set::Table(_) | Set::Remains(_) => SetForm::Table,
        }
    }

    /// Whether this is a member.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Ints(buffer) => match Item::of(member) {
                Item::Int(int) => Ints::of(buffer).contains(int),
                Item::Bytes(_) => false,
            },
            Set::Packed(buffer) => Packed::of(buffer).contains(member),
            Set::Table(table) => table.get(table.hash(member), member).is_some(),
            Set::Remains(_) => false,
        }
    }

    /// Whether this is a member.
    pub(crate) fn contains_item(&self, member: Item<'_>) -> bool {
        match (self, member) {
            (Set::Ints(buffer), Item::Int(int)) => Ints::of(buffer).contains(int),
            (Set::Ints(_), Item::Bytes(_)) => false,
            _ => member.with_bytes(|member| self.contains(member)),
        }
    }

    /// Calls with each member until it is told to stop: integers in their order, packed members as they came, those of
    /// a table in no order.
    pub(crate) fn for_each(&self, f: &mut dyn FnMut(Item<'_>) -> bool) {
        let mut cursor = 0;
        loop {
            let mut go_on = true;
            cursor = self.visit(cursor, WALK_STEP, &mut |member| {
                go_on = go_on && f(member);
                go_on
            });
            if cursor == 0 || !go_on {
                return;
            }
        }
    }

    /// Visits about `count` members from a cursor (0 at first) and returns the cursor to go on with, 0 at the end. What is
    /// in one buffer is visited at once. For the promise about changes in between see [`Table::scan`].
    pub fn scan(&self, cursor: u64, count: usize, f: &mut dyn FnMut(Item<'_>)) -> u64 {
        self.visit(cursor, count, &mut |member| {
            f(member);
            true
        })
    }

    fn visit(&self, cursor: u64, count: usize, f: &mut dyn FnMut(Item<'_>) -> bool) -> u64 {
        match self {
            Set::Ints(buffer) => {
                let _ = Ints::of(buffer).iter().all(|int| f(Item::Int(int)));
                0
            }
            Set::Packed(buffer) => {
                Packed::of(buffer).for_each(f);
                0
            }
            Set::Table(table) => table.scan(cursor, count, &mut |entry| {
                f(Item::of(entry.key()));
            }),
            Set::Remains(_) => 0,
        }
    }

    /// Where a member comes in a scan, whether it is there or not: see [`Table::position`].
    pub(crate) fn position(&self, member: &[u8]) -> u64 {
        match self {
            Set::Table(table) => table.position(table.hash(member)),
            _ => 0,
        }
    }

    /// Calls with a member chosen uniformly. Panics when there is none.
    pub(crate) fn with_random<T>(&self, random: &mut Random, f: impl FnOnce(Item<'_>) -> T) -> T {
        match self {
            Set::Table(table) => f(Item::of(random_key(table, random))),
            _ => self.with_nth(random.below(self.len() as u64) as usize, f),
        }
    }

    /// Calls with the member of this rank, in the order of [`Set::for_each`], of a set that is not a table.
    pub(crate) fn with_nth<T>(&self, rank: usize, f: impl FnOnce(Item<'_>) -> T) -> T {
        match self {
            Set::Ints(buffer) => f(Item::Int(Ints::of(buffer).get(rank))),
            Set::Packed(buffer) => Packed::of(buffer).with_nth(rank, f),
            Set::Table(_) | Set::Remains(_) => unreachable!("members of a table have no rank"),
        }
    }

    /// Prepares for this many insertions, as Redis does: what would exceed the limit if all were new converts now.
    pub(crate) fn expect(&mut self, insertions: usize, rules: &Rules) {
        let too_many = match self {
            Set::Ints(_) => insertions > rules.ints_max,
            Set::Packed(_) => insertions > rules.packed_max,
            Set::Table(_) | Set::Remains(_) => false,
        };
        if too_many {
            self.convert_to_table(rules);
        }
    }

    /// Adds a member; false when it was there.
    #[inline]
    pub(crate) fn insert(&mut self, member: &[u8], rules: &Rules) -> bool {
        match self {
            Set::Table(table) => insert_into(table, member),
            Set::Ints(buffer) => match Item::of(member) {
                Item::Int(int) => {
                    let added = ints::insert(buffer, int);
                    if added && Ints::of(buffer).len() > rules.ints_max {
                        self.convert_to_table(rules);
                    }
                    added
                }
                Item::Bytes(_) => {
                    self.leave_ints(member, rules);
                    self.insert(member, rules)
                }
            },
            Set::Packed(buffer) => {
                let packed = Packed::of(buffer);
                if packed.contains(member) {
                    return false;
                }
                if packed.len() < rules.packed_max && member.len() <= rules.member_max {
                    packed::push(buffer, member);
                    return true;
                }
                self.convert_to_table(rules);
                self.insert(member, rules)
            }
            Set::Remains(_) => unreachable!("a set that is being freed is not used"),
        }
    }

    /// Makes a set of integers one that can take this member, which is not an integer.
    #[cold]
    fn leave_ints(&mut self, member: &[u8], rules: &Rules) {
        let Set::Ints(buffer) = self else { return };
        let ints = Ints::of(buffer);
        let text_len = |int: i64| Item::Int(int).text_len();
        let longest = match ints.len() {
            0 => 0,
            len => text_len(ints.get(0)).max(text_len(ints.get(len - 1))),
        };
        if ints.len() < rules.packed_max && member.len().max(longest) <= rules.member_max {
            let mut packed = Buffer::new();
            for int in ints.iter() {
                Item::Int(int).with_bytes(|text| packed::push(&mut packed, text));
            }
            *self = Set::Packed(packed);
        } else {
            self.convert_to_table(rules);
        }
    }

    /// Makes it a table.
    #[cold]
    pub(crate) fn convert_to_table(&mut self, rules: &Rules) {
        let mut table = Table::new(rules.seed);
        self.for_each(&mut |member| member.with_bytes(|member| insert_into(&mut table, member)));
        *self = Set::Table(Box::new(table));
    }

    /// Gives it this form, if its members can have it.
    pub(crate) fn convert(&mut self, form: SetForm, rules: &Rules) {
        match form {
            _ if form == self.form() => {}
            SetForm::Ints => self.compact_ints(rules),
            SetForm::Packed if self.len() > packed::MEMBERS_MAX => {}
            SetForm::Packed => {
                let mut buffer = Buffer::new();
                self.for_each(&mut |member| {
                    member.with_bytes(|member| packed::push(&mut buffer, member));
                    true
                });
                *self = Set::Packed(buffer);
            }
            SetForm::Table => self.convert_to_table(rules),
        }
    }

    /// Packs a table whose members would be packed if they came now: Redis builds what a large SPOP leaves anew.
    pub(crate) fn settle(&mut self, rules: &Rules) {
        if self.form() != SetForm::Table || self.len() > rules.packed_max {
            return;
        }
        let mut longest = 0;
        self.for_each(&mut |member| {
            longest = longest.max(member.text_len());
            true
        });
        if longest <= rules.member_max {
            self.convert(SetForm::Packed, rules);
        }
    }

    /// Makes it a set of integers, if all its members are integers and few enough: what Redis does with the result of an
    /// intersection.
    pub(crate) fn compact_ints(&mut self, rules: &Rules) {
        if self.form() == SetForm::Ints || self.len() > rules.ints_max {
            return;
        }
        let mut members = Vec::with_capacity(self.len());
        self.for_each(&mut |member| match member {
            Item::Int(int) => {
                members.push(int);
                true
            }
            Item::Bytes(_) => false,
        });
        if members.len() == self.len() {
            members.sort_unstable();
            *self = Set::Ints(ints::of_sorted(&members));
        }
    }

    /// Removes a member; false when it is not there.
    #[inline]
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Ints(buffer) => match Item::of(member) {
                Item::Int(int) => ints::remove(buffer, int),
                Item::Bytes(_) => false,
            },
            Set::Packed(buffer) => packed::remove(buffer, member),
            Set::Table(table) => {
                let hash = table.hash(member);
                table.remove(hash, member)
            }
            Set::Remains(_) => false,
        }
    }

    /// Removes members chosen uniformly, fewer than there are, and calls with each.
    pub(crate) fn draw(
        &mut self,
        count: usize,
        random: &mut Random,
        rules: &Rules,
        f: &mut dyn FnMut(Item<'_>),
    ) {
        let len = self.len();
        assert!(count < len);
        match self {
            Set::Ints(buffer) => {
                let mut choice = Choice::new(len, count);
                let mut rest = Vec::with_capacity(len - count);
                for int in Ints::of(buffer).iter() {
                    if choice.takes(random) {
                        f(Item::Int(int));
                    } else {
                        rest.push(int);
                    }
                }
                *buffer = ints::of_sorted(&rest);
            }
            Set::Packed(buffer) => {
                let mut choice = Choice::new(len, count);
                *buffer = Packed::of(buffer).without(&mut |member| {
                    let taken = choice.takes(random);
                    if taken {
                        f(member);
                    }
                    taken
                });
            }
            // Redis's threshold: what is left is little beside what goes, so the former moves.
            Set::Table(table) if (len - count) * 5 <= count => {
                let mut rest = Table::new(rules.seed);
                while rest.len() < len - count {
                    let key = random_key(table, random).to_vec();
                    table.remove(table.hash(&key), &key);
                    insert_into(&mut rest, &key);
                }
                let gone = std::mem::replace(self, Set::Table(Box::new(rest)));
                gone.for_each(&mut |member| {
                    f(member);
                    true
                });
                gone.into_object().discard();
                self.settle(rules);
            }
            Set::Table(table) => {
                for _ in 0..count {
                    let key = random_key(table, random).to_vec();
                    table.remove(table.hash(&key), &key);
                    f(Item::of(&key));
                }
            }
            Set::Remains(_) => unreachable!("a set that is being freed is not used"),
        }
    }
}

/// Adds a member to a table; false when it was there.
#[inline]
fn insert_into(table: &mut Table, member: &[u8]) -> bool {
    let hash = table.hash(member);
    !table.insert(hash, member, NewValue::Bytes(b""), None, 0)
}

/// Chooses some of a number of things that come one after the other, each set of them with the same probability: algorithm S
/// of Knuth, The Art of Computer Programming, volume 2, 3.4.2.
pub(crate) struct Choice {
    left: usize,
    wanted: usize,
}

impl Choice {
    /// Chooses `wanted` of `left` things.
    pub(crate) fn new(left: usize, wanted: usize) -> Choice {
        assert!(wanted <= left);
        Choice { left, wanted }
    }

    /// Whether the next thing is chosen.
    pub(crate) fn takes(&mut self, random: &mut Random) -> bool {
        let takes = (random.below(self.left as u64) as usize) < self.wanted;
        self.left -= 1;
        self.wanted -= takes as usize;
        takes
    }
}

/// A key of a table that is not empty, chosen uniformly.
fn random_key<'t>(table: &'t Table, random: &mut Random) -> &'t [u8] {
    table.random(&mut || random.number()).expect("a table that is not empty").key()
}

impl Collection for Set {
    const TYPE: Type = Type::Set;

    fn new(_seed: u64) -> Set {
        Set::of_ints()
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Set::Ints(buffer) => Ints::of(buffer).len(),
            Set::Packed(buffer) => Packed::of(buffer).len(),
            Set::Table(table) => table.len(),
            Set::Remains(_) => 0,
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Set::Ints(_) => "intset",
            Set::Packed(_) => "listpack",
            Set::Table(_) | Set::Remains(_) => "hashtable",
        }
    }

    fn memory(&self) -> usize {
        match self {
            Set::Ints(buffer) | Set::Packed(buffer) => buffer.heap_bytes(),
            Set::Table(table) => size_of::<Table>() + table.memory().total(),
            Set::Remains(_) => size_of::<Remains>(),
        }
    }

    fn copy_some(&self, copy: &mut Set, position: &mut u64, elements: usize) -> bool {
        let Set::Table(table) = self else {
            *copy = self.clone();
            return true;
        };
        if *position == 0 {
            *copy = Set::Table(Box::new(table.empty_like()));
        }
        match copy {
            Set::Table(copy) => table.copy_some(copy, position, elements),
            _ => unreachable!("it was made a table by the first call"),
        }
    }

    fn free_some(&mut self, elements: usize) -> bool {
        match self {
            Set::Ints(buffer) | Set::Packed(buffer) => *buffer = Buffer::new(),
            Set::Table(table) => {
                *self = Set::Remains(Box::new(table.take_all()));
                return self.free_some(elements);
            }
            Set::Remains(remains) => return remains.free_some(elements),
        }
        true
    }

    /// The number of the form; then the buffer, or the items of a table's members.
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Set::Ints(buffer) => {
                out.push(0);
                // The base depends on what has come and gone, the bytes should not.
                let members: Vec<i64> = Ints::of(buffer).iter().collect();
                out.extend_from_slice(&ints::of_sorted(&members));
            }
            Set::Packed(buffer) => {
                out.push(1);
                out.extend_from_slice(buffer);
            }
            Set::Table(_) | Set::Remains(_) => {
                out.push(2);
                self.for_each(&mut |member| {
                    member.encode(out);
                    true
                });
            }
        }
    }

    fn decode(input: &[u8], seed: u64) -> Option<Set> {
        let (&form, rest) = input.split_first()?;
        Some(match form {
            0 if rest.is_empty() => Set::of_ints(),
            0 => {
                Ints::checked(rest)?;
                Set::Ints(Buffer::from(rest))
            }
            1 if rest.is_empty() => Set::packed(),
            1 => {
                Packed::checked(rest)?;
                Set::Packed(Buffer::from(rest))
            }
            2 => {
                let mut table = Table::new(seed);
                let mut at = 0;
                while at < rest.len() {
                    let (member, next) = Item::try_decode(rest, at)?;
                    if !member.with_bytes(|member| insert_into(&mut table, member)) {
                        return None;
                    }
                    at = next;
                }
                Set::Table(Box::new(table))
            }
            _ => return None,
        })
    }

    fn into_object(self) -> Object {
        Object::Set(self)
    }
}

impl Clone for Set {
    fn clone(&self) -> Set {
        match self {
            Set::Ints(buffer) => Set::Ints(buffer.clone()),
            Set::Packed(buffer) => Set::Packed(buffer.clone()),
            Set::Table(table) => Set::Table(table.clone()),
            Set::Remains(_) => Set::of_ints(),
        }
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "set of {} members ({})", self.len(), self.encoding())
    }
}
