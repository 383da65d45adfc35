//! Scripts and libraries of functions that the process knows, and each executor's copies of them.
//!
//! The process has one set behind a lock. An executor keeps copies of what it has used, so that a script that is known costs no lock and no
//! shared counter; a number that changes with every removal tells it when its copies may be stale.

use crate::process::lock;
use kora_engine::error::Error;
use kora_script::{Digest, Interpreter, Libraries, Library, Script, Scripts};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// How many scripts of EVAL are kept that were not loaded with SCRIPT LOAD; Redis keeps as many.
const EVALUATED_MAX: usize = 500;

/// Interpreters that an executor keeps while none of them runs.
const IDLE_MAX: usize = 4;

/// What the whole process knows.
#[derive(Default)]
pub struct Store {
    known: Mutex<Known>,
    /// Changes when something is removed or replaced.
    generation: AtomicU64,
}

/// Scripts and libraries.
#[derive(Default)]
pub struct Known {
    /// By SHA1.
    pub scripts: Scripts,
    /// Scripts that came with EVAL, oldest first.
    evaluated: VecDeque<Digest>,
    /// All that are loaded.
    pub libraries: Libraries,
}

impl Store {
    /// The lock is held for lookups only, never while a script runs.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// SCRIPT LOAD.
    pub fn load(&self, script: Arc<Script>) {
        let mut known = self.known();
        known.evaluated.retain(|digest| digest != script.digest());
        known.scripts.insert(script);
    }

    /// EVAL of a script that compiles.
    fn evaluated(&self, script: Arc<Script>) {
        let mut known = self.known();
        if known.scripts.get(script.sha()).is_some() {
            return;
        }
        known.evaluated.push_back(*script.digest());
        known.scripts.insert(script);
        if known.evaluated.len() > EVALUATED_MAX {
            let oldest = known.evaluated.pop_front().expect("there are many");
            known.scripts.remove(&oldest);
            drop(known);
            self.changed();
        }
    }

    /// SCRIPT FLUSH.
    pub fn flush_scripts(&self) {
        let mut known = self.known();
        known.scripts.clear();
        known.evaluated.clear();
        drop(known);
        self.changed();
    }

    /// Replaces the libraries by what `change` makes of them; nothing changes when that fails.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change_libraries<T>(
        &self,
        change: impl FnOnce(&mut Libraries) -> Result<T, kora_script::Error>,
    ) -> Result<T, kora_script::Error> {
        let mut known = self.known();
        let mut libraries = known.libraries.clone();
        let result = change(&mut libraries)?;
        known.libraries = libraries;
        drop(known);
        self.changed();
        Ok(result)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The interpreters of an executor that are not in use, shared with its coordinators.
pub struct Pool {
    idle: RefCell<Vec<Interpreter>>,
    /// Bytes that each may take.
    memory_limit: Cell<usize>,
}

impl Pool {
    /// One that is not in use, or a new one.
    ///
    /// # Errors
    /// The kernel gives no memory for its stack.
    pub fn take(&self) -> Result<Interpreter, Error> {
        let idle = self.idle.borrow_mut().pop();
        idle.map_or_else(|| Interpreter::new(self.memory_limit.get()), Ok)
            .map_err(|error| Error::owned(format!("ERR no memory for an interpreter: {error}")))
    }

    /// Keeps an interpreter for the next script.
    pub fn give_back(&self, interpreter: Interpreter) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(interpreter);
        }
    }
}

/// An executor's copies, and its interpreters.
pub struct Copies {
    scripts: Scripts,
    libraries: Libraries,
    generation: u64,
    /// Its interpreters.
    pub pool: Rc<Pool>,
}

impl Copies {
    /// None yet. Interpreters may take so many bytes each.
    pub fn new(memory_limit: usize) -> Copies {
        Copies {
            scripts: Scripts::default(),
            libraries: Libraries::default(),
            generation: 0,
            pool: Rc::new(Pool { idle: RefCell::default(), memory_limit: Cell::new(memory_limit) }),
        }
    }

    /// Another limit on the memory of interpreters: they are made anew.
    pub fn set_memory_limit(&mut self, memory_limit: usize) {
        if self.pool.memory_limit.replace(memory_limit) != memory_limit {
            self.pool.idle.borrow_mut().clear();
        }
    }

    /// Forgets copies that may be stale.
    #[inline]
    pub fn refresh(&mut self, store: &Store) {
        let generation = store.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.copy_anew(store);
        }
    }

    #[cold]
    fn copy_anew(&mut self, store: &Store) {
        self.scripts.clear();
        self.libraries = store.known().libraries.clone();
        for interpreter in self.pool.idle.borrow_mut().iter_mut() {
            interpreter.forget_scripts();
            interpreter.forget_libraries_except(&self.libraries);
        }
    }

    /// A script by its SHA1.
    #[inline]
    pub fn script(&mut self, store: &Store, sha: &[u8]) -> Option<Arc<Script>> {
        match self.scripts.get(sha) {
            Some(script) => Some(script.clone()),
            None => self.fetch(store, sha),
        }
    }

    #[cold]
    fn fetch(&mut self, store: &Store, sha: &[u8]) -> Option<Arc<Script>> {
        let known = store.known().scripts.get(sha)?.clone();
        Some(self.copy(known.source()))
    }

    /// A copy of its own: a counter that all executors change would go from core to core.
    fn copy(&mut self, source: &[u8]) -> Arc<Script> {
        if self.scripts.len() >= 2 * EVALUATED_MAX {
            self.scripts.clear();
        }
        let script = Arc::new(Script::new(source).expect("it was read before"));
        self.scripts.insert(script.clone());
        script
    }

    /// The script of an EVAL; a new one is known from now on, if it compiles.
    ///
    /// # Errors
    /// It does not; Redis's words.
    pub fn script_of(&mut self, store: &Store, source: &[u8]) -> Result<Arc<Script>, Error> {
        if let Some(script) = self.scripts.of_source(source) {
            return Ok(script.clone());
        }
        let script = compiled(&self.pool, source)?;
        store.evaluated(Arc::new(script));
        Ok(self.copy(source))
    }

    /// The library of a function.
    pub fn function(&self, name: &[u8]) -> Option<(&Arc<Library>, &kora_script::Function)> {
        self.libraries.function(name)
    }
}

/// A script that compiles.
///
/// # Errors
/// It does not; Redis's words.
pub fn compiled(pool: &Pool, source: &[u8]) -> Result<Script, Error> {
    let in_words = |error: kora_script::Error| Error::owned(error.text().to_vec());
    let script = Script::new(source).map_err(in_words)?;
    let mut interpreter = pool.take()?;
    let checked = interpreter.check(&script);
    pool.give_back(interpreter);
    checked.map_err(in_words)?;
    Ok(script)
}
