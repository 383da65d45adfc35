//! What people run on Redis's scripts and transactions, on the real binary with two workers: BullMQ, rq, redis-py's locks.

mod harness;

use harness::programs::{node, python};
use harness::{Launch, Server};

fn start() -> Server {
    Launch::kora().workers(2).start()
}

#[test]
fn bullmq_runs_jobs_under_one_hash_tag() {
    let server = start();
    assert_eq!(node("bullmq.js", &[&server.port.to_string(), "{bull}"]).ok(), "ok\n");
    assert_nothing_is_held(&server);
}

/// Its scripts make names of keys out of job ids.
#[test]
fn bullmq_runs_jobs_without_a_hash_tag_where_scripts_need_not_declare_keys() {
    let server = Launch::kora().workers(2).argument("--script-undeclared-keys").argument("true").start();
    assert_eq!(node("bullmq.js", &[&server.port.to_string(), "bull"]).ok(), "ok\n");
    assert_nothing_is_held(&server);
}

#[test]
fn rq_runs_jobs() {
    let server = start();
    assert_eq!(python("rq_jobs.py", &[&server.port.to_string()]).ok(), "ok\n");
    assert_nothing_is_held(&server);
}

#[test]
fn redis_py_locks_scripts_and_functions_work() {
    let server = start();
    assert_eq!(python("locks.py", &[&server.port.to_string()]).ok(), "ok\n");
    assert_nothing_is_held(&server);
}

fn assert_nothing_is_held(server: &Server) {
    let info = server.client().command("INFO stats").text();
    assert!(info.contains("lock_table_entries:0\r\n"), "{info}");
}
