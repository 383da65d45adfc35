//! Work that needs several executors: an async function on the connection's executor that runs closures on others and awaits their results.
//!
//! These futures never touch the executor while they are polled. They queue calls in the [`Hub`]; the executor takes them out after each poll, runs those
//! for itself at once and mails the others, and polls again when results have come. So no borrow lives across an await, and
//! a coordinator needs no task of glommio's and no wake-up.

use crate::executor::Executor;
use crate::mail::Call;
use crate::resp::encode::Output;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A coordinator: ends with the whole encoded reply.
pub type Task = Pin<Box<dyn Future<Output = Output>>>;

/// Where the result of a call is put.
pub type ResultSlot = Rc<RefCell<Option<Box<dyn Any + Send>>>>;

/// A call that a coordinator has queued.
pub struct QueuedCall {
    /// On which executor it runs.
    pub target: u16,
    /// What runs.
    pub call: Call,
    /// Where its result goes.
    pub slot: ResultSlot,
}

/// Through which coordinators reach the executors. Cheap to clone; all clones of one executor are the same.
#[derive(Clone, Default)]
pub struct Hub {
    queue: Rc<RefCell<VecDeque<QueuedCall>>>,
}

impl Hub {
    /// Queues a function for another executor (or this one) and returns what awaits its result. It is on its way even if the
    /// result is never awaited.
    pub fn call<T: Send + 'static>(
        &self,
        target: u16,
        f: impl FnOnce(&mut Executor) -> T + Send + 'static,
    ) -> Pin<Box<CallResult<T>>> {
        let slot = ResultSlot::default();
        let call: Call = Box::new(move |executor| Box::new(f(executor)));
        self.queue.borrow_mut().push_back(QueuedCall { target, call, slot: slot.clone() });
        Box::pin(CallResult { slot, kind: std::marker::PhantomData })
    }

    /// Runs the same function on every executor; the results come in their order.
    pub async fn everywhere<T: Send + 'static>(
        &self,
        executors: u16,
        f: impl Fn(&mut Executor) -> T + Send + Clone + 'static,
    ) -> Vec<T> {
        let calls: Vec<_> = (0..executors).map(|target| self.call(target, f.clone())).collect();
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            results.push(call.await);
        }
        results
    }

    /// The next queued call.
    pub fn take(&self) -> Option<QueuedCall> {
        self.queue.borrow_mut().pop_front()
    }
}

/// Awaits the result of a call.
pub struct CallResult<T> {
    slot: ResultSlot,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T: 'static> Future for CallResult<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        // No waker: the executor polls the coordinator whenever a result of one of its calls has come.
        match self.slot.borrow_mut().take() {
            Some(value) => Poll::Ready(*value.downcast().expect("the call returns this type")),
            None => Poll::Pending,
        }
    }
}
