//! COPY of what is large: in slices, and yet the copy is of one moment.
//!
//! The copy grows beside the keyspace while others run. When one of them changes the source, it begins again; after
//! [`RESTARTS_MAX`] beginnings it goes through without a pause, so that it ends whatever others do.

use super::generic::CopyOptions;
use super::watched::{Touched, RESTARTS_MAX};
use crate::change::UnixMs;
use crate::exec::{Continuation, Flow};
use crate::keyspace::View;
use crate::reply::Reply;
use crate::shard::Shard;
use crate::table::ValueRef;
use crate::value::Object;
use std::cell::RefCell;
use std::rc::Rc;

/// Blocks of memory up to which a value is copied at once: some 200 us of work.
const BLOCKS_AT_ONCE: usize = 1024;

/// Elements that are copied in the time of a visit to one segment.
const ELEMENTS_PER_SEGMENT: usize = 64;

/// A key and where its copy goes.
struct Request {
    source: Vec<u8>,
    /// Of the source.
    view: View,
    destination: Vec<u8>,
    options: CopyOptions,
}

/// What goes on later when the value is large; none when it is not. `argv` is that of COPY.
pub(super) fn later(shard: &mut Shard, view: View, argv: &[&[u8]], options: CopyOptions) -> Option<Flow> {
    let key = shard.keys.key(argv[1]);
    let empty = match shard.keys.peek(view, &key)?.value() {
        ValueRef::Object(object) => {
            object.with(|object| (object.blocks() > BLOCKS_AT_ONCE).then(|| object.empty_like()))?
        }
        _ => return None,
    };
    let request = Request { source: argv[1].to_vec(), view, destination: argv[2].to_vec(), options };
    // The copy takes the expiry that the key has at the end: another expiry does not touch it.
    let watch = Touched::observe(&mut shard.keys.changes, view.db, &request.source);
    Some(Flow::Later(Box::new(Copying { request, copy: Some(empty), position: 0, beginnings: 1, watch })))
}

/// A copy under way.
struct Copying {
    request: Request,
    /// What there is of it; taken when it is complete.
    copy: Option<Object>,
    position: u64,
    beginnings: u32,
    watch: Rc<RefCell<Touched>>,
}

impl Copying {
    /// Copies about so many elements more; none when there is nothing of this type to copy any more.
    fn advance(&mut self, shard: &mut Shard, elements: usize) -> Option<bool> {
        let key = shard.keys.key(&self.request.source);
        let entry = shard.keys.peek(self.request.view, &key)?;
        let ValueRef::Object(object) = entry.value() else { return None };
        let copy = self.copy.as_mut()?;
        object.with(|object| object.copy_some(copy, &mut self.position, elements))
    }

    /// Throws away what there is, and begins with what the key holds now.
    fn begin_again(&mut self, shard: &mut Shard) {
        (self.position, self.beginnings) = (0, self.beginnings + 1);
        let key = shard.keys.key(&self.request.source);
        let entry = shard.keys.peek(self.request.view, &key);
        let empty = match entry.map(|entry| entry.value()) {
            Some(ValueRef::Object(object)) => Some(object.with(Object::empty_like)),
            _ => None,
        };
        if let Some(begun) = std::mem::replace(&mut self.copy, empty) {
            begun.discard();
        }
    }

    /// Puts the copy, or what is no collection (any more), in its place.
    fn end(&mut self, shard: &mut Shard, reply: &mut dyn Reply) {
        let Request { source, view, destination, options } = &self.request;
        let (target, replace) = (view.in_db(options.db), options.replace);
        let keys = &mut shard.keys;
        let (from, to) = (keys.key(source), keys.key(destination));
        let copy = self.copy.take();
        let source = keys.peek(*view, &from).map(|entry| entry.expire_at());
        let done = match (source, copy) {
            (Some(expire_at), Some(copy)) if replace || !keys.exists(target, &to) => {
                keys.put_object(target, &to, copy, expire_at);
                true
            }
            (Some(_), None) if replace || !keys.exists(target, &to) => {
                let entry = keys.copy_of(*view, &from).expect("it is there");
                keys.put(target, &to, entry);
                true
            }
            (_, copy) => {
                copy.into_iter().for_each(Object::discard);
                false
            }
        };
        reply.integer(done as i64);
    }
}

impl Continuation for Copying {
    fn resume(&mut self, shard: &mut Shard, now: UnixMs, budget: usize, reply: &mut dyn Reply) -> bool {
        self.request.view.now = now;
        shard.keys.expire_now(self.request.view, &[&self.request.source]);
        if self.watch.borrow_mut().take() {
            self.begin_again(shard);
        }
        let elements = if self.beginnings < RESTARTS_MAX {
            budget.max(1).saturating_mul(ELEMENTS_PER_SEGMENT)
        } else {
            usize::MAX
        };
        match self.advance(shard, elements) {
            Some(false) => return false,
            Some(true) => {}
            // A string, or nothing: it is soon copied.
            None => self.copy.take().into_iter().for_each(Object::discard),
        }
        self.end(shard, reply);
        true
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // The client may have gone, and the slices with it.
        self.copy.take().into_iter().for_each(Object::discard);
    }
}
