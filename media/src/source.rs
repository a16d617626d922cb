//! An open file whose packets come on one time line, wherever its own stamps restart or leap.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ffmpeg_next as av;
use ffmpeg_next::format;

use crate::error::Result;
use crate::input::{self, Stop};
use crate::joins::{Joins, Point, WHOLE, moved};

/// Containers (libav's names) in which reading can go on at any packet's position, and where the first one is.
const SOUGHT_BY_BYTES: [(&str, i64); 3] = [("mpegts", 0), ("mpeg", 0), ("flv", 13)];

/// See the [module](self).
pub(crate) struct Source {
    path: PathBuf,
    input: format::context::Input,
    joins: Option<Arc<Joins>>,
    /// What counts now, by track of the joins: packets without a position belong to the one before.
    now: Vec<Option<Point>>,
}

impl Source {
    /// Opens a file for demuxing; `joins` are what its index found.
    ///
    /// # Errors
    /// As [`input::open`].
    pub fn open(path: &Path, joins: Option<Arc<Joins>>) -> Result<Self> {
        let now = joins.as_ref().map_or_else(Vec::new, |joins| vec![None; joins.tracks.len()]);
        Ok(Self { path: path.to_owned(), input: input::open(path)?, joins, now })
    }

    /// Goes back to the first packet, whatever was read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reopen(&mut self) -> Result<()> {
        *self = Self::open(&self.path, self.joins.clone())?;
        Ok(())
    }

    /// Reads on until the file has a stream of this number with its first packet, and goes back; `None` where it has none to the
    /// end.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read_until_there_is(&mut self, stream: usize) -> Result<Option<usize>> {
        let (mut packet, mut damaged) = (av::Packet::empty(), 0);
        let found = self.read(stream, &mut packet, &mut damaged).then_some(stream);
        self.rewind()?;
        Ok(found)
    }

    /// Goes back to the first packet; keeps what is known of the streams where the container allows it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn rewind(&mut self) -> Result<()> {
        self.now.fill(None);
        let sought = self.first_packet().is_some_and(|first| input::seek_to_byte(&mut self.input, first).is_ok());
        if sought { Ok(()) } else { self.reopen() }
    }

    /// The position of the first packet, where the container can be sought by positions.
    fn first_packet(&self) -> Option<i64> {
        let name = self.input.format().name().to_owned();
        SOUGHT_BY_BYTES.iter().find(|(container, _)| *container == name).map(|&(_, first)| first)
    }

    /// Reads the next packet of one stream; see [`input::read`].
    pub fn read(&mut self, stream: usize, packet: &mut av::Packet, damaged: &mut u64) -> bool {
        self.read_unless(stream, packet, damaged, &input::never)
    }

    /// See [`input::read_unless`].
    pub fn read_unless(&mut self, stream: usize, packet: &mut av::Packet, damaged: &mut u64, stop: &Stop) -> bool {
        let read = input::read_unless(&mut self.input, stream, packet, damaged, stop);
        if read {
            self.place(packet);
        }
        read
    }

    /// Reads the next packet of any stream.
    ///
    /// # Errors
    /// As libav does, also at the end.
    pub fn read_next(&mut self, packet: &mut av::Packet) -> std::result::Result<(), av::Error> {
        packet.read(&mut self.input)?;
        self.place(packet);
        Ok(())
    }

    /// Seeks so that reading goes on at or before `timestamp`, in the time base of stream `index`.
    ///
    /// # Errors
    /// Where this container cannot be sought so; [`Self::reopen`] and reading on leads there then.
    pub fn seek(&mut self, index: usize, timestamp: i64) -> std::result::Result<(), av::Error> {
        let Some(joins) = &self.joins else { return input::seek(&mut self.input, index, timestamp) };
        if self.first_packet().is_none() {
            return Err(av::Error::OptionNotFound);
        }
        let before = joins.keys.partition_point(|&(decoded, _)| decoded <= timestamp).saturating_sub(1);
        let &(_, position) = joins.keys.get(before).ok_or(av::Error::InvalidData)?;
        self.now = joins.tracks.iter().map(|track| track.at(position)).collect();
        input::seek_to_byte(&mut self.input, position)
    }

    /// Between which ticks of the picture what the newest packet of a stream holds is to be shown or heard: see
    /// [`Point::span`].
    pub fn span(&self, stream: usize) -> (i64, i64) {
        let track = self.joins.as_ref().and_then(|joins| joins.tracks.iter().position(|track| track.stream == stream));
        track.and_then(|track| self.now[track]).map_or(WHOLE, |point| point.span)
    }

    /// Puts a packet on the joined time line.
    fn place(&mut self, packet: &mut av::Packet) {
        let Some(joins) = &self.joins else { return };
        let found = joins.tracks.iter().zip(&mut self.now).find(|(track, _)| track.stream == packet.stream());
        let Some((track, now)) = found else { return };
        if packet.position() >= 0 {
            *now = track.at(packet.position() as i64);
        }
        let offset = now.map_or(0, |point| point.offset);
        let (dts, pts) = moved((packet.dts(), packet.pts()), offset, track.wrap_bits);
        packet.set_pts(pts);
        packet.set_dts(dts);
    }
}

impl Deref for Source {
    type Target = format::context::Input;

    fn deref(&self) -> &Self::Target {
        &self.input
    }
}

impl DerefMut for Source {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.input
    }
}
