//! SORT in steps: load the elements, weigh them, order them, answer or store them.
//!
//! A few thousand elements are sorted at once. More are sorted in slices, while other commands run, and yet the result is that of one
//! moment: as long as the key or what the patterns name is being read, a [`Watch`] looks out for changes of just
//! these, and if there was one, the command begins again. After [`RESTARTS_MAX`] beginnings it reads all that it could need without a
//! pause. What is then done with the elements (ordering them, most of the time) concerns nobody else.

use super::merge::Merge;
use super::pattern::Pattern;
use super::request::{By, Request};
use super::texts::Texts;
use super::watch::Watch;
use super::weight::{collate, number};
use crate::change::UnixMs;
use crate::commands::long_reply::Elements;
use crate::commands::watched::RESTARTS_MAX;
use crate::error::Error;
use crate::exec::{Continuation, Exec, Flow, Outcome, DONE};
use crate::keyspace::{Keyspace, View};
use crate::limits::EncodingLimits;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::ValueRef;
use crate::value::item::Item;
use crate::value::list::{End, Fill, List};
use crate::value::set::Set;
use crate::value::zset::Zset;
use crate::value::{Collection, Type};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

const NOT_NUMBERS: Error = Error::new("ERR One or more scores can't be converted into double");

/// Elements up to which a collection is sorted at once.
const AT_ONCE_MAX: usize = 1024;

/// Elements that are read, looked up, compared or written in the time of a visit to a segment of the table.
const STEPS_PER_SEGMENT: usize = 128;

/// What the elements are compared by.
enum Weights {
    /// Numbers, by index of the element.
    Numbers(Vec<f64>),
    /// The elements as text.
    Elements,
    /// Other texts, by index of the element.
    Texts(Found),
}

/// Texts that may be missing.
#[derive(Default)]
struct Found {
    texts: Texts,
    there: Vec<bool>,
}

impl Found {
    fn push(&mut self, item: Option<Item<'_>>) {
        self.there.push(item.is_some());
        match item {
            Some(item) => item.with_bytes(|text| self.texts.push(text)),
            None => self.texts.push(b""),
        }
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.there[index].then(|| self.texts.get(index))
    }
}

/// How loaded elements are to be arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrangement {
    /// They are those of the result, in its order.
    Done,
    /// They are those of the result, the last one first.
    Backwards,
    /// All elements; `by_text`: they are to be compared as text, whatever was asked for.
    Unsorted { by_text: bool },
}

/// What is to be loaded.
#[derive(Debug, Clone)]
struct Plan {
    kind: Type,
    /// Which elements, in the order of the collection.
    range: Range<usize>,
    arrangement: Arrangement,
}

/// What comes next.
enum Stage {
    Begin,
    /// Load elements: the rank of the next one, and a set's cursor.
    Load {
        plan: Plan,
        next: usize,
        cursor: u64,
    },
    /// Weigh the elements, all but so many.
    Weigh {
        plan: Plan,
    },
    Order(Merge),
    /// Look up what is answered for the element of this rank.
    Get {
        rank: usize,
        found: Elements,
    },
    /// Build the list that is stored, from this rank on.
    Build {
        rank: usize,
        list: List,
    },
    /// Answer the elements from this rank on; the head of the reply is written before the first.
    Answer {
        rank: usize,
    },
    /// Answer what has been looked up.
    AnswerFound {
        found: Elements,
        announced: bool,
    },
    Done,
}

struct Sorting {
    view: View,
    request: Request,
    limits: EncodingLimits,
    stage: Stage,
    elements: Texts,
    weights: Weights,
    /// Indexes of elements in the order of the result.
    order: Vec<u32>,
    /// What GET names for each element, if it was read before they were ordered: by index of the element, then of the pattern.
    fetched: Option<Found>,
    /// While something is read in slices.
    watch: Option<Rc<RefCell<Watch>>>,
    restarts: u32,
    /// Room for the name of a key.
    name: Vec<u8>,
}

/// Runs the command, or its beginning.
pub(super) fn start(exec: &mut Exec<'_>, request: Request, reply: &mut dyn Reply) -> Outcome {
    let keys = &mut exec.shard.keys;
    let len = match keys.peek(exec.view, &keys.key(&request.key)).map(|entry| entry.value()) {
        Some(ValueRef::Object(object)) => object.with(|object| object.elements()),
        _ => 0,
    };
    let limits = exec.shard.config.limits;
    let mut sorting = Sorting::new(exec.view, request, limits);
    if len > AT_ONCE_MAX {
        sorting.watch = Some(Watch::observe(&mut keys.changes, exec.view.db, &sorting.request));
        return Ok(Flow::Later(Box::new(sorting)));
    }
    while !sorting.step(&mut exec.shard.keys, usize::MAX, reply)? {}
    DONE
}

