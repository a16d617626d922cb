//! What ends a private server with the test process.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Runs a shell script that starts a server in the background and reads its standard input until it ends: the pipe is
/// closed by the end of this process, whatever ended it. The script lives in a process group of its own, so that
/// Ctrl-C reaches it only through the pipe.
pub fn guard(command: &mut Command) -> Child {
    let command = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell can be started")
}
