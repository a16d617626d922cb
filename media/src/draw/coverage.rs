//! How much of each pixel of a row an ellipse, its outline and its stroke cover.
//!
//! Every boundary (the ellipse and the two edges of each stroke) is a line of equal distance from the ellipse's curve.
//! So one nearest-point search a pixel gives them all, and, because that distance changes by at most 1 a pixel, it
//! also gives how many pixels to the right are alike. Only pixels on a boundary are computed one by one; there each
//! boundary is taken as straight, in eighths of the pixel where it bends.

use std::ops::Range;

use super::curve::{Curve, Foot};

/// Half a pixel's diagonal: a boundary farther than this from the middle does not cross the pixel.
const HALF_DIAGONAL: f64 = 0.7072;
/// Boundaries with a smaller radius of curvature are not straight enough within a pixel.
const STRAIGHT: f64 = 6.0;
const CELLS: u32 = 8;

/// The points within half a width of a curve, or of an arc of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    pub half_width: f64,
    pub arc: Option<Arc>,
}

/// An arc of a curve, towards growing angles, cut straight across at its ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arc {
    from: (f64, f64),
    to: (f64, f64),
    /// Over half the curve.
    major: bool,
}

impl Arc {
    /// Between two parametric angles in degrees, clockwise from +x where y points down; `None` when that is the whole
    /// curve.
    pub fn new((from, to): (f64, f64)) -> Option<Self> {
        let direction = |degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            (cos, sin)
        };
        (to - from < 360.0).then(|| Self { from: direction(from), to: direction(to), major: to - from > 180.0 })
    }

    fn holds(&self, angle: (f64, f64)) -> bool {
        let cross = |a: (f64, f64), b: (f64, f64)| a.0 * b.1 - a.1 * b.0;
        let (after, before) = (cross(self.from, angle) >= 0.0, cross(angle, self.to) >= 0.0);
        if self.major { after || before } else { after && before }
    }
}

/// Shares of one pixel, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Shares {
    pub ellipse: f32,
    pub outline: f32,
    pub stroke: f32,
}

/// A stretch of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Span {
    Outside(Range<usize>),
    Inside(Range<usize>),
    /// One pixel on a boundary or under a stroke.
    Edge(usize, Shares),
}

/// What is to be covered, in samples of one plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub curve: Curve,
    pub outline: Option<Band>,
    pub stroke: Option<Band>,
}

impl Shape {
    /// How far from the curve a boundary can be.
    fn reach(&self) -> f64 {
        let half = |band: Option<Band>| band.map_or(0.0, |band| band.half_width);
        half(self.outline).max(half(self.stroke))
    }

    /// The pixels that are not wholly outside, as columns and rows of a plane; either may be empty.
    pub fn bounds(&self, width: usize, height: usize) -> (Range<usize>, Range<usize>) {
        let reach = self.reach();
        let range = |centre: f64, radius: f64, size: usize| {
            let start = (centre - radius - reach).floor().clamp(0.0, size as f64) as usize;
            start..((centre + radius + reach).ceil().clamp(start as f64, size as f64) as usize)
        };
        (range(self.curve.cx, self.curve.rx, width), range(self.curve.cy, self.curve.ry, height))
    }

    /// Splits the columns of row `y` into spans, from left to right.
    pub fn row(&self, y: usize, columns: Range<usize>, spans: &mut Vec<Span>) {
        spans.clear();
        let margin = self.reach() + HALF_DIAGONAL;
        let centre_y = y as f64 + 0.5;
        // An ellipse scaled by 1 + s is at least s times the smaller radius away, which classifies most pixels without
        // a search.
        let least = margin / self.curve.rx.min(self.curve.ry);
        let (left, right) = self.curve.chord(centre_y, 1.0 + least).unwrap_or((0.0, 0.0));
        let clamp = |x: f64| (x.max(0.0) as usize).clamp(columns.start, columns.end);
        let (start, end) = (clamp(left.floor()), clamp(right.ceil()));
        let inside = self.curve.chord(centre_y, 1.0 - least);
        let inside =
            inside.map_or(end..end, |(left, right)| clamp(left.ceil()).max(start)..clamp(right.floor()).min(end));
        let inside = if inside.is_empty() { end..end } else { inside };
        extend(spans, columns.start..start, false);
        self.search(start..inside.start, centre_y, margin, spans);
        extend(spans, inside.clone(), true);
        self.search(inside.end..end, centre_y, margin, spans);
        extend(spans, end..columns.end, false);
    }

