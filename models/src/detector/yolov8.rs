//! YOLOv8 and YOLO11 exports: one output `n, 4 + classes, cells`, centre and size in input pixels, scores in 0..1.

use super::{Candidate, LEAST_CONFIDENCE, PERSON, slice_of};
use crate::network::Output;

/// The grey that Ultralytics pads with.
pub(super) const SURROUND: [u8; 3] = [114; 3];

pub(super) fn decode(outputs: &[Output<'_>], index: usize) -> Result<Vec<Candidate>, String> {
    let output = outputs.first().ok_or("it has no output")?;
    let (values, rows, cells) = slice_of(output, index)?;
    if rows < 5 {
        return Err(format!("output {} has {rows} rows; 4 and one a class are wanted", output.name));
    }
    let row = |number: usize| &values[number * cells..(number + 1) * cells];
    let (centre_x, centre_y, width, height) = (row(0), row(1), row(2), row(3));
    let scores = row(4 + PERSON);
    let candidate = |cell: usize| {
        let (half_width, half_height) = (width[cell] / 2.0, height[cell] / 2.0);
        Candidate {
            corners: [
                centre_x[cell] - half_width,
                centre_y[cell] - half_height,
                centre_x[cell] + half_width,
                centre_y[cell] + half_height,
            ],
            confidence: scores[cell],
        }
    };
    Ok((0..cells).filter(|&cell| scores[cell] >= LEAST_CONFIDENCE).map(candidate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_are_read_from_their_columns() {
        // Two pictures, one class and three cells each; the second picture's second cell holds a person.
        let mut data = vec![0.0; 2 * 5 * 3];
        for (row, value) in [50.0, 60.0, 20.0, 40.0, 0.7].into_iter().enumerate() {
            data[5 * 3 + row * 3 + 1] = value;
        }
        let output = Output { name: "output0", shape: vec![2, 5, 3], data: &data };
        assert_eq!(decode(std::slice::from_ref(&output), 0).unwrap(), []);
        let expected = Candidate { corners: [40.0, 40.0, 60.0, 80.0], confidence: 0.7 };
        assert_eq!(decode(&[output], 1).unwrap(), [expected]);
    }
}
