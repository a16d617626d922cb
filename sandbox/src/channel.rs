//! Messages between a process and its owner: each two lengths of four bytes, then a value in postcard's format, then
//! bytes that are attached as they are.
//!
//! A value may take many times its bytes once it is read, because an empty text is one byte there and 24 in memory. So who
//! does not trust the other end takes small values, and large things attached.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Upper bound of a value, and of what is attached to it, in bytes: the index of ten million frames takes some 60 MB.
const MOST_BYTES: usize = 256 << 20;
/// By how much the buffer of a message grows: a length alone reserves no memory.
const STEP: usize = 1 << 20;

/// The two lengths before a message.
const HEADER: usize = 8;

/// How large a message may be that is received, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The value.
    pub value: usize,
    /// What is attached to it.
    pub attached: usize,
}

/// One end of a stream of messages. Threads may send at the same time; one thread receives.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    sending: Mutex<()>,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, sending: Mutex::new(()) }
    }

    /// Lets [`Channel::send`] fail when the other end does not read for so long.
    pub(crate) fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(time))
    }

    /// Sends a message; blocks while the other end does not read: an owner for a minute at most.
    ///
    /// # Errors
    /// When the other end is gone or does not read, or the message is larger than 256 MiB.
    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// [`Channel::send`], with bytes attached.
    ///
    /// # Errors
    /// As there.
    pub fn send_with(&self, message: &impl Serialize, attached: &[u8]) -> io::Result<()> {
        let mut bytes = postcard::to_extend(message, vec![0; HEADER]).map_err(io::Error::other)?;
        let lengths = [bytes.len() - HEADER, attached.len()];
        for (field, length) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(lengths) {
            if length > MOST_BYTES {
                return Err(io::Error::other(format!("a message of {length} bytes is too large")));
            }
            *field = (length as u32).to_le_bytes();
        }
        let _one_at_a_time = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.stream).write_all(&bytes)?;
        (&self.stream).write_all(attached)
    }

    /// Blocks until a message has come; None when the other end is gone.
    ///
    /// # Errors
    /// When what comes is no message of this type, or the other end goes away in the middle of one.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let received = self.receive_within(Bounds { value: MOST_BYTES, attached: 0 })?;
        Ok(received.map(|(value, _)| value))
    }

    /// [`Channel::receive`] from another end that is not trusted, with what is attached to the message.
    ///
    /// # Errors
    /// As there, and when a message is larger than `most`, of which nothing is read then.
    pub fn receive_within<T: DeserializeOwned>(&self, most: Bounds) -> io::Result<Option<(T, Vec<u8>)>> {
        let mut header = [0; HEADER];
        match (&self.stream).read(&mut header)? {
            0 => return Ok(None),
            read => (&self.stream).read_exact(&mut header[read..])?,
        }
        let [value, attached] =
            [0, 4].map(|at| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte])) as usize);
        if value > most.value || attached > most.attached {
            let announced = format!("a message of {value} and {attached} bytes is announced, which is too large");
            return Err(io::Error::other(announced));
        }
        let value = postcard::from_bytes(&self.read(value)?);
        let value = value.map_err(|error| io::Error::other(format!("no such message: {error}")))?;
        Ok(Some((value, self.read(attached)?)))
    }

    fn read(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let from = bytes.len();
            bytes.resize(length.min(from + STEP.max(from)), 0);
            (&self.stream).read_exact(&mut bytes[from..])?;
        }
        Ok(bytes)
    }

    /// Ends both directions: a thread that waits in [`Channel::receive`] returns.
    pub fn close(&self) {
        // Refused only where the other end has closed it already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        (Channel::new(here), there)
    }

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (here, there) = pair();
        let there = Channel::new(there);
        let long = vec![7_u8; 3 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                here.send(&(1_u32, "one")).unwrap();
                here.send(&(2_u32, &long)).unwrap();
            });
            assert_eq!(there.receive::<(u32, String)>().unwrap(), Some((1, "one".into())));
            assert_eq!(there.receive::<(u32, Vec<u8>)>().unwrap(), Some((2, long.clone())));
        });
        drop(here);
        assert_eq!(there.receive::<u32>().unwrap(), None);
    }

    #[test]
    fn what_is_attached_arrives_beside_its_message() {
        let (here, there) = pair();
        let (there, most) = (Channel::new(there), Bounds { value: 10, attached: 4 });
        here.send_with(&1_u32, &[1, 2, 3, 4]).unwrap();
        here.send(&"0123456789").unwrap();
        here.send_with(&2_u32, &[0; 5]).unwrap();
        assert_eq!(there.receive_within::<u32>(most).unwrap(), Some((1, vec![1, 2, 3, 4])));
        assert!(there.receive_within::<String>(most).is_err(), "its length is a byte more");
        let (here, there) = pair();
        here.send_with(&2_u32, &[0; 5]).unwrap();
        assert!(Channel::new(there).receive_within::<u32>(most).unwrap_err().to_string().contains("1 and 5 bytes"));
        let (here, there) = pair();
        here.send_with(&2_u32, &[0]).unwrap();
        assert!(Channel::new(there).receive::<u32>().is_err(), "nothing was to be attached");
    }

    #[test]
    fn sending_ends_when_the_other_end_does_not_read() {
        let (here, _there) = pair();
        here.wait_at_most(Duration::from_millis(10)).unwrap();
        assert!(here.send(&vec![0_u8; 8 << 20]).is_err());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (here, mut raw) = pair();
        raw.write_all(&[0xff; HEADER]).unwrap();
        assert!(here.receive::<u32>().unwrap_err().to_string().contains("too large"));
        let (here, mut raw) = pair();
        raw.write_all(&[2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
        assert!(here.receive::<String>().unwrap_err().to_string().contains("no such message"));
        let (here, mut raw) = pair();
        raw.write_all(&[200, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        drop(raw);
        assert!(here.receive::<String>().is_err(), "it ended in the middle");
    }
}
