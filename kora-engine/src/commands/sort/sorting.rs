//! SORT in steps: load the elements, weigh them, order them, answer or store them.

use super::request::{By, Request};
use super::texts::Texts;
use super::weight::{collate, number};
use crate::error::Error;
use crate::exec::{Exec, Outcome, DONE};
use crate::keyspace::{Keyspace, View};
use crate::limits::EncodingLimits;
use crate::reply::Reply;
use crate::table::ValueRef;
use crate::value::list::{End, Fill, List};
use crate::value::set::Set;
use crate::value::zset::Zset;
use crate::value::Collection;
use std::cmp::Ordering;

const NOT_NUMBERS: Error = Error::new("ERR One or more scores can't be converted into double");

/// What the elements are compared by.
enum Weights {
    /// Numbers, by index of the element.
    Numbers(Vec<f64>),
    /// The elements as text.
    Elements,
    /// Other texts, by index of the element, and whether it has one.
    Texts(Texts, Vec<bool>),
}

/// The elements, and what has been found out about them.
struct Sorting<'r> {
    request: &'r Request,
    elements: Texts,
    /// Indexes of elements in the order of the result.
    order: Vec<u32>,
}

/// Runs the command.
pub(super) fn start(exec: &mut Exec<'_>, request: Request, reply: &mut dyn Reply) -> Outcome {
    let view = exec.view;
    let limits = exec.shard.config.limits;
    let keys = &mut exec.shard.keys;
    let (elements, arrangement) = load(keys, view, &request)?;
    let mut sorting = Sorting { request: &request, order: (0..elements.len() as u32).collect(), elements };
    if let Arrangement::Backwards = arrangement {
        sorting.order.reverse();
    } else if let Arrangement::Unsorted { by_text } = arrangement {
        let weights = sorting.weigh(keys, view, by_text)?;
        sorting.sort(&weights);
        let range = request.range(sorting.order.len());
        sorting.order.truncate(range.end);
        sorting.order.drain(..range.start);
    }
    match &request.store {
        None => sorting.answer(keys, view, reply),
        Some(destination) => {
            let list = sorting.list(keys, view, &limits);
            reply.integer(list.len() as i64);
            let key = keys.key(destination);
            keys.store(view, &key, list);
        }
    }
    DONE
}

/// How loaded elements are to be arranged.
enum Arrangement {
    /// They are those of the result, in its order.
    Done,
    /// They are those of the result, the last one first.
    Backwards,
    /// All elements; `by_text`: they are to be compared as text, whatever was asked for.
    Unsorted { by_text: bool },
}

/// The elements of the key, if nothing is to be sorted only those of the result.
fn load(keys: &mut Keyspace, view: View, request: &Request) -> Result<(Texts, Arrangement), Error> {
    let mut elements = Texts::default();
    let key = keys.key(&request.key);
    let Some(entry) = keys.get(view, &key) else { return Ok((elements, Arrangement::Done)) };
    let ValueRef::Object(object) = entry.value() else { return Err(Error::WRONG_TYPE) };
    let as_it_is = request.by == By::Nothing;
    let range = |len: usize| match (as_it_is, request.descending) {
        (false, _) => 0..len,
        (true, false) => request.range(len),
        (true, true) => {
            let range = request.range(len);
            len - range.end..len - range.start
        }
    };
    let arrangement = match (as_it_is, request.descending) {
        (false, _) => Arrangement::Unsorted { by_text: false },
        (true, false) => Arrangement::Done,
        (true, true) => Arrangement::Backwards,
    };
    if let Some(list) = object.get::<List>() {
        list.range(range(list.len())).for_each(|element| element.with_bytes(|text| elements.push(text)));
        return Ok((elements, arrangement));
    }
    if let Some(zset) = object.get::<Zset>() {
        let range = range(zset.len());
        let walk = zset.ascending(range.start).take(range.len());
        walk.for_each(|(member, _)| member.with_bytes(|text| elements.push(text)));
        return Ok((elements, arrangement));
    }
    let set = object.get::<Set>().ok_or(Error::WRONG_TYPE)?;
    // A set has no order and no direction; what is stored must have one.
    let by_text = as_it_is && request.store.is_some();
    let arrangement = match as_it_is && !by_text {
        true => Arrangement::Done,
        false => Arrangement::Unsorted { by_text },
    };
    let range = match arrangement {
        Arrangement::Done => request.range(set.len()),
        _ => 0..set.len(),
    };
    let mut index = 0;
    set.for_each(&mut |member| {
        if range.contains(&index) {
            member.with_bytes(|text| elements.push(text));
        }
        index += 1;
        index < range.end
    });
    Ok((elements, arrangement))
}

