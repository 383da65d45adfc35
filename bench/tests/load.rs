//! `load` against a server in this process: what arrives there, and what the report says about its faults.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use kora_bench::load::{
    self, Arrivals, Distribution, KeySpace, LoadConfig, Pace, Ratio, Session, Stop, Workload,
};
use kora_bench::responder::{Behaviour, Responder};
use kora_bench::{Endpoint, Error};

fn keys(count: u64) -> KeySpace {
    KeySpace::new("key:", 16, count).unwrap()
}

fn key(id: u64) -> Vec<u8> {
    format!("key:{id:012}").into_bytes()
}

fn kora_bench(server: &Responder, flags: &[&str]) -> Output {
    let Endpoint::Tcp(address) = server.endpoint() else { panic!("the responder listens on TCP") };
    Command::new(env!("CARGO_BIN_EXE_kora-bench"))
        .args(["load", "--port", &address.port().to_string()])
        .args(flags)
        .output()
        .unwrap()
}

#[test]
fn a_fill_visits_every_key_exactly_once() {
    let server = Responder::start(Behaviour::default()).unwrap();
    let config = LoadConfig::to(server.endpoint());
    for (threads, count) in [(1, 1_000), (3, 1_000), (4, 3)] {
        let server = Responder::start(Behaviour::default()).unwrap();
        let workload = Workload::mix(keys(count), Ratio { sets: 1, gets: 0 }, 8);
        let fill = LoadConfig { endpoint: server.endpoint(), threads, ..config.fill(workload) };
        let report = load::run(&fill).unwrap();
        assert_eq!((report.requests, report.errors, report.latency.len()), (count, 0, count));
        let seen = server.keys();
        assert_eq!(seen.len() as u64, count);
        assert!((0..count).all(|id| seen[&key(id)] == 1));
    }
}

#[test]
fn every_request_is_answered_and_counted_at_any_depth() {
    for (connections, threads, pipeline) in [(1, 1, 1), (7, 2, 1), (5, 1, 16), (3, 3, 1_000)] {
        let server = Responder::start(Behaviour::default()).unwrap();
        let mut config = LoadConfig::to(server.endpoint());
        (config.connections, config.threads, config.pipeline) = (connections, threads, pipeline);
        config.stop = Stop::Requests(20_011);
        let report = load::run(&config).unwrap();
        assert_eq!((report.requests, report.latency.len(), report.errors), (20_011, 20_011, 0));
        assert_eq!(server.requests(), 20_011);
    }
}

#[test]
fn batches_larger_than_the_socket_buffers_get_through() {
    let server = Responder::start(Behaviour { value_size: 100_000, ..Behaviour::default() }).unwrap();
    let mut config = LoadConfig::to(server.endpoint());
    (config.connections, config.pipeline) = (3, 200);
    config.workload = Workload::mix(keys(100), Ratio { sets: 1, gets: 1 }, 100_000);
    config.stop = Stop::Requests(3_000);
    let report = load::run(&config).unwrap();
    assert_eq!((report.requests, report.errors), (3_000, 0));
}

#[test]
fn a_closed_loop_ends_after_its_time() {
    let server = Responder::start(Behaviour::default()).unwrap();
    let mut config = LoadConfig::to(server.endpoint());
    config.stop = Stop::After(Duration::from_millis(300));
    let report = load::run(&config).unwrap();
    assert!(report.requests > 100, "{}", report.requests);
    assert!(report.elapsed > Duration::from_millis(250) && report.elapsed < Duration::from_secs(2));
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    for arrivals in [Arrivals::Even, Arrivals::Poisson] {
        let server = Responder::start(Behaviour::default()).unwrap();
        let mut config = LoadConfig::to(server.endpoint());
        config.pace = Pace::Open { rate: 2_000.0, arrivals };
        config.stop = Stop::After(Duration::from_secs(1));
        let report = load::run(&config).unwrap();
        let due = report.requests + report.unsent;
        assert!((1_800..2_200).contains(&due), "{arrivals:?}: {due} requests at 2000 a second");
        assert_eq!(report.latency.len(), due);
    }
}

/// The proof against coordinated omission: while the server stands still for 200 ms, 200 of the 2000
/// requests are due. A generator that counts from the send sees one slow request per connection.
#[test]
fn a_pause_of_the_server_is_in_the_percentiles_of_an_open_loop() {
    let pause = Some((500, Duration::from_millis(200)));
    let run = |pace| {
        let server = Responder::start(Behaviour { pause, ..Behaviour::default() }).unwrap();
        let mut config = LoadConfig::to(server.endpoint());
        config.connections = 4;
        config.pace = pace;
        config.stop = Stop::Requests(2_000);
        load::run(&config).unwrap()
    };
    let open = run(Pace::Open { rate: 1_000.0, arrivals: Arrivals::Even });
    assert!(open.percentile_us(99.0) > 150_000.0, "p99 is {} us", open.percentile_us(99.0));
    // One tenth of the requests were due in the pause and waited 100 ms on average.
    assert!(open.percentile_us(95.5) > 80_000.0, "p95.5 is {} us", open.percentile_us(95.5));
    assert!(open.max_us() >= 190_000.0);
    let closed = run(Pace::Closed);
    assert!(closed.percentile_us(99.0) < 150_000.0, "the closed loop hides it, as is known");
    assert!(closed.max_us() >= 190_000.0);
}

#[test]
fn requests_that_a_slow_server_left_unsent_count_as_late() {
    let pause = Some((0, Duration::from_millis(800)));
    let server = Responder::start(Behaviour { pause, ..Behaviour::default() }).unwrap();
    let mut config = LoadConfig::to(server.endpoint());
    config.connections = 2;
    config.pace = Pace::Open { rate: 1_000.0, arrivals: Arrivals::Even };
    config.stop = Stop::After(Duration::from_millis(500));
    let report = load::run(&config).unwrap();
    assert_eq!((report.requests, report.unsent), (2, 498));
    assert_eq!(report.latency.len(), 500);
    assert!(report.percentile_us(50.0) > 400_000.0, "{}", report.percentile_us(50.0));
}

