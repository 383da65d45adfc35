//! Lists: plain elements, one ziplist, or nodes.

use super::{open_packed, At, Context, Room};
use crate::rdb::packed::{Form, Packed};
use crate::rdb::string::{number, string};
use crate::rdb::{Encoding, Error, Problem, Source};
use crate::value::list::{End, Fill, List};
use crate::value::Collection;

/// A node of a list that is one large element.
const NODE_PLAIN: u64 = 1;
/// A node that is a listpack.
const NODE_PACKED: u64 = 2;

/// A list that is being read.
pub(super) struct ListLoader {
    list: List,
    fill: Fill,
    encoding: Encoding,
    /// Elements or nodes that are still to come; none before that was read.
    left: Option<u64>,
    /// The node that is being read.
    node: Option<Packed>,
}

impl ListLoader {
    pub(super) fn new(encoding: Encoding, context: &Context) -> ListLoader {
        let fill = Fill::new(context.limits.list_max_listpack_size);
        ListLoader { list: List::new(0), fill, encoding, left: None, node: None }
    }

    pub(super) fn advance<S: Source>(
        &mut self,
        source: &mut S,
        room: &mut Room,
        elements: usize,
    ) -> Result<bool, Error> {
        let ListLoader { list, fill, encoding, left, node } = self;
        let left = match left {
            Some(left) => left,
            None if *encoding == Encoding::ListZiplist => left.insert(1),
            None => left.insert(number(source)?),
        };
        let push = |list: &mut List, text: &[u8]| {
            list.before_growing(text.len(), 1, *fill);
            list.push(End::Tail, text);
        };
        for _ in 0..elements {
            if let Some(packed) = node {
                match packed.next().at(source)? {
                    Some(item) => item.with_bytes(|text| push(list, text)),
                    None => room.packed = node.take().map_or_else(Vec::new, Packed::into_room),
                }
                continue;
            }
            if *left == 0 {
                return Ok(true);
            }
            *left -= 1;
            match encoding {
                Encoding::List => push(list, string(source, &mut room.text)?),
                Encoding::ListQuicklist2 => match number(source)? {
                    NODE_PLAIN => push(list, string(source, &mut room.text)?),
                    NODE_PACKED => *node = Some(open_packed(source, room, Form::Listpack)?),
                    _ => return source.refuse(Problem::Malformed("list node")),
                },
                _ => *node = Some(open_packed(source, room, Form::Ziplist)?),
            }
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> List {
        self.list
    }
}
