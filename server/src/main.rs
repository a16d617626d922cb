//! The `touchline` program. See [`cli`] for its commands and `touchline::http` for the server behind `serve`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
