//! What BY and GET name: for each element a key, or a field of a hash, whose name has the element in place of an asterisk.

use crate::keyspace::{Keyspace, View};
use crate::table::ValueRef;
use crate::value::hash::Hash;
use crate::value::item::Item;

/// A pattern of BY or GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `#`: the element itself.
    Element,
    /// No asterisk: it names nothing.
    Nothing,
    /// A string key.
    Key { before: Vec<u8>, after: Vec<u8> },
    /// A field of a hash: `key*->field`.
    Field { before: Vec<u8>, after: Vec<u8>, field: Vec<u8> },
}

impl Pattern {
    /// Reads a pattern. As in Redis, where it is a C string in this respect, asterisk and arrow are not looked for
    /// behind a zero byte.
    pub(super) fn parse(text: &[u8]) -> Pattern {
        if text == b"#" {
            return Pattern::Element;
        }
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let Some(star) = text[..end].iter().position(|&byte| byte == b'*') else { return Pattern::Nothing };
        let before = text[..star].to_vec();
        let arrow = text[star + 1..end].windows(2).position(|pair| pair == b"->").map(|at| star + 1 + at);
        match arrow.filter(|arrow| arrow + 2 < end) {
            None => Pattern::Key { before, after: text[star + 1..].to_vec() },
            Some(arrow) => Pattern::Field {
                before,
                after: text[star + 1..arrow].to_vec(),
                field: text[arrow + 2..].to_vec(),
            },
        }
    }

    /// Whether it names keys at all.
    pub(super) fn names_keys(&self) -> bool {
        matches!(self, Pattern::Key { .. } | Pattern::Field { .. })
    }

    /// Whether the name of some element's key could be this one.
    pub(super) fn can_name(&self, key: &[u8]) -> bool {
        match self {
            Pattern::Element | Pattern::Nothing => false,
            Pattern::Key { before, after } | Pattern::Field { before, after, .. } => {
                key.len() >= before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
            }
        }
    }

    /// Calls with what the pattern names for an element, if it is there. `name` is room for a key's name.
    pub(super) fn look_up<T>(
        &self,
        keys: &mut Keyspace,
        view: View,
        element: &[u8],
        name: &mut Vec<u8>,
        f: impl FnOnce(Option<Item<'_>>) -> T,
    ) -> T {
        let (before, after) = match self {
            Pattern::Element => return f(Some(Item::of(element))),
            Pattern::Nothing => return f(None),
            Pattern::Key { before, after } | Pattern::Field { before, after, .. } => (before, after),
        };
        name.clear();
        name.extend_from_slice(before);
        name.extend_from_slice(element);
        name.extend_from_slice(after);
        let key = keys.key(name);
        if let Pattern::Field { field, .. } = self {
            let hash = keys.read::<Hash>(view, &key).ok().flatten();
            return match hash.as_ref().and_then(|hash| hash.get(field, view.now)) {
                Some(found) => found.value.element().with_item(|value| f(Some(value))),
                None => f(None),
            };
        }
        let value = keys.get(view, &key).map(|entry| entry.value());
        f(value.and_then(|value| match value {
            ValueRef::Int(int) => Some(Item::Int(int)),
            ValueRef::Bytes(bytes) => Some(Item::Bytes(bytes)),
            ValueRef::Shared(bytes) => Some(Item::Bytes(bytes)),
            ValueRef::Object(_) => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(before: &str, after: &str) -> Pattern {
        Pattern::Key { before: before.into(), after: after.into() }
    }

    fn field(before: &str, after: &str, field: &str) -> Pattern {
        Pattern::Field { before: before.into(), after: after.into(), field: field.into() }
    }

    #[test]
    fn the_first_asterisk_and_the_first_arrow_behind_it_count() {
        for (text, pattern) in [
            ("#", Pattern::Element),
            ("##", Pattern::Nothing),
            ("nosort", Pattern::Nothing),
            ("", Pattern::Nothing),
            ("*", key("", "")),
            ("w_*_x*", key("w_", "_x*")),
            ("h_*->f", field("h_", "", "f")),
            ("h_*_x->f->g", field("h_", "_x", "f->g")),
            ("h->*->f", field("h->", "", "f")),
            ("h->*", key("h->", "")),
            ("h_*->", key("h_", "->")),
            ("a\0*", Pattern::Nothing),
            ("*->\0", key("", "->\0")),
        ] {
            assert_eq!(Pattern::parse(text.as_bytes()), pattern, "{text:?}");
        }
    }

    #[test]
    fn it_is_known_which_keys_could_be_meant() {
        let pattern = key("w_", "_x");
        assert!(pattern.can_name(b"w__x") && pattern.can_name(b"w_17_x"));
        assert!(!pattern.can_name(b"w_x") && !pattern.can_name(b"w_17"));
        assert!(!Pattern::Nothing.can_name(b"") && !Pattern::Element.can_name(b"#"));
    }
}
