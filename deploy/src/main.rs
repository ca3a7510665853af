//! The `stentor` binary.

fn main() -> std::process::ExitCode {
    deploy::main()
}
