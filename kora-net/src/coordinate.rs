//! Work that needs several executors: an async function on the connection's executor that runs closures on others and awaits their results.
//!
//! These futures never touch the executor while they are polled. They queue calls in the [`Hub`]; the executor takes them out after each poll, runs those
//! for itself at once and mails the others, and polls again when results have come. So no borrow lives across an await, and
//! a coordinator needs no task of glommio's and no wake-up.
//!
//! All of it is generic over what is at the other end of a call: the executor, or a simulated one.

use crate::executor::Executor;
use crate::resp::encode::Output;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// In a transaction's tag, the bits below the number of its home.
const TAG_NUMBER_BITS: u32 = 48;

/// A coordinator: ends with the whole encoded reply.
pub type Task = Pin<Box<dyn Future<Output = Output>>>;

/// The result of a call, whatever it is.
pub type Value = Box<dyn Any + Send>;

/// A function to be run on another executor; its result comes back. Without one, it is given later: the [`Answer`] says to whom.
pub type Call<E = Executor> = Box<dyn FnOnce(&mut E, Answer) -> Option<Value> + Send>;

/// Where the result of a call goes when it is not there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The executor that waits.
    pub home: u16,
    /// Its number for the call.
    pub call: u32,
}

/// Where the result of a call is put.
pub type ResultSlot = Rc<RefCell<Option<Value>>>;

/// A call that a coordinator has queued.
pub struct QueuedCall<E = Executor> {
    /// On which executor it runs.
    pub target: u16,
    /// What runs.
    pub call: Call<E>,
    /// Where its result goes.
    pub slot: ResultSlot,
}

/// Through which coordinators reach the executors. Cheap to clone; all clones of one executor are the same, but for the transaction that they work for.
pub struct Hub<E = Executor> {
    queue: Rc<RefCell<VecDeque<QueuedCall<E>>>>,
    /// A coordinator that a call has begun for the one whose call it was: it goes on with it at once.
    begun: Rc<RefCell<Option<Task>>>,
    /// With a log.
    ledger: Option<Ledger<E>>,
    /// The transaction as whose work calls are logged.
    tag: Option<u64>,
}

/// What a site's log is told of a transaction over several sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// What changes from now on belongs to this transaction.
    Begin(u64),
    /// What changes from now on does not.
    End,
    /// The transaction is whole: whatever it has changed, on all sites, is there.
    Commit(u64),
}

/// How transactions get into the log.
struct Ledger<E> {
    /// The executor whose coordinators these are.
    home: u16,
    /// How many transactions it has begun.
    begun: Rc<Cell<u64>>,
    /// Tells a site's log.
    tell: fn(&mut E, Entry),
}

impl<E> Clone for Ledger<E> {
    fn clone(&self) -> Ledger<E> {
        Ledger { home: self.home, begun: self.begun.clone(), tell: self.tell }
    }
}

impl<E> Clone for Hub<E> {
    fn clone(&self) -> Hub<E> {
        Hub {
            queue: self.queue.clone(),
            begun: self.begun.clone(),
            ledger: self.ledger.clone(),
            tag: self.tag,
        }
    }
}

impl<E> Default for Hub<E> {
    fn default() -> Hub<E> {
        Hub { queue: Rc::default(), begun: Rc::default(), ledger: None, tag: None }
    }
}

impl<E: 'static> Hub<E> {
    /// That of an executor whose changes are logged.
    pub fn logging(home: u16, tell: fn(&mut E, Entry)) -> Hub<E> {
        Hub { ledger: Some(Ledger { home, begun: Rc::default(), tell }), ..Hub::default() }
    }

    /// For one transaction that writes on several sites. If there is a log, what its calls change is one unit there.
    pub fn transaction(&self) -> Hub<E> {
        let mut hub = self.clone();
        if let (Some(ledger), None) = (&self.ledger, self.tag) {
            let number = ledger.begun.get();
            ledger.begun.set(number + 1);
            hub.tag = Some((ledger.home as u64) << TAG_NUMBER_BITS | number);
        }
        hub
    }

    /// The same for a transaction that has begun.
    pub fn tagged(&self, tag: Option<u64>) -> Hub<E> {
        Hub { tag, ..self.clone() }
    }

    /// For what is not to be logged as work of the transaction.
    pub fn plain(&self) -> Hub<E> {
        self.tagged(None)
    }

    /// The transaction as whose work calls are logged. With one, it keeps what it holds until it has committed.
    pub fn tag(&self) -> Option<u64> {
        self.tag
    }

    /// The transaction has changed all it wanted. To be called before anything that it holds is given back.
    pub fn commit(&self) {
        if let (Some(tag), Some(Ledger { home, tell, .. })) = (self.tag, self.ledger.clone()) {
            drop(self.plain().call(home, move |site: &mut E| tell(site, Entry::Commit(tag))));
        }
    }

    /// A function whose changes are logged as work of the transaction.
    pub fn logged<T>(
        &self,
        f: impl FnOnce(&mut E) -> T + Send + 'static,
    ) -> impl FnOnce(&mut E) -> T + Send + 'static {
        let tell = self.tag.and_then(|tag| Some((self.ledger.as_ref()?.tell, tag)));
        move |site: &mut E| {
            let Some((tell, tag)) = tell else { return f(site) };
            tell(site, Entry::Begin(tag));
            let result = f(site);
            tell(site, Entry::End);
            result
        }
    }

    /// Queues a function for another executor (or this one) and returns what awaits its result. It is on its way even if the
    /// result is never awaited.
    pub fn call<T: Send + 'static>(
        &self,
        target: u16,
        f: impl FnOnce(&mut E) -> T + Send + 'static,
    ) -> CallResult<T> {
        let f = self.logged(f);
        self.queue(target, Box::new(move |executor, _| Some(Box::new(f(executor)))))
    }

    /// The same for a function that changes nothing and whose result may come later: without one, what it was given says where the result is to go. It must be a `T`.
    pub fn call_later<T: Send + 'static>(
        &self,
        target: u16,
        f: impl FnOnce(&mut E, Answer) -> Option<T> + Send + 'static,
    ) -> CallResult<T> {
        self.queue(
            target,
            Box::new(move |executor, answer| f(executor, answer).map(|result| Box::new(result) as Value)),
        )
    }

    fn queue<T>(&self, target: u16, call: Call<E>) -> CallResult<T> {
        let slot = ResultSlot::default();
        self.queue.borrow_mut().push_back(QueuedCall { target, call, slot: slot.clone() });
        CallResult { slot, kind: std::marker::PhantomData }
    }

    /// Runs the same function on every executor; the results come in their order.
    pub async fn everywhere<T: Send + 'static>(
        &self,
        executors: u16,
        f: impl Fn(&mut E) -> T + Send + Clone + 'static,
    ) -> Vec<T> {
        let calls: Vec<_> = (0..executors).map(|target| self.call(target, f.clone())).collect();
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            results.push(call.await);
        }
        results
    }

    /// Leaves a coordinator to the one whose call is being executed, on its own executor. That it has left one is the call's result.
    pub fn leave(&self, task: Task) {
        let before = self.begun.borrow_mut().replace(task);
        debug_assert!(before.is_none(), "what was left is taken when the call returns");
    }

    /// What the call that has just returned has left.
    pub fn take_left(&self) -> Option<Task> {
        self.begun.borrow_mut().take()
    }

    /// The next queued call.
    pub fn take(&self) -> Option<QueuedCall<E>> {
        self.queue.borrow_mut().pop_front()
    }
}

/// Awaits the result of a call.
#[must_use = "the result of a call is awaited, or let go with `drop`"]
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