impl Sorting<'_> {
    /// Finds out what the elements are compared by.
    fn weigh(&self, keys: &mut Keyspace, view: View, by_text: bool) -> Result<Weights, Error> {
        let pattern = match &self.request.by {
            By::Pattern(pattern) => Some(pattern),
            By::Element | By::Nothing => None,
        };
        let len = self.elements.len();
        let mut name = Vec::new();
        match pattern {
            None if by_text || self.request.alpha => Ok(Weights::Elements),
            None => {
                let numbers = (0..len).map(|index| number(self.elements.get(index)));
                numbers.collect::<Option<_>>().map(Weights::Numbers).ok_or(NOT_NUMBERS)
            }
            Some(pattern) if self.request.alpha => {
                let (mut texts, mut found) = (Texts::default(), Vec::with_capacity(len));
                for index in 0..len {
                    pattern.look_up(keys, view, self.elements.get(index), &mut name, |item| {
                        found.push(item.is_some());
                        match item {
                            Some(item) => item.with_bytes(|text| texts.push(text)),
                            None => texts.push(b""),
                        }
                    });
                }
                Ok(Weights::Texts(texts, found))
            }
            Some(pattern) => {
                let mut numbers = Vec::with_capacity(len);
                for index in 0..len {
                    let weight = pattern.look_up(keys, view, self.elements.get(index), &mut name, |item| {
                        item.map_or(Some(0.0), |item| item.with_bytes(number))
                    });
                    numbers.push(weight.ok_or(NOT_NUMBERS)?);
                }
                Ok(Weights::Numbers(numbers))
            }
        }
    }

    /// Orders the elements. Equal ones stay in the order in which they were.
    fn sort(&mut self, weights: &Weights) {
        let Sorting { request, elements, order } = self;
        let text_order = if request.store.is_some() { <[u8]>::cmp } else { collate };
        let compare = |a: usize, b: usize| match weights {
            Weights::Numbers(numbers) => {
                // Weights are no NaN; 0 and -0 are equal.
                let by_number = numbers[a].partial_cmp(&numbers[b]).unwrap_or(Ordering::Equal);
                by_number.then_with(|| elements.get(a).cmp(elements.get(b)))
            }
            Weights::Elements => text_order(elements.get(a), elements.get(b)),
            Weights::Texts(texts, found) => {
                found[a].cmp(&found[b]).then_with(|| text_order(texts.get(a), texts.get(b)))
            }
        };
        if request.descending {
            order.sort_by(|&a, &b| compare(b as usize, a as usize));
        } else {
            order.sort_by(|&a, &b| compare(a as usize, b as usize));
        }
    }

    /// Answers with the result.
    fn answer(&self, keys: &mut Keyspace, view: View, reply: &mut dyn Reply) {
        reply.array(self.order.len() * self.request.get.len().max(1));
        let mut name = Vec::new();
        for &index in &self.order {
            let element = self.elements.get(index as usize);
            if self.request.get.is_empty() {
                reply.bulk(element);
            }
            for pattern in &self.request.get {
                pattern.look_up(keys, view, element, &mut name, |item| match item {
                    Some(item) => item.reply(reply),
                    None => reply.null(),
                });
            }
        }
    }

    /// The result as a list.
    fn list(&self, keys: &mut Keyspace, view: View, limits: &EncodingLimits) -> List {
        let mut list = List::new(keys.collection_seed());
        let fill = Fill::new(limits.list_max_listpack_size);
        let mut push = |text: &[u8]| {
            list.before_growing(text.len(), 1, fill);
            list.push(End::Tail, text);
        };
        let mut name = Vec::new();
        for &index in &self.order {
            let element = self.elements.get(index as usize);
            if self.request.get.is_empty() {
                push(element);
            }
            for pattern in &self.request.get {
                pattern.look_up(keys, view, element, &mut name, |item| match item {
                    Some(item) => item.with_bytes(&mut push),
                    None => push(b""),
                });
            }
        }
        list
    }
}
