//! The `kora-bench` binary: everything is in the library, so that tests can drive it in-process.

fn main() -> std::process::ExitCode {
    kora_bench::cli::main()
}
