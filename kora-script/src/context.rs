//! What the functions of an interpreter share: the counted memory, the way back to the driver, and the buffers that must not lie in
//! stack frames (an error of Lua jumps over those). One per interpreter, at a fixed address, found through the allocator's argument.

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};

use corosensei::Yielder;
use kora_engine::reply::Protocol;

use crate::cjson::Settings;
use crate::limits;
use crate::lua::{Lua, Native};

/// Why a script in progress came back to its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It wants a command executed.
    Call,
    /// It asks whether its user may run a command.
    MayCall,
    /// It wrote a line of the log.
    Log,
    /// Its time slice is over.
    Pause,
    /// It has ended, the reply is in [`Context::output`].
    Done,
}

/// What the next run is.
#[derive(Clone, Copy)]
pub(crate) enum Job {
    /// Fill a new state: libraries, globals.
    Furnish,
    /// Turn the lent source into a function and pin it.
    Compile,
    /// Run the pinned function as EVAL does.
    Evaluate(c_int),
    /// Run the pinned function as FCALL does.
    Invoke(c_int),
    /// Run the lent source as FUNCTION LOAD does.
    Load,
    /// Forget pinned functions.
    Forget,
}

/// What [`Job::Compile`] and [`Job::Load`] gave beside what is in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A pinned function.
    Function(c_int),
    /// A reply, or nothing.
    Success,
    /// An error, whose text (without `-`, or as a reply for scripts) is in the output.
    Failure,
}

/// A byte slice that is lent for as long as a resumption takes, or a string that Lua holds.
#[derive(Clone, Copy)]
pub(crate) struct Lent {
    start: *const u8,
    len: usize,
}

impl Lent {
    pub(crate) const NONE: Lent = Lent { start: std::ptr::NonNull::dangling().as_ptr(), len: 0 };

