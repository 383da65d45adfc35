//! Entries and ids in replies, and the errors that several commands share.

use crate::commands::long_reply::Elements;
use crate::error::Error;
use crate::reply::Reply;
use crate::value::item::Item;
use crate::value::stream::{Entry, StreamId};

/// An id as a bulk string.
#[inline]
pub(super) fn id(id: StreamId, reply: &mut dyn Reply) {
    id.with_text(|text| reply.bulk(text));
}

/// An entry: its id, and its fields and values in turn.
#[inline]
pub(super) fn entry(entry: Entry<'_>, reply: &mut dyn Reply) {
    reply.array(2);
    id(entry.id, reply);
    reply.array(2 * entry.fields());
    for (field, value) in entry.pairs() {
        field.reply(reply);
        value.reply(reply);
    }
}

/// Adds an id to elements that are answered later.
pub(super) fn gather_id(id: StreamId, elements: &mut Elements) {
    id.with_text(|text| elements.push(Item::Bytes(text)));
}

/// Adds an entry to elements that are answered later.
pub(super) fn gather_entry(entry: Entry<'_>, elements: &mut Elements) {
    elements.push_array(2);
    gather_id(entry.id, elements);
    elements.push_array(2 * entry.fields());
    for (field, value) in entry.pairs() {
        elements.push(field);
        elements.push(value);
    }
}

/// What an error quotes: nothing from a zero byte on, as in Redis.
fn quoted(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or(text)
}

/// The error of these parts, of which every other one is quoted input.
fn quoting(parts: &[&[u8]]) -> Error {
    let part =
        |(index, part): (usize, &&[u8])| if index % 2 == 1 { quoted(part).to_vec() } else { part.to_vec() };
    Error::owned(parts.iter().enumerate().flat_map(part).collect::<Vec<u8>>())
}

/// There is no such key or no such group.
#[cold]
pub(super) fn no_group(key: &[u8], group: &[u8]) -> Error {
    quoting(&[b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"])
}

/// As [`no_group`], in the words of XREADGROUP.
#[cold]
pub(super) fn no_group_to_read(key: &[u8], group: &[u8]) -> Error {
    quoting(&[
        b"NOGROUP No such key '",
        key,
        b"' or consumer group '",
        group,
        b"' in XREADGROUP with GROUP option",
    ])
}

/// There is the key, but not the group.
#[cold]
pub(super) fn no_group_of_key(key: &[u8], group: &[u8]) -> Error {
    quoting(&[b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// An option that XCLAIM does not have.
#[cold]
pub(super) fn unknown_claim_option(option: &[u8]) -> Error {
    quoting(&[b"ERR Unrecognized XCLAIM option '", option, b"'"])
}

/// A subcommand with arguments that it does not take: its container and its own name, as given.
#[cold]
pub(super) fn wrong_subcommand(container: &str, name: &[u8]) -> Error {
    let name = &name[..name.len().min(128)];
    let rest = format!("'. Try {container} HELP.");
    quoting(&[b"ERR unknown subcommand or wrong number of arguments for '", name, rest.as_bytes()])
}
