//! Functions inside an interpreter: `redis.register_function`, and which libraries an interpreter has loaded.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::Arc;

use kora_engine::reply::Protocol;

use crate::context::Job;
use crate::error::Error;
use crate::interpreter::{Interpreter, Running, Step, LOADING_TIMED_OUT};
use crate::library::{self, Function, Library, LibrarySource};
use crate::lua::{Lua, Type};
use crate::redis_api::fail;
use crate::script::Flags;

/// A function that the code of a library has registered.
pub(crate) struct Registered {
    pub(crate) name: Vec<u8>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) flags: Flags,
    /// Its pinned callback.
    pub(crate) callback: c_int,
}

/// The libraries that an interpreter has loaded, by [`Library::id`].
pub(crate) type LoadedLibraries = HashMap<u64, Vec<Registered>>;

/// Takes the callbacks of the context's registered functions out of the registry.
pub(crate) fn unpin_registered(lua: Lua) {
    let registered = lua.context().registered.borrow();
    for function in registered.iter() {
        lua.unpin(function.callback);
    }
    registered.clear();
}

/// `redis.register_function(name, callback)` or `redis.register_function{function_name=, callback=, description=, flags=}`.
pub(crate) extern "C-unwind" fn register_function(lua: Lua) -> c_int {
    let context = lua.context();
    if !context.loading.get() {
        fail(lua, "redis.register_function can only be called on FUNCTION LOAD command");
    }
    // 3: the name, 4: the description, 5: the callback.
    let flags = match lua.top() {
        1 => read_named(lua),
        2 => {
            if !matches!(lua.type_of(1), Type::String | Type::Number) {
                fail(lua, "first argument to redis.register_function must be a string");
            }
            if lua.type_of(2) != Type::Function {
                fail(lua, "second argument to redis.register_function must be a function");
            }
            lua.push_value(1);
            lua.push_nil();
            lua.push_value(2);
            Flags::empty()
        }
        _ => fail(lua, "wrong number of arguments to redis.register_function"),
    };
    let name = lua.text(3).unwrap_or_default();
    if !library::is_name(name) {
        fail(
            lua,
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        );
    }
    let description = lua.text(4);
    let registered = context.registered.borrow();
    if registered.iter().any(|function| function.name == name) {
        fail(lua, "Function already exists in the library");
    }
    lua.push_value(5);
    let callback = lua.pin();
    registered.push(Registered {
        name: name.to_vec(),
        description: description.map(<[u8]>::to_vec),
        flags,
        callback,
    });
    0
}

/// Puts name, description and callback of the table at 1 into 3, 4 and 5.
fn read_named(lua: Lua) -> Flags {
    if lua.type_of(1) != Type::Table {
        fail(
            lua,
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        );
    }
    let mut flags = Flags::empty();
    lua.set_top(5);
    lua.push_nil();
    while lua.next(1) {
        let key = match lua.type_of(-2) {
            Type::String => lua.bytes(-2).unwrap_or_default(),
            Type::Number => b"",
            _ => fail(lua, "named argument key given to redis.register_function is not a string"),
        };
        let is_text = matches!(lua.type_of(-1), Type::String | Type::Number);
        if key.eq_ignore_ascii_case(b"function_name") {
            if !is_text {
                fail(lua, "function_name argument given to redis.register_function must be a string");
            }
            lua.replace(3);
        } else if key.eq_ignore_ascii_case(b"description") {
            if !is_text {
                fail(lua, "description argument given to redis.register_function must be a string");
            }
            lua.replace(4);
        } else if key.eq_ignore_ascii_case(b"callback") {
            if lua.type_of(-1) != Type::Function {
                fail(lua, "callback argument given to redis.register_function must be a function");
            }
            lua.replace(5);
        } else if key.eq_ignore_ascii_case(b"flags") {
            if lua.type_of(-1) != Type::Table {
                fail(
                    lua,
                    "flags argument to redis.register_function must be a table representing function flags",
                );
            }
            flags = read_flags(lua);
            lua.pop(1);
        } else {
            fail(lua, "unknown argument given to redis.register_function");
        }
    }
    if lua.type_of(3) == Type::Nil {
        fail(lua, "redis.register_function must get a function name argument");
    }
    if lua.type_of(5) == Type::Nil {
        fail(lua, "redis.register_function must get a callback argument");
    }
    flags
}