    pub(crate) fn of(bytes: &[u8]) -> Lent {
        Lent { start: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes. What lent them is still there: the caller of the resumption waits for us, or the string is on Lua's stack.
    pub(crate) fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: see above; every place that makes a `Lent` says how long it holds.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// A lent list of arguments.
#[derive(Clone, Copy)]
pub(crate) struct LentList {
    start: *const &'static [u8],
    len: usize,
}

impl LentList {
    pub(crate) const NONE: LentList = LentList { start: std::ptr::NonNull::dangling().as_ptr(), len: 0 };

    pub(crate) fn of(list: &[&[u8]]) -> LentList {
        LentList { start: list.as_ptr().cast(), len: list.len() }
    }

    pub(crate) fn slices<'a>(self) -> &'a [&'a [u8]] {
        // SAFETY: as for `Lent::bytes`.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// A buffer that is borrowed without a guard, since a guard's destructor would be jumped over.
#[derive(Default)]
pub(crate) struct Scratch<T>(UnsafeCell<T>);

impl<T> Scratch<T> {
    /// The buffer. Invariant: one borrow at a time, none while Lua code may run or the script is suspended (except that the driver reads then).
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn borrow(&self) -> &mut T {
        // SAFETY: the invariant above. An interpreter is used by one thread.
        unsafe { &mut *self.0.get() }
    }
}

/// The arguments of a command that a script calls. Strings stay where Lua has them; numbers get a text here.
#[derive(Default)]
pub(crate) struct CallArguments {
    /// Slices into Lua's strings, which are on Lua's stack until the reply comes, and into `numbers`, which does not grow meanwhile.
    pub(crate) list: Vec<&'static [u8]>,
    pub(crate) numbers: Vec<u8>,
}

/// The driver's closure that says whether the time slice is over; lent for a resumption.
pub(crate) type SliceIsOver = *mut (dyn FnMut() -> bool + 'static);

/// Lua's own functions behind those that the sandbox replaces.
#[derive(Clone, Copy)]
pub(crate) struct Natives {
    pub(crate) table_insert: Native,
    pub(crate) table_foreach: Native,
    pub(crate) set_metatable: Native,
    pub(crate) collect_garbage: Native,
    pub(crate) find: Native,
    pub(crate) matches: Native,
    pub(crate) gmatch: Native,
    pub(crate) gsub: Native,
}

/// See the head of the file.
pub(crate) struct Context {
    memory_used: Cell<usize>,
    memory_limit: Cell<usize>,
    /// The way to the driver: the coroutine's yielder lives on its stack for as long as the interpreter does.
    pub(crate) yielder: Cell<*const Yielder<(), Event>>,
    pub(crate) job: Cell<Job>,
    pub(crate) outcome: Cell<Outcome>,
    pub(crate) slice_is_over: Cell<Option<SliceIsOver>>,
    /// The driver wants the script to end.
    pub(crate) killed: Cell<bool>,
    /// The text it is killed with.
    pub(crate) kill_text: Cell<&'static str>,
    /// Where it was when it was killed first, as errors say it: empty until then.
    pub(crate) place_of_kill: Scratch<Vec<u8>>,
    /// The state gets no memory any more: how a killed script ends.
    pub(crate) starved: Cell<bool>,
    /// Elements converted since the time was looked at.
    elements: Cell<u32>,
    /// KEYS, ARGV: lent for the first resumption.
    pub(crate) keys: Cell<LentList>,
    pub(crate) arguments: Cell<LentList>,
    /// A command's reply, or a source: lent for a resumption.
    pub(crate) lent: Cell<Lent>,
    pub(crate) call: Scratch<CallArguments>,
    /// The level of the line in [`Event::Log`]; its text is in `output`.
    pub(crate) log_level: Cell<u8>,
    /// The encoded reply, an error's text, a log line.
    pub(crate) output: Scratch<Vec<u8>>,
    /// Work space of the libraries.
    pub(crate) scratch: Scratch<Vec<u8>>,
    /// What a library's code registers while it is loaded.
    pub(crate) registered: Scratch<Vec<crate::functions::Registered>>,
    pub(crate) loading: Cell<bool>,
    /// A script's SHA1 or a function's name, for the texts of errors.
    pub(crate) name: Scratch<Vec<u8>>,
    /// The protocol of the client that gets the reply.
    pub(crate) reply_protocol: Cell<Protocol>,
    /// The protocol in which the script gets replies.
    pub(crate) call_protocol: Cell<Protocol>,
    /// The reply is an error that a command has raised, which was counted when it ran.
    pub(crate) error_was_counted: Cell<bool>,
    /// The 48 bits of `math.random`'s generator.
    pub(crate) random: Cell<u64>,
    /// cjson's settings.
    pub(crate) json: Cell<Settings>,
    pub(crate) natives: Cell<Option<Natives>>,
    /// The script has told the collector how to work.
    pub(crate) collector_touched: Cell<bool>,
}

impl Context {
    pub(crate) fn new(memory_limit: usize) -> Context {
        Context {
            memory_used: Cell::new(0),
            memory_limit: Cell::new(memory_limit),
            yielder: Cell::new(std::ptr::null()),
            job: Cell::new(Job::Furnish),
            outcome: Cell::new(Outcome::Success),
            slice_is_over: Cell::new(None),
            killed: Cell::new(false),
            kill_text: Cell::new(""),
            place_of_kill: Scratch::default(),
            starved: Cell::new(false),
            elements: Cell::new(0),
            keys: Cell::new(LentList::NONE),
            arguments: Cell::new(LentList::NONE),
            lent: Cell::new(Lent::NONE),
            call: Scratch::default(),
            log_level: Cell::new(0),
            output: Scratch::default(),
            scratch: Scratch::default(),
            registered: Scratch::default(),
            loading: Cell::new(false),
            name: Scratch::default(),
            reply_protocol: Cell::new(Protocol::Resp2),
            call_protocol: Cell::new(Protocol::Resp2),
            error_was_counted: Cell::new(false),
            random: Cell::new(crate::math::INITIAL),
            json: Cell::new(Settings::DEFAULT),
            natives: Cell::new(None),
            collector_touched: Cell::new(false),
        }
    }

    /// Bytes that the state holds.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory_used.get()
    }

    pub(crate) fn memory_limit(&self) -> usize {
        self.memory_limit.get()
    }

    /// Gives the driver the event and comes back when it resumes.
    pub(crate) fn suspend(&self, event: Event) {
        // SAFETY: we are on the coroutine's stack (all code of a state runs there), whose yielder this is.
        unsafe { (*self.yielder.get()).suspend(event) }
    }

    /// Remembers the line that runs.
    pub(crate) fn note_place_of_kill(&self, lua: Lua) {
        let place = self.place_of_kill.borrow();
        if !place.is_empty() {
            return;
        }
        let frame = (0..3).filter_map(|level| lua.frame(level)).find(|frame| !frame.native);
        if let Some(frame) = frame {
            place.extend_from_slice(frame.source.to_bytes());
            place.push(b':');
            place.extend_from_slice(itoa::Buffer::new().format(frame.line).as_bytes());
        }
    }

    /// Makes it a script that nobody has killed.
    pub(crate) fn revive(&self) {
        self.killed.set(false);
        self.starved.set(false);
        self.place_of_kill.borrow().clear();
    }

    /// Asks the driver whether the slice is over, and pauses if so. Whether the script must end.
    pub(crate) fn look_at_the_time(&self) -> bool {
        if let Some(is_over) = self.slice_is_over.get() {
            // SAFETY: lent for this resumption, in which we are; nothing else calls it.
            if !self.killed.get() && unsafe { (*is_over)() } {
                self.suspend(Event::Pause);
            }
        }
        self.killed.get()
    }

    /// Counts an element of native work and looks at the time now and then. Whether the script must end.
    #[inline]
    pub(crate) fn element_done(&self) -> bool {
        let elements = self.elements.get() + 1;
        self.elements.set(elements);
        if elements < limits::SLICE_ELEMENTS {
            return false;
        }
        self.elements.set(0);
        self.look_at_the_time()
    }

    /// Makes buffers small that have become large.
    pub(crate) fn trim(&self) {
        for buffer in [self.scratch.borrow(), self.output.borrow(), &mut self.call.borrow().numbers] {
            if buffer.capacity() > limits::KEPT_BUFFER_BYTES {
                *buffer = Vec::new();
            }
        }
        if self.call.borrow().list.capacity() > limits::KEPT_BUFFER_BYTES / 16 {
            self.call.borrow().list = Vec::new();
        }
    }
}

/// Lua needs no more for its numbers and pointers.
const ALIGN: usize = 8;

/// Lua's allocator: Rust's, counted and limited. `context` is the argument that [`crate::lua::Lua::create`] has given.
pub(crate) unsafe extern "C" fn allocate(
    context: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the context outlives the state. Lua gives the size of the block with which it was allocated here, and asks for no size near `isize::MAX`
    // (its own limit); a refused growth leaves the block as it was. Lua relies on shrinking not to fail: the limit is only for growth.
    unsafe {
        let context = &*context.cast::<Context>();
        let used = context.memory_used.get();
        let old = if block.is_null() { 0 } else { old };
        if new == 0 {
            if old != 0 {
                std::alloc::dealloc(block.cast(), Layout::from_size_align_unchecked(old, ALIGN));
                context.memory_used.set(used - old);
            }
            return std::ptr::null_mut();
        }
        if new > old
            && (context.starved.get()
                || new > isize::MAX as usize / 2
                || used - old + new > context.memory_limit.get())
        {
            return std::ptr::null_mut();
        }
        let moved = if old == 0 {
            std::alloc::alloc(Layout::from_size_align_unchecked(new, ALIGN))
        } else {
            std::alloc::realloc(block.cast(), Layout::from_size_align_unchecked(old, ALIGN), new)
        };
        if !moved.is_null() {
            context.memory_used.set(used - old + new);
        }
        moved.cast()
    }
}
