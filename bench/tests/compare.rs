//! `compare` with the responder as its servers: the whole way from starting them to the files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of this test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("kora-bench-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The first CPU of this process: servers and load share it, so that one is enough.
fn cpu() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_string();
    list.split([',', '-']).next().unwrap().to_string()
}

fn peers(scratch: &Scratch, peers: &[(&str, &str)]) -> PathBuf {
    let program = env!("CARGO_BIN_EXE_kora-bench");
    let table = |(name, args): &(&str, &str)| {
        format!("[[peer]]\nname = \"{name}\"\npath = \"{program}\"\nargs = [{args}]\n")
    };
    let path = scratch.0.join("peers.toml");
    std::fs::write(&path, peers.iter().map(table).collect::<String>()).unwrap();
    path
}

fn compare(peers: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kora-bench"))
        .args(["compare", "--no-redis", "--server-cpu", &cpu(), "--load-cpu", &cpu(), "--peers"])
        .arg(peers)
        .args(flags)
        .output()
        .unwrap()
}

const RESPOND: &str = r#""respond", "--port", "{port}""#;

#[test]
fn a_comparison_measures_all_subjects_and_writes_its_files() {
    let scratch = Scratch::new("whole");
    let peers = peers(&scratch, &[("one", RESPOND), ("two", RESPOND)]);
    let out = scratch.0.join("out");
    let mut flags =
        vec!["--rounds", "2", "--seconds", "0.3", "--keys", "1000", "--out", out.to_str().unwrap()];
    flags.extend(["--memory-keys", "5000", "--growth-keys", "5000", "--baseline", "two"]);
    for scenario in ["c50p16", "c1-get", "memory-8", "growth", "idle"] {
        flags.extend(["--scenario", scenario]);
    }
    let output = compare(&peers, &flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    for scenario in ["c50p16", "c1-get", "memory-8", "growth", "idle"] {
        let section = table.split("### ").find(|s| s.starts_with(&format!("{scenario}:"))).unwrap();
        assert!(section.contains("| one (none) | ") && section.contains("| two (none) | "), "{section}");
        assert!(!section.contains("| - "), "every figure was measured:\n{section}");
    }
    let order: Vec<String> =
        String::from_utf8(output.stderr).unwrap().lines().take(4).map(String::from).collect();
    let expected = ["1 of 2: one", "1 of 2: two", "2 of 2: one", "2 of 2: two"];
    assert_eq!(order, expected.map(|turn| format!("c50p16 round {turn}")), "the servers alternate");
    assert_eq!(scratch.file("out/compare.md"), table);
    assert!(scratch.file("out/compare.json").contains("\"baseline\":\"two\""));
    let chart = scratch.file("out/compare.svg");
    assert!(chart.starts_with("<svg ") && chart.contains(">c1-get</text>"), "{chart}");
}

#[test]
fn a_subject_that_does_not_start_fails_alone() {
    let scratch = Scratch::new("broken");
    let broken = r#""respond", "--port", "{port}", "--no-such-flag""#;
    let peers = peers(&scratch, &[("broken", broken), ("whole", RESPOND)]);
    let output =
        compare(&peers, &["--rounds", "1", "--seconds", "0.2", "--keys", "100", "--scenario", "c50"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| broken | - |") && table.contains("--no-such-flag"), "{table}");
    assert!(!table.contains("| whole (none) | - |"), "{table}");
}

#[test]
fn flags_that_make_no_comparison_are_refused_with_a_remedy() {
    let scratch = Scratch::new("flags");
    let peers = peers(&scratch, &[("one", RESPOND)]);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--scenario", "c51"], 2, "scenarios are c50"),
        (&["--scenario", "c50-w2"], 2, "give --kora"),
        (&["--baseline", "nobody"], 2, "is none of one"),
        (&["--rounds", "0"], 2, "must be at least 1"),
        (&["--seconds", "0"], 2, "give seconds above 0"),
        (&["--kora", "/nowhere/kora"], 1, "there is no program /nowhere/kora"),
        (&["--peers", "/nowhere/peers.toml"], 2, "cannot be used multiple times"),
    ];
    for (flags, code, remedy) in cases {
        let output = compare(&peers, flags);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{flags:?}: {stderr}");
        assert!(stderr.contains(remedy), "{flags:?}: {stderr}");
    }
}
