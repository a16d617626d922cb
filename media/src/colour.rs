//! How code values mean colours: matrices and ranges, and the fixed-point arithmetic between them.
//!
//! Coefficients are those of ITU-R BT.601-7 and BT.709-6. A picture without a tag is taken as BT.709 from 720 lines
//! up and BT.601 below, and as limited range, except for JPEG formats, which are full range.

use ffmpeg_next::{color, format::Pixel};
use serde::{Deserialize, Serialize};

/// The matrix between R'G'B' and Y'CbCr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    Bt601,
    Bt709,
}

/// Whether black is 16 and white 235 (limited) or 0 and 255 (full).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    Limited,
    Full,
}

impl Matrix {
    /// The luma weights of red and blue.
    const fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
        }
    }

    /// The matrix a stream's tag stands for; `None` for one that needs a conversion first (BT.2020, SMPTE 240M, …).
    pub(crate) fn of(space: color::Space, lines: u32) -> Option<Self> {
        match space {
            color::Space::BT709 => Some(Self::Bt709),
            color::Space::BT470BG | color::Space::SMPTE170M => Some(Self::Bt601),
            color::Space::Unspecified | color::Space::Reserved => Some(Self::untagged(lines)),
            _ => None,
        }
    }

    pub(crate) fn untagged(lines: u32) -> Self {
        if lines >= 720 { Self::Bt709 } else { Self::Bt601 }
    }
}

impl Range {
    pub(crate) fn of(range: color::Range, format: Pixel) -> Self {
        let jpeg =
            matches!(format, Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P);
        match range {
            color::Range::JPEG => Self::Full,
            color::Range::Unspecified if jpeg => Self::Full,
            _ => Self::Limited,
        }
    }

    /// Code value of black, and code values per unit of luma and of chroma.
    const fn scale(self) -> (f64, f64, f64) {
        match self {
            Self::Limited => (16.0, 219.0, 224.0),
            Self::Full => (0.0, 255.0, 255.0),
        }
    }

    /// The luma code value of black.
    pub(crate) fn black(self) -> u8 {
        self.scale().0 as u8
    }
}

/// Fraction bits of every table below: 8-bit values times a coefficient below 4 stay within 32 bits.
const BITS: u32 = 15;
const HALF: i32 = 1 << (BITS - 1);

fn fixed(value: f64) -> i32 {
    (value * f64::from(1 << BITS)).round() as i32
}

fn clip(value: i32) -> u8 {
    (value >> BITS).clamp(0, 255) as u8
}

/// Y'CbCr code values to R'G'B' code values (0..255).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToRgb {
    black: i32,
    luma: i32,
    red_cr: i32,
    green_cb: i32,
    green_cr: i32,
    blue_cb: i32,
}

impl ToRgb {
    pub fn new(matrix: Matrix, range: Range) -> Self {
        let (kr, kb) = matrix.weights();
        let kg = 1.0 - kr - kb;
        let (black, luma, chroma) = range.scale();
        let unit = 255.0 / chroma;
        Self {
            black: black as i32,
            luma: fixed(255.0 / luma),
            red_cr: fixed(2.0 * (1.0 - kr) * unit),
            green_cb: fixed(-2.0 * (1.0 - kb) * kb / kg * unit),
            green_cr: fixed(-2.0 * (1.0 - kr) * kr / kg * unit),
            blue_cb: fixed(2.0 * (1.0 - kb) * unit),
        }
    }

    /// Converts three planes of equal size into interleaved RGB.
    pub fn convert(&self, y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
        for (((out, &y), &cb), &cr) in rgb.chunks_exact_mut(3).zip(y).zip(cb).zip(cr) {
            let y = (i32::from(y) - self.black) * self.luma + HALF;
            let cb = i32::from(cb) - 128;
            let cr = i32::from(cr) - 128;
            out[0] = clip(y + self.red_cr * cr);
            out[1] = clip(y + self.green_cb * cb + self.green_cr * cr);
            out[2] = clip(y + self.blue_cb * cb);
        }
    }
}

/// R'G'B' code values (0..255) to Y'CbCr code values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FromRgb {
    luma: [i32; 3],
    cb: [i32; 3],
    cr: [i32; 3],
    black: i32,
}

impl FromRgb {
    pub fn new(matrix: Matrix, range: Range) -> Self {
        let (kr, kb) = matrix.weights();
        let kg = 1.0 - kr - kb;
        let (black, luma, chroma) = range.scale();
        let luma = luma / 255.0;
        let (cb, cr) = (chroma / 255.0 / (2.0 * (1.0 - kb)), chroma / 255.0 / (2.0 * (1.0 - kr)));
        Self {
            luma: [kr * luma, kg * luma, kb * luma].map(fixed),
            cb: [-kr * cb, -kg * cb, (1.0 - kb) * cb].map(fixed),
            cr: [(1.0 - kr) * cr, -kg * cr, -kb * cr].map(fixed),
            black: ((black as i32) << BITS) + HALF,
        }
    }

    /// Luma of interleaved RGB.
    pub fn luma(&self, rgb: &[u8], out: &mut [u8]) {
        let [r, g, b] = self.luma;
        for (pixel, out) in rgb.chunks_exact(3).zip(out) {
            *out = clip(r * i32::from(pixel[0]) + g * i32::from(pixel[1]) + b * i32::from(pixel[2]) + self.black);
        }
    }