impl Continuation for Sorting {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.view.now = now;
        if self.watch.is_some() {
            shard.keys.expire_now(self.view, &[&self.request.key]);
        }
        if self.watch.as_ref().is_some_and(|watch| watch.borrow_mut().take_changed()) {
            self.restarts += 1;
            self.restart();
        }
        let steps = budget.max(1).saturating_mul(STEPS_PER_SEGMENT);
        loop {
            // Once it has begun too often, it reads without a pause.
            let hurried = self.reads() && self.restarts >= RESTARTS_MAX;
            match self.step(&mut shard.keys, if hurried { usize::MAX } else { steps }, reply) {
                Ok(true) => return true,
                Ok(false) if hurried => {
                    if matches!(self.stage, Stage::Order(_)) && self.watch.is_some() {
                        self.fetch(&mut shard.keys);
                    }
                }
                Ok(false) => return false,
                Err(error) => {
                    reply.error(error.text());
                    return true;
                }
            }
        }
    }
}

impl Sorting {
    fn new(view: View, request: Request, limits: EncodingLimits) -> Sorting {
        Sorting {
            view,
            request,
            limits,
            stage: Stage::Begin,
            elements: Texts::default(),
            weights: Weights::Elements,
            order: Vec::new(),
            fetched: None,
            watch: None,
            restarts: 0,
            name: Vec::new(),
        }
    }

    fn restart(&mut self) {
        if let Stage::Build { list, .. } = std::mem::replace(&mut self.stage, Stage::Begin) {
            list.into_object().discard();
        }
        self.elements = Texts::default();
        self.weights = Weights::Elements;
        self.order = Vec::new();
    }

    /// Whether what comes next reads keys.
    fn reads(&self) -> bool {
        match self.stage {
            Stage::Begin | Stage::Load { .. } | Stage::Weigh { .. } => true,
            Stage::Get { .. } | Stage::Build { .. } => self.watch.is_some(),
            Stage::Order(_) | Stage::Answer { .. } | Stage::AnswerFound { .. } | Stage::Done => false,
        }
    }

    /// Whether keys besides the sorted one are read.
    fn reads_patterns(&self) -> bool {
        matches!(self.request.by, By::Pattern(_)) || self.request.get.iter().any(Pattern::names_keys)
    }

