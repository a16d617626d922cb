//! The rights of files that the server and the commands of its database make.

use nix::sys::stat::{Mode, umask};

/// From now on this process makes files as 0600 and folders as 0700 at most, whichever of its threads and libraries
/// makes them: the database with its journals, media, uploads. To be called before there are other threads.
pub fn keep_private() {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}
