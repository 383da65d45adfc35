//! Sorted sets: members with scores as text or as doubles, or both in turn in a ziplist or listpack.

use super::{At, Context, Room, Rows};
use crate::double;
use crate::rdb::packed::{Form, Packed};
use crate::rdb::string::string;
use crate::rdb::{Encoding, Error, Problem, Source};
use crate::value::item::Item;
use crate::value::zset::{Growth, Zset};
use crate::value::Collection;

const SCORE: Problem = Problem::Malformed("score");

/// A sorted set that is being read.
pub(super) struct ZsetLoader {
    zset: Zset,
    growth: Growth,
    form: Option<Form>,
    /// Of plain members: whether the scores are text.
    is_text: bool,
    rows: Rows,
}

impl ZsetLoader {
    pub(super) fn new(encoding: Encoding, context: &Context) -> ZsetLoader {
        let growth = Growth::new(&context.limits, context.seed);
        let (form, growth) = match encoding {
            // Whoever has packed the members had the limits for it.
            Encoding::ZsetZiplist => (Some(Form::Ziplist), growth.of_any_length()),
            Encoding::ZsetListpack => (Some(Form::Listpack), growth.of_any_length()),
            _ => (None, growth),
        };
        let is_text = encoding == Encoding::Zset;
        ZsetLoader { zset: Zset::new(context.seed), growth, form, is_text, rows: Rows::Unread }
    }

    pub(super) fn advance<S: Source>(
        &mut self,
        source: &mut S,
        room: &mut Room,
        elements: usize,
    ) -> Result<bool, Error> {
        let ZsetLoader { zset, growth, form, is_text, rows } = self;
        if let Rows::Unread = rows {
            *rows = Rows::open(source, room, *form)?;
            if let Rows::Plain(members) = rows {
                zset.expect(usize::try_from(*members).unwrap_or(usize::MAX), 0, *growth);
            }
        }
        for _ in 0..elements {
            let Room { text, first, .. } = room;
            let score = match rows {
                Rows::Plain(0) => return Ok(true),
                Rows::Plain(left) => {
                    *left -= 1;
                    first.clear();
                    first.extend_from_slice(string(source, text)?);
                    if *is_text {
                        score_in_text(source)?
                    } else {
                        f64::from_le_bytes(source.array()?)
                    }
                }
                Rows::Packed(packed) => match packed.next().at(source)? {
                    None => return Ok(true),
                    Some(member) => {
                        first.clear();
                        member.with_bytes(|member| first.extend_from_slice(member));
                        packed_score(packed, source)?
                    }
                },
                Rows::Unread => unreachable!("read above"),
            };
            if score.is_nan() {
                return source.refuse(SCORE);
            }
            if !zset.insert(first, score, *growth) {
                return source.refuse(Problem::Duplicate("member of a sorted set"));
            }
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Zset {
        self.zset
    }
}

/// A score as Redis up to 3.2 wrote it: a byte for the length of its text, or for a number that has none.
fn score_in_text<S: Source>(source: &mut S) -> Result<f64, Error> {
    match source.byte()? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => {
            let score = double::parse(source.bytes(len as usize)?);
            score.ok_or_else(|| source.error(SCORE))
        }
    }
}

fn packed_score<S: Source>(packed: &mut Packed, source: &S) -> Result<f64, Error> {
    match packed.need().at(source)? {
        Item::Int(int) => Ok(int as f64),
        Item::Bytes(text) => double::parse(text).ok_or_else(|| source.error(SCORE)),
    }
}
