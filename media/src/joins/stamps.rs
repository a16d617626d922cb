//! Time stamps of a stream, and counting with them.

use ffmpeg_next as av;

/// What has to be known of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamps {
    pub dts: Option<i64>,
    pub pts: Option<i64>,
    pub duration: i64,
    pub key: bool,
    /// Byte at which it lies in the file; negative where that is not known.
    pub position: i64,
}

/// How a stream counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    pub base: av::Rational,
    /// Bits of a stamp.
    pub wrap_bits: u32,
    /// Ticks of a frame that does not say how long it lasts.
    pub frame: i64,
    /// Whether decoding times are made up from display times, as libav does for Matroska.
    pub reordered: bool,
    pub is_sound: bool,
}

/// A difference of two stamps of so many bits, the shorter way round.
pub(super) fn fold(difference: i64, bits: u32) -> i64 {
    if bits >= 63 {
        return difference;
    }
    let (round, half) = (1i128 << bits, 1i128 << (bits - 1));
    ((i128::from(difference) + half).rem_euclid(round) - half) as i64
}

/// A display time on the turn of the counter on which its decoding time is.
pub(super) fn beside(dts: i64, pts: i64, bits: u32) -> i64 {
    dts.wrapping_add(fold(pts.wrapping_sub(dts), bits))
}

/// Decoding and display time of a packet with an offset.
pub(crate) fn moved((dts, pts): (Option<i64>, Option<i64>), offset: i64, bits: u32) -> (Option<i64>, Option<i64>) {
    let shown = pts.map(|pts| dts.map_or(pts, |dts| beside(dts, pts, bits)));
    // Stamps may be any number: those of a damaged file are refused later, where frames have no order.
    (dts.map(|dts| dts.wrapping_add(offset)), shown.map(|pts| pts.wrapping_add(offset)))
}

/// Ticks of one clock as those of another.
pub(crate) fn rescale(ticks: i64, from: av::Rational, to: av::Rational) -> i64 {
    if from == to {
        return ticks;
    }
    let numerator = i128::from(from.numerator()) * i128::from(to.denominator());
    let denominator = i128::from(from.denominator()) * i128::from(to.numerator());
    (i128::from(ticks) * numerator / denominator.max(1)) as i64
}
