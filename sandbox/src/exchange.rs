//! Memory through which a process and its owner pass pictures.
//!
//! It is read and written by system calls, never mapped: a process that does as it likes with its side costs the owner
//! at most the bytes. Its size is sealed, so it takes no more memory than was agreed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};

/// See the [module](self).
#[derive(Debug)]
pub struct Exchange(File);

impl Exchange {
    /// Room for `bytes`; memory is taken where something is written.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let file = File::from(memfd_create("exchange", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(bytes)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Room for so many bytes.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Gives the memory behind the first `kept` bytes back to the system; what lies there reads as zeros then.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn release_behind(&self, kept: u64) -> io::Result<()> {
        let length = self.bytes()?.saturating_sub(kept);
        if length > 0 {
            fallocate(&self.0, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, kept, length)?;
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    /// Fills `bytes` from what lies at `offset`.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cross_and_the_size_stays() {
        let here = Exchange::new(1 << 20).unwrap();
        let there = Exchange::from_fd(here.fd().try_clone_to_owned().unwrap());
        there.write(500, b"a picture").unwrap();
        let mut read = [0; 9];
        here.read(500, &mut read).unwrap();
        assert_eq!(&read, b"a picture");
        assert!(there.write((1 << 20) - 1, b"beyond").is_err());
        assert!(there.0.set_len(4 << 20).is_err() && there.0.set_len(0).is_err());
        assert!(here.read((1 << 20) - 1, &mut read).is_err());
    }

    #[test]
    fn memory_is_given_back_and_the_room_stays() {
        use std::os::unix::fs::MetadataExt;

        let exchange = Exchange::new(8 << 20).unwrap();
        exchange.write(0, &[7; 8 << 20]).unwrap();
        let held = || exchange.0.metadata().unwrap().blocks() * 512;
        assert!(held() >= 8 << 20);
        exchange.release_behind(1 << 20).unwrap();
        assert!(held() <= 1 << 20, "{}", held());
        let mut read = [1; 2];
        exchange.read((1 << 20) - 1, &mut read).unwrap();
        assert_eq!((read, exchange.bytes().unwrap()), ([7, 0], 8 << 20));
        exchange.write(7 << 20, b"again").unwrap();
    }
}
