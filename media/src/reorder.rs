//! Decoding times from display times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Gives packets, in decoding order, the times at which they must be decoded: the display times in rising order,
/// delayed by the stream's reorder depth.
pub(crate) struct DecodingTimes {
    depth: usize,
    /// Ticks between the decoding times that lie before the first display time.
    lead: i64,
    waiting: BinaryHeap<Reverse<i64>>,
    first: Option<i64>,
    given: usize,
    last: Option<i64>,
}

impl DecodingTimes {
    /// `depth` is the number of frames by which decoding may run ahead of display, `lead` a frame's usual ticks.
    pub fn new(depth: usize, lead: i64) -> Self {
        Self { depth, lead: lead.max(1), waiting: BinaryHeap::new(), first: None, given: 0, last: None }
    }

    /// The decoding time of the next packet, shown at `pts`; `None` when the stream is reordered further than the
    /// depth, or two packets have one time.
    pub fn next(&mut self, pts: i64) -> Option<i64> {
        let first = *self.first.get_or_insert(pts);
        self.waiting.push(Reverse(pts));
        let dts = if self.given < self.depth {
            first - (self.depth - self.given) as i64 * self.lead
        } else {
            self.waiting.pop()?.0
        };
        self.given += 1;
        let fits = dts <= pts && self.last.is_none_or(|last| last < dts);
        self.last = Some(dts);
        fits.then_some(dts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_times_rise_and_stay_before_display_times() {
        let shown = [0, 40, 20, 10, 30, 80, 60, 50, 70];
        let mut times = DecodingTimes::new(2, 10);
        let decoded: Vec<_> = shown.iter().map(|&pts| times.next(pts).unwrap()).collect();
        assert_eq!(decoded, [-20, -10, 0, 10, 20, 30, 40, 50, 60]);
        let mut shallow = DecodingTimes::new(1, 10);
        assert!(shown.iter().any(|&pts| shallow.next(pts).is_none()));
    }
}
