//! When each source frame is shown: the ground every time in a request stands on.

use std::ops::Range;

use num_traits::CheckedMul;

use crate::rational::{Rat, to_nanos};

/// Presentation times of all frames of one video, in display order.
///
/// Time 0 is the first displayed frame, whatever its PTS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTimes {
    time_base: (i32, i32),
    pts: Vec<i64>,
    end: i64,
}

/// Why a list of frame times cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameTimesError {
    /// A video has at least one frame.
    #[error("there are no frames")]
    Empty,
    /// A tick is a positive fraction of a second.
    #[error("the time base {0}/{1} is not positive")]
    TimeBase(i32, i32),
    /// Two frames share a time, go backwards, or are further apart than time is long.
    #[error("frame {0} is not shown after the frame before it")]
    Order(usize),
    /// The last frame ends before it begins.
    #[error("the video ends before its last frame does")]
    End,
    /// [`FrameTimes::from_bytes`] was given something that [`FrameTimes::to_bytes`] did not write.
    #[error("the stored frame times are damaged")]
    Damaged,
}

/// First byte of [`FrameTimes::to_bytes`]; changes when the format does.
const FORMAT: u8 = 1;

/// More than a day at 120 fps, three times over: a bound on what damaged bytes can make us allocate.
const MAX_FRAMES: u64 = 1 << 25;

impl FrameTimes {
    /// Times in ticks of `time_base` = (num, den) seconds; `end` is the last PTS plus that frame's duration.
    pub fn new(time_base: (i32, i32), pts: Vec<i64>, end: i64) -> Result<Self, FrameTimesError> {
        if time_base.0 <= 0 || time_base.1 <= 0 {
            return Err(FrameTimesError::TimeBase(time_base.0, time_base.1));
        }
        let (Some(&first), Some(&last)) = (pts.first(), pts.last()) else {
            return Err(FrameTimesError::Empty);
        };
        if let Some(before) = pts.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(FrameTimesError::Order(before + 1));
        }
        if end <= last || end.checked_sub(first).is_none() {
            return Err(FrameTimesError::End);
        }
        Ok(Self { time_base, pts, end })
    }

    /// How many frames there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a video without frames cannot be made")]
    pub fn len(&self) -> usize {
        self.pts.len()
    }

    /// The length of a tick, in seconds.
    pub fn time_base(&self) -> Rat {
        Rat::new(self.time_base.0.into(), self.time_base.1.into())
    }

    /// PTS of all frames in ticks, in display order.
    pub fn pts(&self) -> &[i64] {
        &self.pts
    }

    /// Where the last frame ends, in ticks.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// When frame `i` is shown, in seconds from the first. Panics when there is no such frame.
    pub fn seconds(&self, i: usize) -> Rat {
        self.ticks_to_seconds(self.pts[i])
    }

    /// From the first frame to the end of the last, in seconds.
    pub fn duration(&self) -> Rat {
        self.ticks_to_seconds(self.end)
    }

    /// How long the last frame is shown, in seconds.
    pub fn last_frame_duration(&self) -> Rat {
        self.duration() - self.seconds(self.len() - 1)
    }

    /// The frame shown at `t` seconds: the last whose time is at or before `t`, within half a tick and at most a
    /// millisecond; else the first.
    ///
    /// Half a tick, because containers round PTS to ticks: in Matroska's milliseconds the frame due at 33.37 ms is
    /// written at 33. At most a millisecond, because in AVI a tick is a whole frame.
    pub fn at_or_before(&self, t: Rat) -> usize {
        let limit = self.latest_tick(t).saturating_add(i128::from(self.pts[0]));
        self.pts.partition_point(|&pts| i128::from(pts) <= limit).saturating_sub(1)
    }

    /// The frames shown from `start` on and before `end`, exactly: start <= time < end. No frame: an empty range.
    pub fn between(&self, start: Rat, end: Rat) -> Range<usize> {
        let first = self.first_at_or_after(start);
        first..self.first_at_or_after(end).max(first)
    }

    /// How many frames are shown at or before `t`, exactly.
    pub fn count_until(&self, t: Rat) -> usize {
        self.pts.partition_point(|&pts| self.ticks_to_seconds(pts) <= t)
    }

    /// From when to when these frames are shown, in seconds: the last one until the next frame, or the video's end.
    /// Panics when there are no such frames.
    pub fn span(&self, frames: &Range<usize>) -> (Rat, Rat) {
        assert!(frames.start < frames.end && frames.end <= self.len(), "frames {frames:?} of {}", self.len());
        let end = if frames.end == self.len() { self.duration() } else { self.seconds(frames.end) };
        (self.seconds(frames.start), end)
    }

    fn first_at_or_after(&self, t: Rat) -> usize {
        self.pts.partition_point(|&pts| self.ticks_to_seconds(pts) < t)
    }

    /// The last tick that counts as at or before `t`: floor(t / tick + min(1/2, 1 ms / tick)).
    fn latest_tick(&self, t: Rat) -> i128 {
        let ticks_a_second = self.time_base().recip();
        let ticks = t.checked_mul(&ticks_a_second).unwrap_or_else(|| to_nanos(t) * ticks_a_second);
        let early = (ticks_a_second / 1000).min(Rat::new(1, 2));
        (ticks + early).floor().to_integer()
    }

    fn ticks_to_seconds(&self, pts: i64) -> Rat {
        Rat::from(i128::from(pts) - i128::from(self.pts[0])) * self.time_base()
    }

    /// A compact form: run lengths of equal PTS steps, as LEB128 numbers. Two hours of constant frame rate
    /// take some 20 bytes, of jittering milliseconds some hundred kilobytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for number in [self.time_base.0 as u64, self.time_base.1 as u64, zigzag(self.pts[0]), self.pts.len() as u64] {
            write_number(&mut bytes, number);
        }
        let steps = self.pts.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
        let mut run: Option<(u64, u64)> = None;
        for step in steps {
            run = match run {
                Some((length, same)) if same == step => Some((length + 1, same)),
                other => {
                    write_run(&mut bytes, other);
                    Some((1, step))
                }
            };
        }
        write_run(&mut bytes, run);
        let last = self.pts[self.pts.len() - 1];
        write_number(&mut bytes, self.end.abs_diff(last));
        bytes
    }

    /// Reads what [`FrameTimes::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrameTimesError> {
        let damaged = FrameTimesError::Damaged;
        let (&format, mut rest) = bytes.split_first().ok_or(damaged)?;
        if format != FORMAT {
            return Err(damaged);
        }
        let mut next = || read_number(&mut rest).ok_or(damaged);
        let num = i32::try_from(next()?).map_err(|_| damaged)?;
        let den = i32::try_from(next()?).map_err(|_| damaged)?;
        let mut pts = vec![unzigzag(next()?)];
        let count = next()?;
        if count == 0 || count > MAX_FRAMES {
            return Err(damaged);
        }
        while (pts.len() as u64) < count {
            let (length, step) = (next()?, next()?);
            if length == 0 || length > count - pts.len() as u64 {
                return Err(damaged);
            }
            for _ in 0..length {
                pts.push(after(pts[pts.len() - 1], step).ok_or(damaged)?);
            }
        }
        let end = after(pts[pts.len() - 1], next()?).ok_or(damaged)?;
        if !rest.is_empty() {
            return Err(damaged);
        }
        Self::new((num, den), pts, end)
    }
}

