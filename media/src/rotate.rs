//! Turning a picture by any angle about its centre.

use edits::CropRect;

use crate::picture::{Picture, Plane};

/// The part of a turned picture under a crop, at the picture's own resolution, in three planes of equal size (4:4:4)
/// with the picture's matrix and range.
#[derive(Default)]
pub(crate) struct Turned {
    pub planes: [Vec<u8>; 3],
    pub width: usize,
    pub height: usize,
}

impl Turned {
    /// Samples the picture, turned counter-clockwise by `degrees` about its centre, on a grid of whole pixels laid
    /// over `crop`. What lies outside the picture is black.
    ///
    /// Interpolation is bicubic (Keys 1981, a = -1/2, the Catmull-Rom kernel).
    pub fn sample(&mut self, picture: &Picture, crop: &CropRect, degrees: f64) {
        self.width = crop.width.round().max(1.0) as usize;
        self.height = crop.height.round().max(1.0) as usize;
        let density = picture.density();
        for (index, out) in self.planes.iter_mut().enumerate() {
            let chroma = index > 0;
            let step = if chroma { picture.chroma.step } else { (1, 1) };
            let offset = if chroma { picture.chroma.offset } else { (0.0, 0.0) };
            let to_plane = PlaneMap {
                scale: (density.0 / f64::from(step.0), density.1 / f64::from(step.1)),
                // Sample centres are at half numbers; bicubic taps count from whole ones.
                shift: (offset.0 - 0.5, offset.1 - 0.5),
            };
            let black = if chroma { 128 } else { picture.range.black() };
            out.resize(self.width * self.height, black);
            let walk = Walk::new(picture, crop, degrees, (self.width, self.height), to_plane);
            walk.fill(&picture.plane(index), black, self.width, out);
        }
    }
}

/// From displayed pixels to samples of one plane.
#[derive(Clone, Copy)]
struct PlaneMap {
    scale: (f64, f64),
    shift: (f64, f64),
}

/// The affine map from output pixels to plane samples.
struct Walk {
    origin: (f64, f64),
    across: (f64, f64),
    down: (f64, f64),
}

impl Walk {
    fn new(picture: &Picture, crop: &CropRect, degrees: f64, size: (usize, usize), map: PlaneMap) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let centre = (f64::from(picture.width()) / 2.0, f64::from(picture.height()) / 2.0);
        let pixel = (crop.width / size.0 as f64, crop.height / size.1 as f64);
        // Where a shown point (relative to the centre, y down) was before the turn.
        let before = |x: f64, y: f64| (x * cos - y * sin, x * sin + y * cos);
        let plane = |(x, y): (f64, f64)| (x * map.scale.0, y * map.scale.1);
        let first = before(crop.x + pixel.0 / 2.0 - centre.0, crop.y + pixel.1 / 2.0 - centre.1);
        let origin = plane((first.0 + centre.0, first.1 + centre.1));
        Self {
            origin: (origin.0 + map.shift.0, origin.1 + map.shift.1),
            across: plane(before(pixel.0, 0.0)),
            down: plane(before(0.0, pixel.1)),
        }
    }

    fn fill(&self, plane: &Plane, black: u8, width: usize, out: &mut [u8]) {
        for (y, row) in out.chunks_exact_mut(width).enumerate() {
            let y = y as f64;
            let start = (self.origin.0 + y * self.down.0, self.origin.1 + y * self.down.1);
            for (x, out) in row.iter_mut().enumerate() {
                let x = x as f64;
                *out = bicubic(plane, black, start.0 + x * self.across.0, start.1 + x * self.across.1);
            }
        }
    }
}

/// The plane's value at a point; whole numbers are sample centres.
fn bicubic(plane: &Plane, black: u8, x: f64, y: f64) -> u8 {
    let (left, top) = (x.floor(), y.floor());
    let across = weights((x - left) as f32);
    let down = weights((y - top) as f32);
    let (left, top) = (left as i64 - 1, top as i64 - 1);
    let mut sum = 0.0;
    let inside = left >= 0 && top >= 0 && left + 4 <= plane.width as i64 && top + 4 <= plane.height as i64;
    if inside {
        for (row, weight) in down.iter().enumerate() {
            let taps = &plane.row(top as usize + row)[left as usize..left as usize + 4];
            let line: f32 = taps.iter().zip(&across).map(|(&tap, w)| f32::from(tap) * w).sum();
            sum += line * weight;
        }
    } else {
        for (row, weight) in down.iter().enumerate() {
            let line: f32 = (0..4)
                .map(|column| f32::from(tap(plane, black, left + column as i64, top + row as i64)) * across[column])
                .sum();
            sum += line * weight;
        }
    }
    (sum + 0.5).clamp(0.0, 255.0) as u8
}

fn tap(plane: &Plane, black: u8, x: i64, y: i64) -> u8 {
    let inside = (0..plane.width as i64).contains(&x) && (0..plane.height as i64).contains(&y);
    if inside { plane.row(y as usize)[x as usize] } else { black }
}

/// The four Catmull-Rom weights at `t` in 0..1 between the two middle samples.
fn weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-0.5 * t + t2 - 0.5 * t3, 1.0 - 2.5 * t2 + 1.5 * t3, 0.5 * t + 2.0 * t2 - 1.5 * t3, -0.5 * t2 + 0.5 * t3]
}
