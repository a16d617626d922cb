//! Exact access to displayed frames.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ffmpeg_next as av;
use ffmpeg_next::{codec, frame};

use crate::error::{MediaError, Result};
use crate::feed::Feeder;
use crate::frame_tags;
use crate::index::FrameIndex;
use crate::input;
use crate::log::{self, Complainer};
use crate::normalise::{Normaliser, reference_frame};
use crate::packets::{Stamp, stamp_packet};
use crate::picture::Picture;
use crate::probe;
use crate::source::Source;

/// Frames that a seek must save to be worth emptying the decoder's pipeline.
const SEEK_WORTH: usize = 12;

/// Frames in a row that did not come out from any place, after which decoding no longer starts at the file's start: a
/// file of many such frames would be read from there for each.
const FRUITLESS_RESTARTS: u32 = 8;

/// Decoder errors in a row after which a stream counts as ended.
const ERRORS_IN_A_ROW: usize = 64;

/// Decodes frames of one video by their number in its [`FrameIndex`].
///
/// Requests of rising numbers decode every frame once. A number behind the current one, or past the next key frame,
/// costs a seek. A frame that cannot be decoded is replaced by the one before it and counted in
/// [`FrameDecoder::warnings`].
pub struct FrameDecoder {
    path: PathBuf,
    index: Arc<FrameIndex>,
    threads: usize,
    demuxer: Demuxer,
    decoder: codec::decoder::Video,
    feeder: Feeder,
    normaliser: Normaliser,
    /// Frame numbers by stamp, where stamps are not presentation times.
    names: HashMap<i64, usize>,
    packet: av::Packet,
    scratch: frame::Video,
    draining: bool,
    /// The newest frame that was passed or delivered.
    last: Option<(usize, Arc<Shown>)>,
    /// A frame that came out beyond the requested one.
    ahead: Option<(usize, Arc<Shown>)>,
    /// Whether the decoder reported an error in the newest packet; the frame it concealed is not counted again.
    complained: bool,
    /// Frames in a row for which every restart was in vain.
    fruitless: u32,
    warnings: u64,
    on_packet: Option<Box<dyn Fn() + Send>>,
}

/// A frame that left the decoder: normalised only when it is requested.
struct Shown {
    raw: frame::Video,
    picture: std::sync::OnceLock<Arc<Picture>>,
}

/// Where decoding starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// A seek point of the index.
    Key(usize),
    /// The first packet.
    File,
}

/// The demuxer's state that a seek changes.
struct Demuxer {
    source: Source,
    /// Packets up to the one with this stamp are passed over: the seek landed early.
    skip_to: Option<i64>,
    /// A packet that was read while searching for the seek's target.
    pending: bool,
    number: i64,
    damaged: u64,
}

impl FrameDecoder {
    /// Opens a video whose index is known. `threads` is the decoder's number of frame threads (1 or 2 is plenty when
    /// several videos are decoded side by side). With more than one, frames are handed out before the decoder has
    /// found all of their damage, so [`FrameDecoder::warnings`] may count less.
    ///
    /// # Errors
    /// [`MediaError::Io`] or [`MediaError::Refused`] when the file cannot be opened.
    pub fn open(path: &Path, index: Arc<FrameIndex>, threads: usize) -> Result<Self> {
        let mut source = Source::open(path, index.joins.clone())?;
        let stream = source
            .stream(index.stream)
            .ok_or_else(|| MediaError::codec("opening a video", "the index belongs to another file"))?;
        let feeder = Feeder::of(&stream);
        let decoder = input::decoder(&stream, threads)?
            .video()
            .map_err(|error| MediaError::codec("opening the video decoder", error))?;
        let target = probe::target(&mut source, index.stream, None)?;
        let names = index.stamps.iter().flatten().enumerate().map(|(n, &stamp)| (stamp, n)).collect();
        Ok(Self {
            path: path.to_owned(),
            threads,
            demuxer: Demuxer { source, skip_to: None, pending: false, number: 0, damaged: 0 },
            decoder,
            feeder,
            normaliser: Normaliser::new(target),
            names,
            packet: av::Packet::empty(),
            scratch: frame::Video::empty(),
            draining: false,
            last: None,
            ahead: None,
            complained: false,
            fruitless: 0,
            warnings: 0,
            on_packet: None,
            index,
        })
    }

    /// Calls `tell` with every packet that is read: one frame may need all of a file before it.
    #[must_use]
    pub fn on_packet(mut self, tell: impl Fn() + Send + 'static) -> Self {
        self.on_packet = Some(Box::new(tell));
        self
    }

    /// Frames that were damaged or missing so far.
    pub fn warnings(&self) -> u64 {
        self.warnings + self.demuxer.damaged
    }