    /// The same, by searching the curve's nearest point.
    fn search(&self, columns: Range<usize>, centre_y: f64, margin: f64, spans: &mut Vec<Span>) {
        let (mut root, mut slope) = (0.0, 0.0);
        let mut x = columns.start;
        while x < columns.end {
            let centre_x = x as f64 + 0.5;
            let foot = self.curve.foot(centre_x, centre_y, root + slope);
            (slope, root) = (foot.root - root, foot.root);
            let alike = foot.distance.abs() - margin;
            if alike <= 0.0 {
                spans.push(Span::Edge(x, self.pixel((centre_x, centre_y), &foot)));
                x += 1;
                continue;
            }
            let run = x..columns.end.min(x + 1 + alike as usize);
            (x, slope) = (run.end, 0.0);
            extend(spans, run, foot.distance < 0.0);
        }
    }

    fn pixel(&self, centre: (f64, f64), foot: &Foot) -> Shares {
        let bends = foot.radius + foot.distance < STRAIGHT || self.curve.near_skeleton(centre.0, centre.1, 1.0);
        if !bends {
            return self.cell(centre, 1.0, foot);
        }
        let size = 1.0 / f64::from(CELLS);
        let mut sum = Shares::default();
        for cell in 0..CELLS * CELLS {
            let offset = |index: u32| (f64::from(index) + 0.5) * size - 0.5;
            let (x, y) = (centre.0 + offset(cell % CELLS), centre.1 + offset(cell / CELLS));
            let part = self.cell((x, y), size, &self.curve.foot(x, y, foot.root));
            sum.ellipse += part.ellipse;
            sum.outline += part.outline;
            sum.stroke += part.stroke;
        }
        let share = 1.0 / (CELLS * CELLS) as f32;
        Shares { ellipse: sum.ellipse * share, outline: sum.outline * share, stroke: sum.stroke * share }
    }

    /// The shares of a square of the given side.
    fn cell(&self, centre: (f64, f64), size: f64, foot: &Foot) -> Shares {
        let below = |level: f64| half_plane((level - foot.distance) / size, foot.normal);
        let band = |band: &Band| {
            let share = below(band.half_width) - below(-band.half_width);
            let cut = band.arc.map_or(1.0, |arc| self.within(&arc, centre, size, foot));
            (share * cut) as f32
        };
        Shares {
            ellipse: below(0.0) as f32,
            outline: self.outline.as_ref().map_or(0.0, band),
            stroke: self.stroke.as_ref().map_or(0.0, band),
        }
    }

    /// The share of a cell whose nearest point of the curve lies on an arc.
    fn within(&self, arc: &Arc, centre: (f64, f64), size: f64, foot: &Foot) -> f64 {
        let nearest = self.curve.point(foot.angle);
        let cut = |end: (f64, f64), sign: f64| {
            let (at, tangent) = (self.curve.point(end), self.curve.tangent(end));
            let distance = (nearest.0 - at.0).powi(2) + (nearest.1 - at.1).powi(2);
            // The other side of a thin ellipse is near too, but runs the other way.
            let same_side = foot.normal.0 * tangent.1 - foot.normal.1 * tangent.0 > 0.7;
            (distance < (2.0 * size).powi(2) && same_side).then(|| {
                let along = (centre.0 - at.0) * tangent.0 + (centre.1 - at.1) * tangent.1;
                half_plane(sign * along / size, tangent)
            })
        };
        match (cut(arc.from, 1.0), cut(arc.to, -1.0)) {
            (Some(share), None) | (None, Some(share)) => share,
            _ if arc.holds(foot.angle) => 1.0,
            _ => 0.0,
        }
    }
}

