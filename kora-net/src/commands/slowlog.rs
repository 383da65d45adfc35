//! SLOWLOG: the slow commands of all executors as one log.

use super::Served;
use crate::coordinate::Hub;
use crate::executor::Executor;
use crate::resp::encode::{Output, RespSink};
use kora_engine::args;
use kora_engine::error::Error;
use kora_engine::reply::Reply;
use kora_modules::observe::slowlog::Slowlog;

/// Entries that SLOWLOG GET shows when not told.
const COUNT_DEFAULT: usize = 10;

/// The log of all executors; as long as one of them may be.
async fn merged(hub: Hub, executors: u16) -> Slowlog {
    let mut logs = hub.everywhere(executors, |executor| executor.observed.slowlog.clone()).await.into_iter();
    let mut log = logs.next().expect("there is an executor");
    logs.for_each(|other| log.merge(&other));
    log
}

/// SLOWLOG GET.
pub(super) fn run_get(executor: &mut Executor, index: u32, argv: &[&[u8]]) -> Result<Served, Error> {
    let count = count(argv)?;
    let (hub, executors) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        let log = merged(hub, executors).await;
        let mut out = Output::default();
        write(&log, count, &mut RespSink::new(&mut out, protocol));
        out
    })))
}

/// SLOWLOG LEN.
pub(super) fn run_len(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    let (hub, executors) = (executor.hub.clone(), executor.count);
    let len_max = executor.settings.slowlog_max_len as usize;
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        let lens = hub.everywhere(executors, |executor| executor.observed.slowlog.len()).await;
        let len = lens.into_iter().sum::<usize>().min(len_max);
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).integer(len as i64);
        out
    })))
}

/// SLOWLOG RESET.
pub(super) fn run_reset(executor: &mut Executor, index: u32) -> Result<Served, Error> {
    let (hub, executors) = (executor.hub.clone(), executor.count);
    let protocol = executor.connection(index).protocol;
    Ok(Served::Task(Box::pin(async move {
        hub.everywhere(executors, |executor| executor.observed.slowlog.reset()).await;
        let mut out = Output::default();
        RespSink::new(&mut out, protocol).ok();
        out
    })))
}

/// The count of SLOWLOG GET; none is all.
pub(crate) fn count(argv: &[&[u8]]) -> Result<Option<usize>, Error> {
    match &argv[2..] {
        [] => Ok(Some(COUNT_DEFAULT)),
        [count] => match args::parse_i64(count) {
            Some(-1) => Ok(None),
            Some(count @ 0..) => Ok(Some(count as usize)),
            _ => Err(Error::new("ERR count should be greater than or equal to -1")),
        },
        _ => Err(super::subcommand_syntax(argv)),
    }
}

/// SLOWLOG GET, from the merged log.
pub(crate) fn write(log: &Slowlog, count: Option<usize>, reply: &mut dyn Reply) {
    reply.array(log.get(count).count());
    for entry in log.get(count) {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.at as i64);
        reply.integer(entry.duration_us as i64);
        reply.array(entry.args.len());
        for arg in entry.args.iter() {
            reply.bulk(arg);
        }
        reply.bulk(entry.client_addr.as_bytes());
        reply.bulk(&entry.client_name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::resp2;
    use kora_modules::observe::slowlog::{ShownArgs, SlowlogIds};

    #[test]
    fn newest_first_and_no_more_than_asked() {
        let ids = SlowlogIds::new();
        let mut log = Slowlog::new(0, 128);
        for (key, at) in [("a", 100), ("b", 101)] {
            let args = [b"get".as_slice(), key.as_bytes()];
            log.record(&ids, at, 12_000, ShownArgs::of(args.into_iter()), "127.0.0.1:5", b"me");
        }
        assert_eq!(
            resp2(|reply| write(&log, Some(1), reply)),
            "*1 *6 :1 :101 :12 *2 $get $b $127.0.0.1:5 $me"
        );
        assert!(resp2(|reply| write(&log, None, reply)).starts_with("*2 "));
        assert_eq!(resp2(|reply| write(&log, Some(0), reply)), "*0");
    }

    #[test]
    fn counts_are_minus_one_or_more() {
        assert_eq!(count(&[b"slowlog", b"get"]), Ok(Some(10)));
        assert_eq!(count(&[b"slowlog", b"get", b"-1"]), Ok(None));
        assert_eq!(count(&[b"slowlog", b"get", b"0"]), Ok(Some(0)));
        for bad in [&b"-2"[..], b"x"] {
            let error = count(&[b"slowlog", b"get", bad]).unwrap_err();
            assert_eq!(error.text(), b"ERR count should be greater than or equal to -1");
        }
    }
}