    /// The displayed frame `n`, counted from 0.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when `n` is past the end, or not even a neighbour of the frame can be decoded.
    pub fn frame(&mut self, n: usize) -> Result<Arc<Picture>> {
        if n >= self.index.len() {
            return Err(MediaError::codec(
                format!("decoding frame {n} of {}", self.path.display()),
                format!("the video has {} frames", self.index.len()),
            ));
        }
        if let Some((last, shown)) = self.last.clone()
            && last == n
        {
            return self.picture(&shown);
        }
        if self.goes_on_to(n) {
            if self.in_hole(n) {
                return self.hold(n);
            }
            return match self.run_to(n)? {
                Some(shown) => self.picture(&shown),
                None => self.hold(n),
            };
        }
        // A frame that does not come out after its key frame may do so from an earlier one.
        let key = self.key_for(n);
        let before = self.last.clone();
        for start in [Start::Key(key), Start::Key(key.saturating_sub(1)), Start::File] {
            if start == Start::File && self.fruitless >= FRUITLESS_RESTARTS {
                self.last = self.last.take().or(before);
                return self.hold(n);
            }
            self.start_at(start)?;
            if let Some(shown) = self.run_to(n)? {
                self.fruitless = 0;
                return self.picture(&shown);
            }
        }
        self.fruitless += 1;
        self.hold(n)
    }

    /// The seek point for frame `n`. Deinterlacing reads the frame before, so it must be decoded too.
    fn key_for(&self, n: usize) -> usize {
        let from = if self.normaliser.is_temporal() { n.saturating_sub(1) } else { n };
        self.index.key_for(from)
    }

    /// Whether reading on from here leads to frame `n` without passing a better place to start.
    fn goes_on_to(&self, n: usize) -> bool {
        let position = match (&self.ahead, &self.last) {
            (Some((ahead, _)), _) if n >= *ahead => *ahead,
            (_, Some((last, _))) if n > *last => *last,
            (None, None) => return self.demuxer.skip_to.is_none() && self.key_for(n) == 0 && !self.draining,
            _ => return false,
        };
        let key = self.index.keys.get(self.key_for(n));
        self.index.stamp == Stamp::Order || key.is_none_or(|key| key.frame <= position + 1 + SEEK_WORTH)
    }

    /// Whether `n` lies between two frames that came out one after the other.
    fn in_hole(&self, n: usize) -> bool {
        self.ahead.as_ref().is_some_and(|(ahead, _)| n < *ahead)
    }

    /// Takes the frame before `n`, or else the one after, in its place.
    fn hold(&mut self, n: usize) -> Result<Arc<Picture>> {
        self.warnings += 1;
        match self.last.clone().or_else(|| self.ahead.clone()) {
            Some((_, shown)) => self.picture(&shown),
            None => Err(MediaError::codec(
                format!("decoding frame {n} of {}", self.path.display()),
                "no frame near it can be decoded",
            )),
        }
    }

