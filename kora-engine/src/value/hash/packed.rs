//! Pairs of a small hash in one buffer.
//!
//! ```text
//! plain       | pairs u16 |                | field value | field value | ...
//! expiring    | pairs u16 | expiring u16   | time field value | ... | field value | ...
//! ```
//!
//! Fields and values are [`Element`]s: most take three quarters of their text. Times are unix milliseconds in 6 bytes ([`EXPIRY_MAX`]), numbers little-endian. An
//! empty hash is an empty buffer. Pairs stand in the order in which they came. In the second form those that expire come first, by
//! time, and only they pay for one: so what is due is a prefix, and the earliest time is where the pairs begin. (It is also
//! the order in which Redis keeps and lists them.) A pair whose expiry changes moves.
//!
//! Everything is a walk from the start: a packed hash has at most as many pairs as `hash-max-listpack-entries` says, 512
//! unless configured, and the walk over them is a few kilobytes. What is looked for is encoded once, and the walk neither decodes nor
//! compares more than a word of each pair.

use super::EXPIRY_MAX;
use crate::change::UnixMs;
use crate::value::buffer::Buffer;
use crate::value::element::{self, Element, Encoded, Needle};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::ops::Range;

/// Most pairs that a packed hash can count.
pub(super) const PAIRS_MAX: usize = u16::MAX as usize;

/// A packed hash does not grow beyond this, however the limits are configured: a walk over it would take too long.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// Bytes of an expiry.
pub(super) const TIME_LEN: usize = 6;

/// Unused bytes that are not worth a reallocation, beside half of the buffer.
const SLACK_MAX: usize = 64;

/// Encoded pairs that fit are not allocated.
type Scratch = SmallVec<[u8; 128]>;

/// Whether a buffer has the second form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Expiring,
}

impl Form {
    /// Bytes before the first pair.
    const fn head_len(self) -> usize {
        match self {
            Form::Plain => 2,
            Form::Expiring => 4,
        }
    }
}

/// A packed hash, for reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    bytes: &'a [u8],
    form: Form,
}

/// One pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) field: Element<'a>,
    pub(super) value: Element<'a>,
    pub(super) expire_at: Option<UnixMs>,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]) as usize
}

/// The time that starts at `at`.
pub(super) fn time_at(bytes: &[u8], at: usize) -> UnixMs {
    let mut word = [0; 8];
    word[..TIME_LEN].copy_from_slice(&bytes[at..at + TIME_LEN]);
    u64::from_le_bytes(word)
}

impl<'a> Packed<'a> {
    pub(super) fn new(bytes: &'a [u8], form: Form) -> Packed<'a> {
        Packed { bytes, form }
    }

    /// Number of pairs.
    #[inline]
    pub(super) fn len(self) -> usize {
        if self.bytes.is_empty() {
            0
        } else {
            u16_at(self.bytes, 0)
        }
    }

    /// How many of them expire; they are the first ones.
    #[inline]
    pub(super) fn expiring(self) -> usize {
        if self.form == Form::Plain || self.bytes.is_empty() {
            0
        } else {
            u16_at(self.bytes, 2)
        }
    }

    /// When the first pair expires.
    pub(super) fn first_expiry(self) -> Option<UnixMs> {
        (self.expiring() > 0).then(|| time_at(self.bytes, self.form.head_len()))
    }

    /// How many pairs are past their time; they are the first ones.
    pub(super) fn due(self, now: UnixMs) -> usize {
        match self.first_expiry() {
            Some(first) if first < now => {
                self.spans().take_while(|&span| self.expire_at(span).is_some_and(|at| at < now)).count()
            }
            _ => 0,
        }
    }

    /// Where the pairs lie, in their order.
    #[inline]
    pub(super) fn spans(self) -> Spans<'a> {
        Spans { bytes: self.bytes, at: self.form.head_len(), left: self.len(), expiring: self.expiring() }
    }

