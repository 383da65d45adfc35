//! Sets: plain members, integers, or a listpack.

use super::{At, Context, Room, Rows};
use crate::rdb::packed::Form;
use crate::rdb::string::string;
use crate::rdb::{Encoding, Error, Problem, Source};
use crate::value::set::{Rules, Set};

const DUPLICATE: Problem = Problem::Duplicate("member of a set");

/// A set that is being read.
pub(super) struct SetLoader {
    set: Set,
    rules: Rules,
    form: Option<Form>,
    rows: Rows,
}

impl SetLoader {
    pub(super) fn new(encoding: Encoding, context: &Context) -> SetLoader {
        let rules = Rules::new(&context.limits, context.seed);
        let (set, rules, form) = match encoding {
            // Members of any length stay packed: whoever has packed them had the limits for it.
            Encoding::SetListpack => (Set::packed(), rules.of_any_length(), Some(Form::Listpack)),
            Encoding::SetIntset => (Set::of_ints(), rules, Some(Form::Intset)),
            _ => (Set::of_ints(), rules, None),
        };
        SetLoader { set, rules, form, rows: Rows::Unread }
    }

    pub(super) fn advance<S: Source>(
        &mut self,
        source: &mut S,
        room: &mut Room,
        elements: usize,
    ) -> Result<bool, Error> {
        let SetLoader { set, rules, form, rows } = self;
        if let Rows::Unread = rows {
            *rows = Rows::open(source, room, *form)?;
            if let Rows::Plain(members) = rows {
                set.expect(usize::try_from(*members).unwrap_or(usize::MAX), rules);
            }
        }
        for _ in 0..elements {
            let is_new = match rows {
                Rows::Plain(0) => return Ok(true),
                Rows::Plain(left) => {
                    *left -= 1;
                    set.insert(string(source, &mut room.text)?, rules)
                }
                Rows::Packed(packed) => match packed.next().at(source)? {
                    Some(member) => member.with_bytes(|member| set.insert(member, rules)),
                    None => return Ok(true),
                },
                Rows::Unread => unreachable!("read above"),
            };
            if !is_new {
                return source.refuse(DUPLICATE);
            }
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Set {
        self.set
    }
}