#[test]
fn a_cluster_gets_each_key_at_its_owner() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
    let slots = vec![(0, 8_191, ports[0]), (8_192, 16_383, ports[1])];
    let nodes = listeners.map(|listener| {
        let behaviour = Behaviour { slots: slots.clone(), ..Behaviour::default() };
        Responder::serve(listener, behaviour, true).unwrap()
    });
    let mut config = LoadConfig::to(nodes[0].endpoint());
    config.cluster = true;
    let fill = config.fill(Workload::mix(keys(2_000), Ratio { sets: 1, gets: 0 }, 8));
    let report = load::run(&fill).unwrap();
    assert_eq!((report.requests, report.errors), (2_000, 0));
    let seen = nodes.each_ref().map(Responder::keys);
    assert!(seen[0].len() > 500 && seen[1].len() > 500, "both nodes own keys");
    assert_eq!(seen[0].len() + seen[1].len(), 2_000);
    assert!((0..2_000).all(|id| seen[0].contains_key(&key(id)) != seen[1].contains_key(&key(id))));

    // One tag, one slot, one owner: the other node is left alone.
    let before = nodes.each_ref().map(Responder::requests);
    let tagged = KeySpace::new("{user}:", 16, 100).unwrap();
    config.workload = Workload::mix(tagged, Ratio { sets: 1, gets: 1 }, 8);
    config.distribution = Distribution::Zipf(0.99);
    (config.connections, config.threads) = (4, 2);
    config.stop = Stop::Requests(1_000);
    load::run(&config).unwrap();
    let after = nodes.each_ref().map(Responder::requests);
    let mut served = [after[0] - before[0], after[1] - before[1]];
    served.sort_unstable();
    assert_eq!(served, [0, 1_000]);
}

#[test]
fn sessions_authenticate_and_switch_to_resp3() {
    let server = Responder::start(Behaviour::default()).unwrap();
    let mut config = LoadConfig::to(server.endpoint());
    config.stop = Stop::Requests(100);
    config.session = Session { resp3: true, password: Some("secret".into()) };
    assert_eq!(load::run(&config).unwrap().requests, 100);
    config.session.password = Some("wrong".into());
    let error = load::run(&config).unwrap_err();
    assert!(matches!(&error, Error::Refused { command, .. } if command == "AUTH"), "{error}");
    assert!(!error.to_string().contains("wrong\""), "the password is not told: {error}");
}

#[test]
fn error_replies_are_counted_shown_and_fail_the_command() {
    let server = Responder::start(Behaviour { error_every: Some(10), ..Behaviour::default() }).unwrap();
    let output = kora_bench(&server, &["-n", "1000", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("\"requests\":1000,\"errors\":100,"), "{stdout}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("100 of 1000 replies were errors"), "{stderr}");
    assert!(stderr.contains("ERR told to fail"), "{stderr}");
}

#[test]
fn a_clean_run_succeeds_and_prints_every_figure() {
    let server = Responder::start(Behaviour::default()).unwrap();
    let pid = std::process::id().to_string();
    let output =
        kora_bench(&server, &["-n", "5000", "-P", "8", "--ratio", "1:10", "--pid", &pid, "--prefill"]);
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    for part in ["requests      5000", "p50", "p99.9", "server CPU", "load CPU", "errors        0"] {
        assert!(stdout.contains(part), "{part} is missing in\n{stdout}");
    }
    assert_eq!(server.requests(), 105_000, "100,000 keys were filled first");
}

#[test]
fn a_connection_closed_by_the_server_is_a_failed_run() {
    let server = Responder::start(Behaviour { close_at: Some(50), ..Behaviour::default() }).unwrap();
    let mut config = LoadConfig::to(server.endpoint());
    config.stop = Stop::Requests(1_000);
    let error = load::run(&config).unwrap_err().to_string();
    assert!(error.contains("closed a connection"), "{error}");
}

#[test]
fn nobody_listening_is_said_with_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = LoadConfig::to(Endpoint::resolve("127.0.0.1", port).unwrap());
    let error = load::run(&config).unwrap_err().to_string();
    assert!(error.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{error}");
}

#[test]
fn flags_that_make_no_sense_are_refused_with_code_2_and_a_remedy() {
    let server = Responder::start(Behaviour::default()).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["--ratio", "1"], "write SET:GET"),
        (&["--distribution", "gauss"], "zipf:THETA"),
        (&["--threads", "8", "--connections", "4"], "at most one thread per connection"),
        (&["--pipeline", "0"], "must be at least 1"),
        (&["--key-size", "5"], "use at least 9"),
        (&["--keys", "0"], "use 1 or more"),
        (&["--duration=-1"], "give seconds above 0"),
        (&["--duration=0"], "give seconds above 0"),
        (&["--rate", "0"], "give requests per second"),
        (&["--arrivals", "poisson"], "--rate"),
        (&["--duration", "1", "--requests", "1"], "cannot be used with"),
        (&["--unix", "/nowhere", "--cluster"], "cannot be used with"),
        (&["--password-env", "KORA_BENCH_NO_SUCH_VARIABLE"], "no such environment variable"),
        (&["--command", "SET 'x"], "a quote that is not closed"),
        (&["--cpu", "x"], "is no CPU"),
    ];
    for (flags, remedy) in cases {
        let output = kora_bench(&server, flags);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(remedy), "{flags:?}: {stderr}");
    }
    assert_eq!(server.requests(), 0);
}