    /// All pairs, in their order.
    #[inline]
    pub(super) fn pairs(self) -> impl Iterator<Item = Pair<'a>> {
        self.spans().map(move |span| self.pair(span))
    }

    /// The pair that lies there.
    #[inline]
    pub(super) fn pair(self, span: Span) -> Pair<'a> {
        let (field, _) = Element::decode(self.bytes, span.field);
        Pair { field, value: self.value(span), expire_at: self.expire_at(span) }
    }

    /// The value of the pair that lies there.
    #[inline]
    pub(super) fn value(self, span: Span) -> Element<'a> {
        Element::decode(self.bytes, span.value).0
    }

    /// When the pair that lies there expires.
    #[inline]
    pub(super) fn expire_at(self, span: Span) -> Option<UnixMs> {
        span.expires().then(|| time_at(self.bytes, span.start))
    }

    /// Where the pair of a field lies.
    #[inline]
    pub(super) fn find(self, field: &Needle<'_>) -> Option<Span> {
        self.spans().find(|span| field.is_at(self.bytes, span.field))
    }

    /// Where the pair of a field lies that is given as a text.
    #[inline]
    pub(super) fn find_text(self, field: &[u8]) -> Option<Span> {
        if field.len() > BYTES_MAX {
            return None;
        }
        self.find(&Needle::new(&Encoded::of(field)))
    }
}

/// Where the pairs of a packed hash lie.
#[derive(Debug, Clone)]
pub(super) struct Spans<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
    expiring: usize,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    #[inline]
    fn next(&mut self) -> Option<Span> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let start = self.at;
        let mut field = start;
        if self.expiring > 0 {
            self.expiring -= 1;
            field += TIME_LEN;
        }
        let value = element::next(self.bytes, field);
        self.at = element::next(self.bytes, value);
        Some(Span { start, field, value, end: self.at })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Spans<'_> {}

fn put_time(expire_at: UnixMs, out: &mut Scratch) {
    assert!(expire_at <= EXPIRY_MAX, "commands refuse later times");
    out.extend_from_slice(&expire_at.to_le_bytes()[..TIME_LEN]);
}

fn set_counts(buffer: &mut Buffer, form: Form, pairs: usize, expiring: usize) {
    buffer[..2].copy_from_slice(&(pairs as u16).to_le_bytes());
    if form == Form::Expiring {
        buffer[2..4].copy_from_slice(&(expiring as u16).to_le_bytes());
    }
}

/// Where a pair that expires at this time goes: behind those that expire earlier.
fn place_of(packed: Packed<'_>, expire_at: UnixMs) -> usize {
    let earlier = |span: &Span| packed.expire_at(*span).is_some_and(|at| at < expire_at);
    packed.spans().take_while(earlier).last().map_or(packed.form.head_len(), |span| span.end)
}

/// Adds a pair whose field is not there yet.
pub(super) fn insert(
    buffer: &mut Buffer,
    form: Form,
    field: &Encoded<'_>,
    value: &Encoded<'_>,
    expire_at: Option<UnixMs>,
) {
    let len = field.len() + value.len();
    if buffer.is_empty() {
        buffer.reserve(form.head_len() + len + expire_at.map_or(0, |_| TIME_LEN));
        buffer.extend_from_slice(&[0; 4][..form.head_len()]);
    }
    let packed = Packed::new(buffer, form);
    let (pairs, expiring) = (packed.len(), packed.expiring());
    assert!(pairs < PAIRS_MAX, "the caller has converted it before");
    match expire_at {
        None => {
            buffer.reserve(len);
            field.append_to(buffer);
            value.append_to(buffer);
        }
        Some(at) => {
            assert!(form == Form::Expiring);
            let place = place_of(packed, at);
            let mut pair = Scratch::new();
            put_time(at, &mut pair);
            field.append_to(&mut pair);
            value.append_to(&mut pair);
            buffer.splice(place..place, &pair);
        }
    }
    set_counts(buffer, form, pairs + 1, expiring + expire_at.is_some() as usize);
}

/// Gives a pair another value; its place and its expiry stay. Returns where it lies now.
pub(super) fn set_value(buffer: &mut Buffer, span: Span, value: &Encoded<'_>) -> Span {
    let end = span.value + value.len();
    if end == span.end {
        value.write(&mut buffer[span.value..end]);
    } else {
        let mut encoded = Scratch::new();
        value.append_to(&mut encoded);
        buffer.splice(span.value..span.end, &encoded);
    }
    Span { end, ..span }
}

