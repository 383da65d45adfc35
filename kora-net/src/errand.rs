//! Work for coordinators that would hold an executor up, done by threads of their own: talking to another server.
//!
//! A coordinator sends somebody on an errand by a call whose result comes later. The thread leaves the result on the desk of the executor and rings its
//! doorbell; the executor takes it in its next turn.

use crate::coordinate::{Answer, Value};
use crate::executor::Executor;
use crate::process::{lock, Process};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

/// Results that wait for one executor.
#[derive(Default)]
pub(crate) struct Desk {
    /// Whether there is one: looked at in every turn.
    any: AtomicBool,
    /// Numbers of the calls, and their results.
    results: Mutex<Vec<(u32, Value)>>,
}

impl Desk {
    fn put(&self, call: u32, value: Value) {
        lock(&self.results).push((call, value));
        self.any.store(true, Ordering::SeqCst);
    }

    /// Whether there is a result.
    #[inline]
    pub fn has_some(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    fn take(&self) -> Vec<(u32, Value)> {
        self.any.store(false, Ordering::SeqCst);
        std::mem::take(&mut *lock(&self.results))
    }
}

impl Executor {
    /// Has a thread do something for the coordinator whose call this is, which is one of this executor. Its result is that of the call. Without a thread to be
    /// had it is `failed`.
    pub(crate) fn send_on_errand<T: Send + 'static>(
        &self,
        answer: Answer,
        work: impl FnOnce(&Process) -> T + Send + 'static,
        failed: T,
    ) -> Option<T> {
        assert_eq!(answer.home, self.id, "a coordinator sends from its home");
        let process = self.process.clone();
        let run = move || {
            let value = work(&process);
            process.errand_desk(answer.home).put(answer.call, Box::new(value));
            process.doorbells[answer.home as usize].ring();
        };
        match std::thread::Builder::new().name("kora-errand".into()).spawn(run) {
            Ok(_) => None,
            Err(_) => Some(failed),
        }
    }

    /// Takes the results that have come.
    #[inline]
    pub(crate) fn take_errands(&mut self) {
        if self.process.errand_desk(self.id).has_some() {
            let process = self.process.clone();
            for (call, value) in process.errand_desk(self.id).take() {
                self.returned(call, value);
            }
        }
    }
}
