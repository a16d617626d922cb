//! Reading numbers at places of a file through one small window, with a bound on the steps taken.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that are read at a time.
const WINDOW: usize = 4096;

/// Headers and table entries that may be read of one file. A walk that needs more is refused: it would keep a server
/// busy for minutes.
const MAX_STEPS: u64 = 4_000_000;

/// Why a check ended before it was through.
#[derive(Debug)]
pub(super) enum Stop {
    /// The file claims what it cannot hold, in words for its owner.
    Refused(String),
    Io(io::Error),
}

impl Stop {
    pub fn refused<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Refused(reason.into()))
    }
}

pub(super) type Result<T, E = Stop> = std::result::Result<T, E>;

/// A file of a known size.
pub(super) struct Bytes<'a, R> {
    source: &'a mut R,
    size: u64,
    window: Vec<u8>,
    /// Where the window begins in the file.
    from: u64,
    steps: u64,
}

impl<'a, R: Read + Seek> Bytes<'a, R> {
    pub fn new(source: &'a mut R, size: u64) -> Self {
        Self { source, size, window: Vec::new(), from: 0, steps: 0 }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Counts a header or a table entry.
    pub fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Stop::refused(format!("the file has more than {MAX_STEPS} headers and table entries"));
        }
        Ok(())
    }

    /// `N` bytes at `at`; `None` past the end of the file.
    pub fn get<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>> {
        const { assert!(N <= WINDOW, "the window holds what is read at once") };
        let end = at.checked_add(N as u64).filter(|&end| end <= self.size);
        let Some(end) = end else { return Ok(None) };
        if at < self.from || end > self.from + self.window.len() as u64 {
            self.fill(at)?;
        }
        let start = (at - self.from) as usize;
        // A file that shrinks meanwhile gives less than its size.
        Ok(self.window.get(start..start + N).and_then(|bytes| bytes.try_into().ok()))
    }

    /// A big-endian number of 32 bits.
    pub fn u32(&mut self, at: u64) -> Result<Option<u32>> {
        Ok(self.get(at)?.map(u32::from_be_bytes))
    }

    /// A little-endian number of 32 bits.
    pub fn u32_le(&mut self, at: u64) -> Result<Option<u32>> {
        Ok(self.get(at)?.map(u32::from_le_bytes))
    }

    fn fill(&mut self, at: u64) -> Result<()> {
        let wanted = WINDOW.min((self.size - at) as usize);
        self.window.resize(wanted, 0);
        self.from = at;
        let read = (|| {
            self.source.seek(SeekFrom::Start(at))?;
            let mut filled = 0;
            while filled < wanted {
                match self.source.read(&mut self.window[filled..])? {
                    0 => break,
                    read => filled += read,
                }
            }
            Ok(filled)
        })();
        self.window.truncate(read.map_err(Stop::Io)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_anywhere_but_past_the_end() {
        let content: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        let mut cursor = io::Cursor::new(&content);
        let mut bytes = Bytes::new(&mut cursor, content.len() as u64);
        for at in [0u64, 4094, 4095, 9_996, 3, 8_000] {
            let expected = &content[at as usize..at as usize + 4];
            assert_eq!(bytes.get::<4>(at).unwrap().unwrap(), expected, "at {at}");
        }
        assert_eq!(bytes.get::<4>(9_997).unwrap(), None);
        assert_eq!(bytes.get::<4>(u64::MAX).unwrap(), None);
    }

    #[test]
    fn steps_are_bounded() {
        let mut cursor = io::Cursor::new([0u8; 4]);
        let mut bytes = Bytes::new(&mut cursor, 4);
        bytes.steps = MAX_STEPS - 1;
        bytes.step().unwrap();
        assert!(matches!(bytes.step(), Err(Stop::Refused(_))));
    }
}
