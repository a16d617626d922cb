//! How one picture goes over into another: on the planes, in whole code values.

use crate::yuv::YuvFrame;

/// Weights are counted in these parts.
const ONE: f64 = 65_536.0;
const BLACK: u8 = 16;
const GREY: u8 = 128;

/// `under · (1 - weight) + over · weight`, to the nearest code value; both have one size, `weight` is 0..1.
pub fn dissolve(under: &YuvFrame, over: &YuvFrame, weight: f64) -> YuvFrame {
    let weight = parts(weight);
    let mix = |under: &[u8], over: &[u8]| -> Vec<u8> {
        under.iter().zip(over).map(|(&under, &over)| blend(under, over, weight)).collect()
    };
    YuvFrame {
        width: under.width,
        height: under.height,
        y: mix(&under.y, &over.y),
        u: mix(&under.u, &over.u),
        v: mix(&under.v, &over.v),
    }
}

/// The picture at `level`: 1 as it is, 0 black (limited range).
pub fn fade(frame: &YuvFrame, level: f64) -> YuvFrame {
    let weight = parts(level);
    let table = |black: u8| -> [u8; 256] { std::array::from_fn(|value| blend(black, value as u8, weight)) };
    let (luma, chroma) = (table(BLACK), table(GREY));
    let map = |plane: &[u8], table: &[u8; 256]| plane.iter().map(|&value| table[usize::from(value)]).collect();
    YuvFrame {
        width: frame.width,
        height: frame.height,
        y: map(&frame.y, &luma),
        u: map(&frame.u, &chroma),
        v: map(&frame.v, &chroma),
    }
}

fn parts(weight: f64) -> u32 {
    (weight.clamp(0.0, 1.0) * ONE).round() as u32
}

fn blend(under: u8, over: u8, weight: u32) -> u8 {
    let half = ONE as u32 / 2;
    ((u32::from(under) * (ONE as u32 - weight) + u32::from(over) * weight + half) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(y: u8, u: u8, v: u8) -> YuvFrame {
        let mut frame = YuvFrame::new(6, 4);
        frame.y.fill(y);
        frame.u.fill(u);
        frame.v.fill(v);
        frame
    }

    #[test]
    fn the_ends_are_the_pictures_themselves() {
        let (under, over) = (flat(20, 90, 250), flat(235, 240, 16));
        assert_eq!(dissolve(&under, &over, 0.0), under);
        assert_eq!(dissolve(&under, &over, 1.0), over);
        assert_eq!(fade(&over, 1.0), over);
        assert_eq!(fade(&over, 0.0), YuvFrame::new(6, 4));
    }

    #[test]
    fn between_them_is_the_nearest_code_value() {
        let mixed = dissolve(&flat(20, 90, 250), &flat(235, 240, 16), 0.25);
        // 20 · 0.75 + 235 · 0.25 = 73.75, and so on.
        assert_eq!((mixed.y[0], mixed.u[0], mixed.v[0]), (74, 128, 192));
        let faded = fade(&flat(216, 228, 28), 0.5);
        assert_eq!((faded.y[0], faded.u[0], faded.v[0]), (116, 178, 78));
    }
}
