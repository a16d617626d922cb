//! Sound made longer or shorter with its pitch kept: libavfilter's `atempo`.

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{ChannelLayout, filter, format, frame};

use super::decode::CHANNELS;
use crate::error::{MediaError, Result};

/// The factors one `atempo` blends well; beyond 2 it would skip samples (FFmpeg's filter documentation), so larger
/// changes go through several.
const SLOWEST: f64 = 0.5;
const FASTEST: f64 = 2.0;

/// Stretches interleaved stereo: `speed` seconds go in for every second that comes out.
pub(super) struct Tempo {
    graph: filter::Graph,
    rate: u32,
    pushed: i64,
    ready: Vec<f32>,
    /// Floats of `ready` that were read already.
    read: usize,
}

impl Tempo {
    pub fn new(speed: Rat, rate: u32) -> Result<Self> {
        let steps = chain(edits::rational::to_f64(speed));
        let doing = || format!("building the sound filter {steps:?}");
        let failed = |error: av::Error| MediaError::codec(doing(), error);
        let lookup = |name: &str| {
            filter::find(name).ok_or_else(|| MediaError::codec(doing(), format!("libavfilter has no {name}")))
        };
        let mut graph = filter::Graph::new();
        let shape = format!("time_base=1/{rate}:sample_rate={rate}:sample_fmt=flt:channel_layout=stereo");
        graph.add(&lookup("abuffer")?, "in", &shape).map_err(failed)?;
        graph.add(&lookup("abuffersink")?, "out", "").map_err(failed)?;
        graph
            .output("in", 0)
            .and_then(|parser| parser.input("out", 0))
            .and_then(|parser| parser.parse(&format!("{steps},aformat=sample_fmts=flt:channel_layouts=stereo")))
            .and_then(|()| graph.validate())
            .map_err(failed)?;
        Ok(Self { graph, rate, pushed: 0, ready: Vec::new(), read: 0 })
    }

    /// Fills `out` (interleaved stereo); `more` is called for source sound, in order, as long as it does not suffice.
    pub fn read(&mut self, out: &mut [f32], mut more: impl FnMut(&mut [f32]) -> Result<()>) -> Result<()> {
        while self.ready.len() - self.read < out.len() {
            if !self.pull()? {
                self.push(&mut more)?;
            }
        }
        out.copy_from_slice(&self.ready[self.read..self.read + out.len()]);
        self.read += out.len();
        Ok(())
    }

    fn push(&mut self, more: &mut impl FnMut(&mut [f32]) -> Result<()>) -> Result<()> {
        let packed = format::Sample::F32(format::sample::Type::Packed);
        let mut frame = frame::Audio::new(packed, FEED, ChannelLayout::STEREO);
        frame.set_rate(self.rate);
        frame.set_pts(Some(self.pushed));
        self.pushed += FEED as i64;
        let mut samples = [0.0; FEED * CHANNELS];
        more(&mut samples)?;
        for (to, from) in frame.data_mut(0).chunks_exact_mut(size_of::<f32>()).zip(samples) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        let mut source = self.graph.get("in").expect("the graph has its source");
        source.source().add(&frame).map_err(|error| MediaError::codec("stretching sound", error))
    }

    /// Takes what the filter has ready; false: it needs more input first.
    fn pull(&mut self) -> Result<bool> {
        let mut frame = frame::Audio::empty();
        let mut sink = self.graph.get("out").expect("the graph has its sink");
        match sink.sink().frame(&mut frame) {
            Ok(()) => {}
            Err(av::Error::Other { errno }) if errno == av::error::EAGAIN => return Ok(false),
            Err(error) => return Err(MediaError::codec("stretching sound", error)),
        }
        self.ready.drain(..std::mem::take(&mut self.read));
        let bytes = &frame.data(0)[..frame.samples() * CHANNELS * size_of::<f32>()];
        self.ready.extend(bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])));
        Ok(true)
    }
}

/// Samples handed to the filter at a time.
const FEED: usize = 1024;

/// The filters that together change the speed by `speed`, each within what one does well.
fn chain(speed: f64) -> String {
    let mut rest = speed;
    let mut steps = Vec::new();
    while !(SLOWEST..=FASTEST).contains(&rest) {
        let step = if rest < SLOWEST { SLOWEST } else { FASTEST };
        steps.push(step);
        rest /= step;
    }
    steps.push(rest);
    steps.iter().map(|step| format!("atempo={step}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_changes_are_chained() {
        assert_eq!(chain(1.5), "atempo=1.5");
        assert_eq!(chain(8.0), "atempo=2,atempo=2,atempo=2");
        assert_eq!(chain(0.125), "atempo=0.5,atempo=0.5,atempo=0.5");
        let product: f64 = chain(0.1).split(',').map(|step| step["atempo=".len()..].parse::<f64>().unwrap()).product();
        assert!((product - 0.1).abs() < 1e-12);
    }
}
