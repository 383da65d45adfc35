//! The native stack of an interpreter. All code of a state runs on it, from a coroutine that never ends: it takes a job, runs it, says that
//! it is done and waits for the next one. So a script can be suspended anywhere, also where Lua's own coroutines cannot (below `pcall`, in a hook,
//! in a comparison function of `table.sort`), and a resumption costs a switch of stacks, some nanoseconds.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use crate::context::{Context, Event};
use crate::limits::NATIVE_STACK_BYTES;
use crate::lua::Lua;

/// See the head of the file.
pub(crate) struct Fiber(Coroutine<(), Event, (), DefaultStack>);

impl Fiber {
    /// A fiber that calls `run` for each job. The context must outlive it.
    pub(crate) fn new(lua: Lua, run: fn(Lua)) -> std::io::Result<Fiber> {
        let stack = DefaultStack::new(NATIVE_STACK_BYTES)?;
        Ok(Fiber(Coroutine::with_stack(stack, move |yielder, ()| {
            let context: &Context = lua.context();
            context.yielder.set(yielder);
            loop {
                run(lua);
                yielder.suspend(Event::Done);
            }
        })))
    }

    /// Goes on with the script, or with the next job.
    #[inline]
    pub(crate) fn resume(&mut self) -> Event {
        match self.0.resume(()) {
            CoroutineResult::Yield(event) => event,
            CoroutineResult::Return(()) => unreachable!("the loop has no end"),
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        // SAFETY: nothing on the coroutine's stack has a destructor that must run: frames of Lua, frames of this crate above a call that
        // may raise (see `crate::lua`, 3), and the loop above, which owns copies of pointers.
        unsafe { self.0.force_reset() }
    }
}