    /// Chroma of a colour that is the sum of `1 << shift` pixels.
    pub fn chroma(&self, sum: [i32; 3], shift: u32) -> (u8, u8) {
        let dot = |k: [i32; 3]| {
            let total: i64 = k.iter().zip(sum).map(|(&k, v)| i64::from(k) * i64::from(v)).sum();
            let centre = i64::from((128 << BITS) + HALF);
            (((total >> shift) + centre) >> BITS).clamp(0, 255) as u8
        };
        (dot(self.cb), dot(self.cr))
    }
}

/// Colours that are drawn to Y'CbCr code values, unrounded: R'G'B' and opacity run from 0 to 1 and are premultiplied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrawnColour {
    /// Per plane, the weights of R', G', B' and opacity.
    weights: [[f32; 4]; 3],
}

impl DrawnColour {
    pub fn new(matrix: Matrix, range: Range) -> Self {
        let (kr, kb) = matrix.weights();
        let kg = 1.0 - kr - kb;
        let (black, luma, chroma) = range.scale();
        let (cb, cr) = (chroma / (2.0 * (1.0 - kb)), chroma / (2.0 * (1.0 - kr)));
        let weights = [
            [kr * luma, kg * luma, kb * luma, black],
            [-kr * cb, -kg * cb, (1.0 - kb) * cb, 128.0],
            [(1.0 - kr) * cr, -kg * cr, -kb * cr, 128.0],
        ];
        Self { weights: weights.map(|row| row.map(|weight| weight as f32)) }
    }

    /// Y', Cb and Cr, each premultiplied like the colour.
    pub fn code_values(&self, colour: [f32; 4]) -> [f32; 3] {
        self.weights.map(|row| row.iter().zip(colour).map(|(weight, value)| weight * value).sum())
    }
}

/// Y'CbCr of one matrix and range straight to BT.709 limited, without passing through clipped RGB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToBt709 {
    black: i32,
    luma: [i32; 3],
    cb: [i32; 2],
    cr: [i32; 2],
    /// Whether luma depends on chroma, that is, whether the matrix changes.
    pub mixes: bool,
}

impl ToBt709 {
    /// `None` when the source is BT.709 limited already.
    pub fn new(matrix: Matrix, range: Range) -> Option<Self> {
        if matrix == Matrix::Bt709 && range == Range::Limited {
            return None;
        }
        let (kr, kb) = matrix.weights();
        let kg = 1.0 - kr - kb;
        let (tr, tb) = Matrix::Bt709.weights();
        let tg = 1.0 - tr - tb;
        let (black, luma, chroma) = range.scale();
        let (_, out_luma, out_chroma) = Range::Limited.scale();
        // R'G'B' differences from luma per unit of chroma, then the new luma's share of them.
        let red = [0.0, 2.0 * (1.0 - kr)];
        let green = [-2.0 * (1.0 - kb) * kb / kg, -2.0 * (1.0 - kr) * kr / kg];
        let blue = [2.0 * (1.0 - kb), 0.0];
        let shift = |i: usize| tr * red[i] + tg * green[i] + tb * blue[i];
        let new_cb = |i: usize| (blue[i] - shift(i)) / (2.0 * (1.0 - tb));
        let new_cr = |i: usize| (red[i] - shift(i)) / (2.0 * (1.0 - tr));
        let scale = out_chroma / chroma;
        Some(Self {
            black: black as i32,
            luma: [fixed(out_luma / luma), fixed(shift(0) * out_luma / chroma), fixed(shift(1) * out_luma / chroma)],
            cb: [fixed(new_cb(0) * scale), fixed(new_cb(1) * scale)],
            cr: [fixed(new_cr(0) * scale), fixed(new_cr(1) * scale)],
            mixes: matrix != Matrix::Bt709,
        })
    }

    /// Luma in place; `cb` and `cr` are the source's chroma at luma resolution, ignored (and may be empty) unless
    /// [`Self::mixes`].
    pub fn luma(&self, y: &mut [u8], cb: &[u8], cr: &[u8]) {
        let offset = (16 << BITS) + HALF;
        if !self.mixes {
            for y in y {
                *y = clip((i32::from(*y) - self.black) * self.luma[0] + offset);
            }
            return;
        }
        for ((y, &cb), &cr) in y.iter_mut().zip(cb).zip(cr) {
            *y = clip(
                (i32::from(*y) - self.black) * self.luma[0]
                    + (i32::from(cb) - 128) * self.luma[1]
                    + (i32::from(cr) - 128) * self.luma[2]
                    + offset,
            );
        }
    }

    /// Chroma in place.
    pub fn chroma(&self, cb: &mut [u8], cr: &mut [u8]) {
        let centre = (128 << BITS) + HALF;
        for (b, r) in cb.iter_mut().zip(cr) {
            let (old_b, old_r) = (i32::from(*b) - 128, i32::from(*r) - 128);
            *b = clip(self.cb[0] * old_b + self.cb[1] * old_r + centre);
            *r = clip(self.cr[0] * old_b + self.cr[1] * old_r + centre);
        }
    }
}