    /// Reads on until frame `n` comes out; `None` when it was passed over or the stream ended.
    fn run_to(&mut self, n: usize) -> Result<Option<Arc<Shown>>> {
        loop {
            let (number, shown) = match self.ahead.take() {
                Some(ahead) => ahead,
                None => match self.next_shown()? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
            if number > n {
                self.ahead = Some((number, shown));
                return Ok(None);
            }
            self.last = Some((number, shown.clone()));
            if number == n {
                return Ok(Some(shown));
            }
        }
    }

    fn picture(&mut self, shown: &Arc<Shown>) -> Result<Arc<Picture>> {
        if let Some(picture) = shown.picture.get() {
            return Ok(picture.clone());
        }
        let mut raw = frame::Video::empty();
        reference_frame(&mut raw, &shown.raw);
        let picture = Arc::new(self.normaliser.convert(raw)?);
        Ok(shown.picture.get_or_init(|| picture).clone())
    }

    /// The next displayed frame with its number.
    fn next_shown(&mut self) -> Result<Option<(usize, Arc<Shown>)>> {
        if !self.normaliser.is_temporal() {
            while let Some((stamp, raw)) = self.next_raw()? {
                if let Some(number) = self.number_of(stamp) {
                    let picture = std::sync::OnceLock::new();
                    return Ok(Some((number, Arc::new(Shown { raw, picture }))));
                }
            }
            return Ok(None);
        }
        loop {
            if let Some((stamp, picture)) = self.normaliser.pull()? {
                if let Some(number) = self.number_of(stamp) {
                    let shown = Shown { raw: frame::Video::empty(), picture: Arc::new(picture).into() };
                    return Ok(Some((number, Arc::new(shown))));
                }
            } else if let Some((_, raw)) = self.next_raw()? {
                self.normaliser.push(&raw)?;
            } else if std::mem::take(&mut self.draining) {
                self.normaliser.finish()?;
            } else {
                return Ok(None);
            }
        }
    }

    fn number_of(&self, stamp: i64) -> Option<usize> {
        match self.index.stamps {
            Some(_) => self.names.get(&stamp).copied(),
            None => self.index.times.pts().binary_search(&stamp).ok(),
        }
    }

    /// The next frame out of the decoder, with its stamp.
    fn next_raw(&mut self) -> Result<Option<(i64, frame::Video)>> {
        let mut errors = 0;
        while errors < ERRORS_IN_A_ROW {
            match self.decoder.receive_frame(&mut self.scratch) {
                Ok(()) => {
                    let mut raw = std::mem::replace(&mut self.scratch, frame::Video::empty());
                    frame_tags::check(&mut raw);
                    if (raw.is_corrupt() || raw.has_decode_errors()) && !std::mem::take(&mut self.complained) {
                        self.warnings += 1;
                    }
                    if let Some(stamp) = raw.pts() {
                        return Ok(Some((stamp, raw)));
                    }
                }
                Err(av::Error::Other { errno }) if errno == av::error::EAGAIN => self.feed()?,
                Err(av::Error::Eof) => return Ok(None),
                Err(_) => {
                    errors += 1;
                    self.warnings += 1;
                }
            }
        }
        Ok(None)
    }

    /// Hands the next packet, or the end, to the decoder.
    fn feed(&mut self) -> Result<()> {
        let stamp = self.index.stamp;
        if self.demuxer.next(self.index.stream, stamp, &mut self.packet, self.on_packet.as_deref()) {
            let complaints = log::complaints(Complainer::Decoder);
            let refused = !self.feeder.send(&mut self.decoder, &self.packet);
            // After a seek, leading pictures, which are not displayed, lack their reference pictures.
            let complains = log::complaints(Complainer::Decoder) > complaints && self.last.is_some();
            self.complained = refused || complains;
            self.warnings += u64::from(self.complained);
            return Ok(());
        }
        self.draining = true;
        self.decoder.send_eof().map_err(|error| MediaError::codec("finishing the video decoder", error))
    }

    /// Makes decoding start anew.
    fn start_at(&mut self, start: Start) -> Result<()> {
        self.last = None;
        self.ahead = None;
        self.draining = false;
        self.normaliser.reset();
        self.decoder.flush();
        self.feeder.flush();
        let stream = self.index.stream;
        let found = match start {
            Start::Key(key) if self.index.stamp != Stamp::Order => [key, key.saturating_sub(1), key.saturating_sub(4)]
                .into_iter()
                .any(|place| self.demuxer.seek(&self.index, place, key, &mut self.packet)),
            _ => false,
        };
        if !found {
            self.demuxer.restart()?;
            let parameters = self.demuxer.source.stream(stream).ok_or_else(|| {
                MediaError::codec("opening a video again", "the file has changed since it was opened")
            })?;
            self.decoder = input::decoder(&parameters, self.threads)?
                .video()
                .map_err(|error| MediaError::codec("opening the video decoder", error))?;
        }
        Ok(())
    }
}

impl Demuxer {
    /// Goes back to the first packet.
    fn restart(&mut self) -> Result<()> {
        self.source.reopen()?;
        (self.skip_to, self.pending, self.number) = (None, false, 0);
        Ok(())
    }

    /// Seeks to the packet of seek point `key` by way of the time of seek point `place`; false when reading goes on
    /// behind it instead.
    fn seek(&mut self, index: &FrameIndex, place: usize, key: usize, packet: &mut av::Packet) -> bool {
        let (place, key) = (&index.keys[place], &index.keys[key]);
        if self.source.seek(index.stream, place.dts).is_err() {
            return false;
        }
        self.pending = false;
        let mut ignored = 0;
        if !self.source.read(index.stream, packet, &mut ignored) {
            return false;
        }
        stamp_packet(packet, index.stamp, &mut self.number);
        self.pending = true;
        self.skip_to = None;
        if packet.pts() == Some(key.stamp) {
            return true;
        }
        if packet.dts().is_none_or(|dts| dts > key.dts) {
            return false;
        }
        self.skip_to = Some(key.stamp);
        true
    }

    /// The next packet to decode; false at the end.
    fn next(
        &mut self,
        stream: usize,
        stamp: Stamp,
        packet: &mut av::Packet,
        on_packet: Option<&(dyn Fn() + Send)>,
    ) -> bool {
        loop {
            if let Some(tell) = on_packet {
                tell();
            }
            if std::mem::take(&mut self.pending) {
                // The packet found by the seek is still in hand.
            } else if self.source.read(stream, packet, &mut self.damaged) {
                stamp_packet(packet, stamp, &mut self.number);
            } else {
                return false;
            }
            match self.skip_to {
                Some(target) if packet.pts() != Some(target) => {}
                _ => {
                    self.skip_to = None;
                    return true;
                }
            }
        }
    }
}
