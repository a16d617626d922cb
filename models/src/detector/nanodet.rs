//! NanoDet: anchor-free boxes as distributions over side distances.
//!
//! Preprocessing and decoding follow <https://github.com/RangiLyu/nanodet> (configuration of NanoDet-g): BGR,
//! normalised by ImageNet's statistics; each side's distance is the expectation over 11 bins (generalised focal loss),
//! in strides, from the cell's centre.

use super::{Candidate, LEAST_CONFIDENCE, PERSON, slice_of};
use crate::network::Output;
use crate::pixels::Encoding;

pub(super) const ENCODING: Encoding =
    Encoding { order: [2, 1, 0], mean: [103.53, 116.28, 123.675], factor: [1.0 / 57.375, 1.0 / 57.12, 1.0 / 58.395] };

/// The mean colour (RGB), which becomes zero.
pub(super) const SURROUND: [u8; 3] = [124, 116, 104];

const STRIDES: [usize; 3] = [8, 16, 32];
const SIDES: usize = 4;
const BINS: usize = 11;

pub(super) fn decode(outputs: &[Output<'_>], index: usize, input: (usize, usize)) -> Result<Vec<Candidate>, String> {
    let mut candidates = Vec::new();
    for stride in STRIDES {
        let (scores, cells, classes) = slice_of(named(outputs, "scores", stride)?, index)?;
        let (boxes, box_cells, values) = slice_of(named(outputs, "boxes", stride)?, index)?;
        let columns = input.0 / stride;
        if cells != columns * (input.1 / stride) || box_cells != cells || values != SIDES * BINS {
            return Err(format!("stride {stride} has {cells} cells of {values} values for an input of {input:?}"));
        }
        for cell in 0..cells {
            let confidence = scores[cell * classes + PERSON];
            if confidence < LEAST_CONFIDENCE {
                continue;
            }
            let offset = (stride as f32 - 1.0) / 2.0;
            let x = (cell % columns * stride) as f32 + offset;
            let y = (cell / columns * stride) as f32 + offset;
            let [left, top, right, bottom] = distances(&boxes[cell * values..(cell + 1) * values], stride);
            candidates.push(Candidate { corners: [x - left, y - top, x + right, y + bottom], confidence });
        }
    }
    Ok(candidates)
}

fn named<'o, 'a>(outputs: &'o [Output<'a>], kind: &str, stride: usize) -> Result<&'o Output<'a>, String> {
    let name = format!("{kind}_{stride}");
    outputs.iter().find(|output| output.name == name).ok_or_else(|| format!("it has no output {name}"))
}

/// Distances to the left, top, right and bottom sides, in input pixels.
fn distances(logits: &[f32], stride: usize) -> [f32; SIDES] {
    std::array::from_fn(|side| {
        let bins = &logits[side * BINS..(side + 1) * BINS];
        let largest = bins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (mut total, mut weighted) = (0.0, 0.0);
        for (bin, logit) in bins.iter().enumerate() {
            let weight = (logit - largest).exp();
            total += weight;
            weighted += weight * bin as f32;
        }
        weighted / total * stride as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cells_box_spreads_from_its_centre() {
        let (cells, size) = ([16, 4, 1], (32, 32));
        let mut scores: Vec<Vec<f32>> = cells.iter().map(|count| vec![0.0; count * 80]).collect();
        let mut boxes: Vec<Vec<f32>> = cells.iter().map(|count| vec![0.0; count * 44]).collect();
        scores[0][6 * 80] = 0.8; // Stride 8, column 2, row 1.
        scores[1][80 + 5] = 0.9; // Another class.
        for (side, bin) in [1, 2, 3, 4].into_iter().enumerate() {
            boxes[0][6 * 44 + side * BINS + bin] = 100.0;
        }
        let names: Vec<[String; 2]> = STRIDES.map(|s| [format!("scores_{s}"), format!("boxes_{s}")]).to_vec();
        let output = |level: usize, kind: usize| Output {
            name: &names[level][kind],
            shape: vec![1, cells[level], [80, 44][kind]],
            data: [&scores[level], &boxes[level]][kind],
        };
        let outputs: Vec<_> = (0..3).flat_map(|level| [output(level, 0), output(level, 1)]).collect();
        let found = decode(&outputs, 0, size).unwrap();
        let expected = Candidate { corners: [19.5 - 8.0, 11.5 - 16.0, 19.5 + 24.0, 11.5 + 32.0], confidence: 0.8 };
        assert_eq!(found, [expected]);
        assert!(decode(&outputs, 0, (64, 32)).is_err(), "the grids do not fit the input");
        assert!(decode(&outputs[1..], 0, size).unwrap_err().contains("scores_8"));
    }
}