fn after(pts: i64, step: u64) -> Option<i64> {
    pts.checked_add_unsigned(step)
}

fn write_run(bytes: &mut Vec<u8>, run: Option<(u64, u64)>) {
    if let Some((length, step)) = run {
        write_number(bytes, length);
        write_number(bytes, step);
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_times_are_refused() {
        let new = FrameTimes::new;
        assert_eq!(new((1, 90000), vec![], 1), Err(FrameTimesError::Empty));
        assert_eq!(new((0, 1), vec![0], 1), Err(FrameTimesError::TimeBase(0, 1)));
        assert_eq!(new((1, 1), vec![0, 2, 2], 3), Err(FrameTimesError::Order(2)));
        assert_eq!(new((1, 1), vec![0, 2], 2), Err(FrameTimesError::End));
        assert_eq!(new((1, 1), vec![i64::MIN, 0], i64::MAX), Err(FrameTimesError::End));
    }

    #[test]
    fn a_frame_counts_from_half_a_tick_before_its_time() {
        let times = FrameTimes::new((1, 1000), vec![100, 133, 167], 200).expect("times");
        assert_eq!(times.at_or_before(Rat::from(-5)), 0);
        assert_eq!(times.at_or_before(Rat::new(32, 1000)), 0);
        assert_eq!(times.at_or_before(Rat::new(324_999, 10_000_000)), 0);
        assert_eq!(times.at_or_before(Rat::new(325, 10_000)), 1);
        assert_eq!(times.at_or_before(Rat::from(1_000_000_000)), 2);
        assert_eq!(times.duration(), Rat::new(1, 10));
        assert_eq!(times.last_frame_duration(), Rat::new(33, 1000));
    }

    #[test]
    fn a_frame_counts_from_a_millisecond_before_its_time_where_ticks_are_longer() {
        let frames = FrameTimes::new((1, 25), vec![0, 1, 2], 3).expect("times");
        let at = |tenths: i128| frames.at_or_before(Rat::new(tenths, 10_000));
        assert_eq!((at(389), at(390), at(789), at(790)), (0, 1, 1, 2));
    }

    #[test]
    fn frames_between_two_times_start_in_them() {
        let times = FrameTimes::new((1, 1000), vec![100, 133, 167], 200).expect("times");
        let at = |milliseconds| Rat::new(milliseconds, 1000);
        assert_eq!(times.between(at(0), at(67)), 0..2);
        assert_eq!(times.between(Rat::new(1, 30), at(68)), 2..3);
        assert_eq!(times.between(at(33), at(33)), 1..1);
        assert_eq!(times.between(at(67), at(0)), 2..2);
        assert_eq!(times.between(at(-5), at(900)), 0..3);
        assert_eq!(times.between(at(68), at(900)), 3..3);
        assert_eq!([0, 32, 33, 900].map(|time| times.count_until(at(time))), [1, 1, 2, 3]);
        assert_eq!(times.span(&(0..2)), (at(0), at(67)));
        assert_eq!(times.span(&(1..3)), (at(33), at(100)));
    }

    #[test]
    fn two_hours_of_constant_rate_are_a_few_bytes() {
        let pts: Vec<i64> = (0..216_000).map(|n| n * 1001 - 512).collect();
        let times = FrameTimes::new((1, 30000), pts, 216_000 * 1001 - 512).expect("times");
        let bytes = times.to_bytes();
        assert!(bytes.len() < 32, "{} bytes", bytes.len());
        assert_eq!(FrameTimes::from_bytes(&bytes), Ok(times));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes = FrameTimes::new((1, 1000), vec![0, 33, 67], 100).expect("times").to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(FrameTimes::from_bytes(&bytes[..length]), Err(FrameTimesError::Damaged), "{length} bytes");
        }
        assert_eq!(FrameTimes::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(FrameTimesError::Damaged));
    }
}