/// Adds a run, joined with the one before where they are alike.
fn extend(spans: &mut Vec<Span>, run: Range<usize>, inside: bool) {
    if run.is_empty() {
        return;
    }
    match spans.last_mut() {
        Some(Span::Inside(last)) if inside => last.end = run.end,
        Some(Span::Outside(last)) if !inside => last.end = run.end,
        _ if inside => spans.push(Span::Inside(run)),
        _ => spans.push(Span::Outside(run)),
    }
}

/// The area of a unit square that lies on one side of a straight line. The line has the given unit normal (of any
/// sign) and runs `depth` from the square's middle, which is on the counted side when that is positive.
fn half_plane(depth: f64, normal: (f64, f64)) -> f64 {
    let (nx, ny) = (normal.0.abs(), normal.1.abs());
    let (long, short) = (nx.max(ny), nx.min(ny));
    let reach = (long + short) / 2.0;
    if depth.abs() >= reach {
        return if depth > 0.0 { 1.0 } else { 0.0 };
    }
    if depth.abs() <= (long - short) / 2.0 {
        return 0.5 + depth / long;
    }
    let corner = (reach - depth.abs()).powi(2) / (2.0 * long * short);
    if depth > 0.0 { 1.0 - corner } else { corner }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(shape: &Shape, share: impl Fn(&Shares) -> f32, inside: f32) -> f64 {
        let mut spans = Vec::new();
        let mut sum = 0.0;
        for y in 0..300 {
            shape.row(y, 0..300, &mut spans);
            sum += spans
                .iter()
                .map(|span| match span {
                    Span::Outside(_) => 0.0,
                    Span::Inside(run) => f64::from(inside) * run.len() as f64,
                    Span::Edge(_, shares) => f64::from(share(shares)),
                })
                .sum::<f64>();
        }
        sum
    }

    #[test]
    fn areas_are_those_of_geometry() {
        for (rx, ry) in [(40.0, 90.0), (90.0, 12.0), (3.0, 2.0), (100.0, 0.7), (0.4, 0.4)] {
            let curve = Curve::new(150.3, 149.8, rx, ry);
            let shape = Shape { curve, outline: None, stroke: None };
            let (found, expected) = (total(&shape, |shares| shares.ellipse, 1.0), std::f64::consts::PI * rx * ry);
            assert!((found - expected).abs() < 0.01 * expected + 0.05, "{rx}x{ry}: {found}, expected {expected}");
        }
    }

    #[test]
    fn a_band_has_the_area_of_its_arc() {
        let curve = Curve::new(150.3, 149.8, 80.0, 80.0);
        for (angles, share) in [(None, 1.0), (Some((-30.0, 210.0)), 240.0 / 360.0), (Some((10.0, 100.0)), 0.25)] {
            let band = Band { half_width: 1.5, arc: angles.and_then(Arc::new) };
            let shape = Shape { curve, outline: None, stroke: Some(band) };
            let expected = std::f64::consts::TAU * 80.0 * 3.0 * share;
            let found = total(&shape, |shares| shares.stroke, 0.0);
            assert!((found - expected).abs() < 0.005 * expected, "{angles:?}: {found}, expected {expected}");
        }
    }

    #[test]
    fn rows_are_cut_without_gaps() {
        let curve = Curve::new(20.0, 50.0, 60.0, 30.0);
        let band = Some(Band { half_width: 2.0, arc: None });
        let shape = Shape { curve, outline: None, stroke: band };
        let mut spans = Vec::new();
        for y in 0..100 {
            shape.row(y, 0..200, &mut spans);
            let mut at = 0;
            for span in &spans {
                let run = match span {
                    Span::Outside(run) | Span::Inside(run) => run.clone(),
                    Span::Edge(x, _) => *x..x + 1,
                };
                assert_eq!(run.start, at);
                at = run.end;
            }
            assert_eq!(at, 200);
        }
    }
}