    /// Takes about `steps` steps of the present stage; returns whether the reply is complete.
    fn step(&mut self, keys: &mut Keyspace, steps: usize, reply: &mut dyn Reply) -> Result<bool, Error> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Begin => match self.plan(keys)? {
                None => self.end_of_order(keys),
                Some(plan) => self.stage = Stage::Load { next: plan.range.start, cursor: 0, plan },
            },
            Stage::Load { plan, next, cursor } => self.load(keys, plan, next, cursor, steps),
            Stage::Weigh { plan } => self.weigh(keys, plan, steps)?,
            Stage::Order(mut merge) => {
                let descending = self.request.descending;
                let compare = |a: u32, b: u32| {
                    let order = self.compare(a as usize, b as usize);
                    if descending {
                        order.reverse()
                    } else {
                        order
                    }
                };
                if merge.advance(steps, &compare) {
                    self.order = merge.into_order();
                    let range = self.request.range(self.order.len());
                    self.order.truncate(range.end);
                    self.order.drain(..range.start);
                    self.end_of_order(keys);
                } else {
                    self.stage = Stage::Order(merge);
                }
            }
            Stage::Get { rank, found } => self.get(keys, rank, found, steps),
            Stage::Build { rank, list } => return Ok(self.build(keys, rank, list, steps, reply)),
            Stage::Answer { rank } => {
                if rank == 0 {
                    reply.array(self.order.len());
                }
                let end = rank.saturating_add(steps).min(self.order.len());
                for &index in &self.order[rank..end] {
                    reply.bulk(self.elements.get(index as usize));
                }
                if end == self.order.len() {
                    return Ok(true);
                }
                self.stage = Stage::Answer { rank: end };
            }
            Stage::AnswerFound { mut found, announced } => {
                if !announced {
                    reply.array(self.order.len() * self.request.get.len());
                }
                if found.write(steps, reply) {
                    return Ok(true);
                }
                self.stage = Stage::AnswerFound { found, announced: true };
            }
            Stage::Done => unreachable!("it is not resumed after its end"),
        }
        Ok(false)
    }

    /// Asks for the key. None when there is nothing to sort.
    fn plan(&self, keys: &mut Keyspace) -> Result<Option<Plan>, Error> {
        let key = keys.key(&self.request.key);
        let Some(entry) = keys.get(self.view, &key) else { return Ok(None) };
        let ValueRef::Object(object) = entry.value() else { return Err(Error::WRONG_TYPE) };
        let kind = object.kind();
        if !matches!(kind, Type::List | Type::Set | Type::Zset) {
            return Err(Error::WRONG_TYPE);
        }
        let len = object.with(|object| object.elements());
        let as_it_is = self.request.by == By::Nothing;
        // A set has no order and no direction; but what is stored must have an order.
        let by_text = as_it_is && kind == Type::Set && self.request.store.is_some();
        if !as_it_is || by_text {
            let arrangement = Arrangement::Unsorted { by_text };
            return Ok(Some(Plan { kind, range: 0..len, arrangement }));
        }
        let range = self.request.range(len);
        Ok(Some(if self.request.descending && kind != Type::Set {
            let range = len - range.end..len - range.start;
            Plan { kind, range, arrangement: Arrangement::Backwards }
        } else {
            Plan { kind, range, arrangement: Arrangement::Done }
        }))
    }

    /// Loads elements of the plan from the rank `next` on.
    fn load(&mut self, keys: &Keyspace, plan: Plan, next: usize, cursor: u64, steps: usize) {
        let key = keys.key(&self.request.key);
        let end = next.saturating_add(steps).min(plan.range.end);
        let elements = &mut self.elements;
        let mut push = |element: Item<'_>| element.with_bytes(|text| elements.push(text));
        // The watch has seen to it that the collection is the one that was planned for.
        let (mut reached, mut reached_cursor) = (end, 0);
        match plan.kind {
            Type::List => {
                if let Some(list) = keys.held::<List>(self.view.db, &key) {
                    list.range(next..end).for_each(|element| element.with_bytes(|text| elements.push(text)));
                }
            }
            Type::Zset => {
                if let Some(zset) = keys.held::<Zset>(self.view.db, &key) {
                    zset.ascending(next).take(end - next).for_each(|(member, _)| push(member));
                }
            }
            _ => {
                // Its members have no ranks: those before the range are passed over.
                let Some(set) = keys.held::<Set>(self.view.db, &key) else { return };
                reached = if cursor == 0 { 0 } else { next };
                reached_cursor = set.scan(cursor, steps, &mut |member| {
                    if plan.range.contains(&reached) {
                        push(member);
                    }
                    reached += 1;
                });
                if reached_cursor == 0 {
                    reached = plan.range.end;
                }
            }
        }
        if reached < plan.range.end {
            self.stage = Stage::Load { plan, next: reached, cursor: reached_cursor };
            return;
        }
        if !self.reads_patterns() {
            // Nothing else is read.
            self.watch = None;
        }
        let len = self.elements.len() as u32;
        match plan.arrangement {
            Arrangement::Unsorted { .. } => {
                self.weights = self.empty_weights(&plan);
                self.stage = Stage::Weigh { plan };
                return;
            }
            Arrangement::Done => self.order = (0..len).collect(),
            Arrangement::Backwards => self.order = (0..len).rev().collect(),
        }
        self.end_of_order(keys);
    }

    fn empty_weights(&self, plan: &Plan) -> Weights {
        let by_text = plan.arrangement == Arrangement::Unsorted { by_text: true };
        match &self.request.by {
            By::Pattern(_) if self.request.alpha => Weights::Texts(Found::default()),
            By::Element | By::Nothing if by_text || self.request.alpha => Weights::Elements,
            _ => Weights::Numbers(Vec::with_capacity(self.elements.len())),
        }
    }

    /// Finds out what more elements are compared by.
    fn weigh(&mut self, keys: &mut Keyspace, plan: Plan, steps: usize) -> Result<(), Error> {
        let Sorting { view, elements, weights, name, .. } = self;
        let len = elements.len();
        let weighed = match weights {
            Weights::Elements => len,
            Weights::Numbers(numbers) => numbers.len(),
            Weights::Texts(found) => found.there.len(),
        };
        let end = weighed.saturating_add(steps).min(len);
        for index in weighed..end {
            let element = elements.get(index);
            match (&mut *weights, &self.request.by) {
                (Weights::Numbers(numbers), By::Pattern(pattern)) => {
                    let weight = pattern.look_up(keys, *view, element, name, |item| {
                        item.map_or(Some(0.0), |item| item.with_bytes(number))
                    });
                    numbers.push(weight.ok_or(NOT_NUMBERS)?);
                }
                (Weights::Numbers(numbers), _) => numbers.push(number(element).ok_or(NOT_NUMBERS)?),
                (Weights::Texts(found), By::Pattern(pattern)) => {
                    pattern.look_up(keys, *view, element, name, |item| found.push(item));
                }
                (Weights::Texts(..) | Weights::Elements, _) => {
                    unreachable!("such weights come from a pattern")
                }
            }
        }
        if end < len {
            self.stage = Stage::Weigh { plan };
            return Ok(());
        }
        self.stage = Stage::Order(Merge::new(len as u32));
        if !self.request.get.iter().any(Pattern::names_keys) {
            self.watch = None;
        }
        Ok(())
    }

    /// The order of two elements. Equal ones stay in the order in which they were.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let text_order = if self.request.store.is_some() { <[u8]>::cmp } else { collate };
        match &self.weights {
            Weights::Numbers(numbers) => {
                // There is no NaN among them; 0 and -0 are equal.
                let by_number = numbers[a].partial_cmp(&numbers[b]).unwrap_or(Ordering::Equal);
                by_number.then_with(|| self.elements.get(a).cmp(self.elements.get(b)))
            }
            Weights::Elements => text_order(self.elements.get(a), self.elements.get(b)),
            Weights::Texts(found) => match (found.get(a), found.get(b)) {
                (Some(a), Some(b)) => text_order(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
        }
    }

    /// The elements of the result are in their order.
    fn end_of_order(&mut self, keys: &Keyspace) {
        self.stage = match (&self.request.store, self.request.get.is_empty()) {
            (Some(_), _) => Stage::Build { rank: 0, list: List::new(keys.collection_seed()) },
            (None, true) => Stage::Answer { rank: 0 },
            (None, false) => Stage::Get { rank: 0, found: Elements::default() },
        };
    }

    /// Looks up all that GET could need, before the elements are ordered; nothing else is read then.
    fn fetch(&mut self, keys: &mut Keyspace) {
        let mut fetched = Found::default();
        for index in 0..self.elements.len() {
            self.for_each_answer(keys, index, &mut |item| fetched.push(item));
        }
        self.fetched = Some(fetched);
        self.watch = None;
    }

    /// Calls with what is answered for an element: itself, or what the GET patterns name.
    fn for_each_answer(&mut self, keys: &mut Keyspace, index: usize, f: &mut dyn FnMut(Option<Item<'_>>)) {
        let Sorting { request, elements, fetched, name, view, .. } = self;
        let element = elements.get(index);
        if request.get.is_empty() {
            f(Some(Item::of(element)));
        }
        for (number, pattern) in request.get.iter().enumerate() {
            match fetched {
                Some(fetched) => f(fetched.get(index * request.get.len() + number).map(Item::of)),
                None => pattern.look_up(keys, *view, element, name, |item| f(item)),
            }
        }
    }

    /// Looks up what is answered for more elements.
    fn get(&mut self, keys: &mut Keyspace, rank: usize, mut found: Elements, steps: usize) {
        let end = rank.saturating_add(steps).min(self.order.len());
        for rank in rank..end {
            let index = self.order[rank] as usize;
            self.for_each_answer(keys, index, &mut |item| match item {
                Some(item) => found.push(item),
                None => found.push_null(),
            });
        }
        self.stage = if end < self.order.len() {
            Stage::Get { rank: end, found }
        } else {
            self.watch = None;
            Stage::AnswerFound { found, announced: false }
        };
    }

    /// Adds more elements to the list, and stores it when it is complete; returns whether it was.
    fn build(
        &mut self,
        keys: &mut Keyspace,
        rank: usize,
        mut list: List,
        steps: usize,
        reply: &mut dyn Reply,
    ) -> bool {
        let fill = Fill::new(self.limits.list_max_listpack_size);
        let end = rank.saturating_add(steps).min(self.order.len());
        for rank in rank..end {
            let index = self.order[rank] as usize;
            self.for_each_answer(keys, index, &mut |item| {
                item.unwrap_or(Item::Bytes(b"")).with_bytes(|text| {
                    list.before_growing(text.len(), 1, fill);
                    list.push(End::Tail, text);
                });
            });
        }
        if end < self.order.len() {
            self.stage = Stage::Build { rank: end, list };
            return false;
        }
        reply.integer(list.len() as i64);
        if let Some(destination) = &self.request.store {
            let key = keys.key(destination);
            keys.store(self.view, &key, list);
        }
        true
    }
}
