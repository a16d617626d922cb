//! The `touchline` program. See [`touchline::cli`] for its commands and [`touchline::http`] for the server behind `serve`.

fn main() -> std::process::ExitCode {
    // Before anything else: a template of render processes has one thread.
    actors::processes::child::serve_if_asked().unwrap_or_else(touchline::cli::main)
}