/// The flags that the table on the top lists.
fn read_flags(lua: Lua) -> Flags {
    let mut flags = Flags::empty();
    for i in 1.. {
        lua.push_number(i as f64);
        lua.get(-2);
        if lua.type_of(-1) == Type::Nil {
            lua.pop(1);
            break;
        }
        let flag = lua.text(-1).and_then(Flags::by_name_in_any_case);
        let Some(flag) = flag else {
            fail(lua, "unknown flag given");
        };
        flags |= flag;
        lua.pop(1);
    }
    flags
}

impl Interpreter {
    /// Begins to load a library: runs its code. Go on with [`Running::start`] (no keys, no arguments) until it is done, then
    /// [`Running::finish_loading`]. Redis gives it half a second and then [`Running::kill`]s it with [`LOADING_TIMED_OUT`].
    pub fn load(self, source: &LibrarySource) -> Running {
        let running = self.begin(Job::Load, &[], Protocol::Resp2);
        running.with_source(source.clone())
    }

    /// Begins a function. An interpreter that has not loaded its library does so first.
    pub fn invoke(mut self, library: &Arc<Library>, name: &[u8], protocol: Protocol) -> Running {
        if !self.libraries.contains_key(&library.id()) {
            match self.load_again(library) {
                (interpreter, Ok(())) => self = interpreter,
                (interpreter, Err(error)) => return interpreter.failed(error),
            }
        }
        let functions = self.libraries.get(&library.id()).map(Vec::as_slice).unwrap_or_default();
        match functions.iter().find(|function| function.name == name) {
            Some(function) => {
                let callback = function.callback;
                self.begin(Job::Invoke(callback), name, protocol)
            }
            None => self.failed(Error::of(b"ERR Function not found")),
        }
    }

    /// Loads a library that has been loaded elsewhere.
    fn load_again(self, library: &Arc<Library>) -> (Interpreter, Result<(), Error>) {
        /// Half a second of looks at the time.
        const LOOKS_MAX: u32 = 10_000;
        let mut looks = 0;
        let mut too_long = || {
            looks += 1;
            looks > LOOKS_MAX
        };
        let mut running = self.load(library.source());
        loop {
            let step = match running.start_or_go_on(&mut too_long) {
                Step::Pause => running.kill(LOADING_TIMED_OUT),
                step => step,
            };
            if let Step::Done(_) = step {
                break;
            }
        }
        let (mut interpreter, functions) = running.take_registered();
        let result = functions.map(|functions| {
            interpreter.libraries.insert(library.id(), functions);
        });
        (interpreter, result)
    }

    /// Forgets the libraries that are no more among these.
    pub fn forget_libraries_except(&mut self, libraries: &library::Libraries) {
        let gone: Vec<u64> = self.libraries.keys().copied().filter(|&id| !libraries.has_id(id)).collect();
        for id in gone {
            if let Some(functions) = self.libraries.remove(&id) {
                self.forget_functions(functions);
            }
        }
    }
}

impl Running {
    /// The interpreter and the library that it has loaded, of a running that [`Interpreter::load`] began and that is done. None when it is not.
    pub fn finish_loading(self) -> Option<(Interpreter, Result<Library, Error>)> {
        self.result()?;
        let source = self.source()?.clone();
        let (mut interpreter, functions) = self.take_registered();
        let library = functions.map(|functions| {
            let listed = functions.iter().map(|function| Function {
                name: function.name.as_slice().into(),
                description: function.description.as_deref().map(Into::into),
                flags: function.flags,
            });
            let library = Library::new(source, listed.collect());
            interpreter.libraries.insert(library.id(), functions);
            library
        });
        Some((interpreter, library))
    }

    /// What was registered, or why not.
    fn take_registered(self) -> (Interpreter, Result<Vec<Registered>, Error>) {
        let failed = self.has_failed();
        let text = self.result().map(<[u8]>::to_vec).unwrap_or_default();
        let mut interpreter = self.into_interpreter();
        let functions = interpreter.take_registered();
        if failed {
            interpreter.forget_functions(functions);
            return (interpreter, Err(Error::of(&text)));
        }
        if functions.is_empty() {
            return (interpreter, Err(Error::of(b"ERR No functions registered")));
        }
        (interpreter, Ok(functions))
    }
}