/// Gives a pair of the second form another expiry, or none: it moves.
pub(super) fn set_expiry(buffer: &mut Buffer, span: Span, expire_at: Option<UnixMs>) {
    let mut pair = Scratch::new();
    if let Some(at) = expire_at {
        put_time(at, &mut pair);
    }
    pair.extend_from_slice(&buffer[span.field..span.end]);
    let packed = Packed::new(buffer, Form::Expiring);
    let (pairs, expiring) = (packed.len(), packed.expiring() - span.expires() as usize);
    buffer.splice(span.start..span.end, &[]);
    set_counts(buffer, Form::Expiring, pairs - 1, expiring);
    let place = match expire_at {
        None => buffer.len(),
        Some(at) => place_of(Packed::new(buffer, Form::Expiring), at),
    };
    buffer.splice(place..place, &pair);
    set_counts(buffer, Form::Expiring, pairs, expiring + expire_at.is_some() as usize);
}

/// Where a pair lies; it holds until the buffer changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: usize,
    field: usize,
    value: usize,
    end: usize,
}

impl Span {
    /// Whether the pair has a time, which stands before the field.
    #[inline]
    fn expires(self) -> bool {
        self.field > self.start
    }
}

/// Removes a pair.
pub(super) fn remove(buffer: &mut Buffer, form: Form, span: Span) {
    cut(buffer, form, span.start..span.end, 1, span.expires() as usize);
}

/// Removes the first `count` pairs, all of which expire.
pub(super) fn remove_first(buffer: &mut Buffer, form: Form, count: usize) {
    let packed = Packed::new(buffer, form);
    assert!(count <= packed.expiring());
    let Some(last) = packed.spans().take(count).last() else { return };
    let end = last.end;
    cut(buffer, form, form.head_len()..end, count, count);
}

/// Removes a range of bytes that holds `pairs` pairs, of which `expiring` expire.
fn cut(buffer: &mut Buffer, form: Form, range: Range<usize>, pairs: usize, expiring: usize) {
    let packed = Packed::new(buffer, form);
    let (pairs, expiring) = (packed.len() - pairs, packed.expiring() - expiring);
    if pairs == 0 {
        *buffer = Buffer::new();
        return;
    }
    buffer.splice(range, &[]);
    set_counts(buffer, form, pairs, expiring);
    if buffer.capacity() > 2 * buffer.len() + SLACK_MAX {
        buffer.shrink_to_fit();
    }
}

/// Makes the second form of the first one.
pub(super) fn to_expiring(buffer: &mut Buffer) {
    if !buffer.is_empty() {
        buffer.splice(2..2, &[0, 0]);
    }
}

/// The pairs as bytes, as they lie in the buffer.
pub(super) fn body(buffer: &Buffer, form: Form) -> &[u8] {
    buffer.get(form.head_len()..).unwrap_or(&[])
}

/// A buffer with this body, none when it is not one: pairs that are not as many, fields that come twice, times out of order,
/// elements that are not the encoding of their text.
pub(super) fn from_body(form: Form, pairs: usize, expiring: usize, body: &[u8]) -> Option<Buffer> {
    if pairs == 0 || pairs > PAIRS_MAX || expiring > pairs || (form == Form::Plain && expiring > 0) {
        return None;
    }
    let mut fields = HashSet::new();
    let (mut at, mut latest) = (0, 0);
    for index in 0..pairs {
        if index < expiring {
            let time = time_at(body.get(at..at + TIME_LEN)?, 0);
            if time < latest || time > EXPIRY_MAX {
                return None;
            }
            (at, latest) = (at + TIME_LEN, time);
        }
        let (_, value) = Element::try_decode_canonical(body, at)?;
        let (_, end) = Element::try_decode_canonical(body, value)?;
        if !fields.insert(&body[at..value]) {
            return None;
        }
        at = end;
    }
    if at != body.len() {
        return None;
    }
    let mut buffer = Buffer::with_capacity(form.head_len() + body.len());
    buffer.extend_from_slice(&[0; 4][..form.head_len()]);
    buffer.extend_from_slice(body);
    set_counts(&mut buffer, form, pairs, expiring);
    Some(buffer)
}
