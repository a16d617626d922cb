//! What becomes of each of the 256 code values, applied to whole runs of samples.

/// A map of code values.
pub(super) struct Tone {
    table: [u8; 256],
    line: Option<Line>,
    changes: bool,
}

/// `(v * gain / 256 + bias) / 256`, each division rounded down: a map that vectorises, where a table lookup does not.
/// The gain is in two halves, so that 16 bits hold every step.
#[derive(Debug, Clone, Copy)]
struct Line {
    gain: [u8; 2],
    bias: u16,
}

impl Line {
    fn map(self, value: u8) -> u8 {
        let [coarse, fine] = self.gain.map(|part| u16::from(part).wrapping_mul(u16::from(value)));
        (coarse.wrapping_add(fine >> 8).wrapping_add(self.bias) >> 8) as u8
    }
}

impl Tone {
    /// Rounds a function of the code value to the nearest.
    pub fn new(function: impl Fn(u8) -> f64) -> Self {
        let table: [u8; 256] = std::array::from_fn(|value| (function(value as u8) + 0.5).floor() as u8);
        let changes = table.iter().enumerate().any(|(value, &mapped)| value != usize::from(mapped));
        Self { table, line: None, changes }
    }

    /// Scales distances from `zero` by a factor of at most 1.
    pub fn scaled(zero: u8, factor: f64) -> Self {
        let zero = f64::from(zero);
        let mut tone = Self::new(|value| zero + (f64::from(value) - zero) * factor);
        tone.line = line_through(&tone.table, factor, zero * (1.0 - factor));
        tone
    }

    pub fn apply(&self, samples: &mut [u8]) {
        if !self.changes {
            return;
        }
        match self.line {
            Some(line) => samples.iter_mut().for_each(|sample| *sample = line.map(*sample)),
            None => samples.iter_mut().for_each(|sample| *sample = self.table[usize::from(*sample)]),
        }
    }
}

/// The line that gives every value of the table, if 16-bit arithmetic has one: rounding leaves a little room around the
/// ideal gain and bias, which is searched.
fn line_through(table: &[u8; 256], factor: f64, offset: f64) -> Option<Line> {
    let gain = (factor * 65536.0).round() as i32;
    let bias = (offset * 256.0).round() as i32 + 128;
    (-4..=4).flat_map(|g| (-2..=4).map(move |b| (gain + g, bias + b))).find_map(|(gain, bias)| {
        let line = Line { gain: u16::try_from(gain).ok()?.to_be_bytes(), bias: u16::try_from(bias).ok()? };
        (0..=255u8).all(|value| line.map(value) == table[usize::from(value)]).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_runs_agree_with_the_table() {
        let (mut lines, mut tones) = (0, 0);
        for zero in [0, 16, 128] {
            for percent in 0..=100 {
                let tone = Tone::scaled(zero, 1.0 - f64::from(percent) / 100.0);
                // Not a multiple of what is mapped at a time.
                let mut run: Vec<u8> = (0..=255).chain(0..=250).collect();
                tone.apply(&mut run);
                assert_eq!(run[..256], tone.table);
                assert_eq!(run[256..], tone.table[..251]);
                tones += 1;
                lines += usize::from(tone.line.is_some());
            }
        }
        assert!(lines * 10 > tones * 8, "only {lines} of {tones} maps have a line");
    }

    #[test]
    fn rounds_to_the_nearest() {
        let tone = Tone::scaled(16, 0.85);
        assert_eq!(tone.table[16], 16);
        assert_eq!(tone.table[116], 101);
        assert_eq!(tone.table[17], 17);
        assert!(!Tone::scaled(128, 1.0).changes);
    }
}
