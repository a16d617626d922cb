//! The curve of an ellipse, and how far a point is from it.

/// Radii below this are drawn as this: a line and a point have no normal of their own.
const LEAST_RADIUS: f64 = 0.01;

/// An axis-parallel ellipse, in samples of the plane it is drawn on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    pub cx: f64,
    pub cy: f64,
    pub rx: f64,
    pub ry: f64,
    /// How far from 1 the sum of a foot's squared cosine and sine may be.
    tolerance: f64,
}

/// The point of a curve that is nearest to another point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foot {
    /// From the curve to the point, negative inside.
    pub distance: f64,
    /// The curve's unit normal here, outwards.
    pub normal: (f64, f64),
    /// Radius of curvature here.
    pub radius: f64,
    /// Cosine and sine of the curve's parametric angle here.
    pub angle: (f64, f64),
    /// The root of the equation that was solved, a guess for points nearby.
    pub root: f64,
}

impl Curve {
    pub fn new(cx: f64, cy: f64, rx: f64, ry: f64) -> Self {
        let (rx, ry) = (rx.max(LEAST_RADIUS), ry.max(LEAST_RADIUS));
        // A foot that is off by e is off by up to 0.35 a e along the curve, where the curvature is a / (2.8 b²), a and
        // b the longer and the shorter radius. Along the normal that is e² a³ / (45 b²): here a few ten-thousandths.
        let tolerance = 0.1 * rx.min(ry) / rx.max(ry).powf(1.5);
        Self { cx, cy, rx, ry, tolerance: tolerance.min(0.01) }
    }

    /// The point at a parametric angle given by its cosine and sine.
    pub fn point(&self, (cos, sin): (f64, f64)) -> (f64, f64) {
        (self.cx + self.rx * cos, self.cy + self.ry * sin)
    }

    /// The unit tangent there, towards growing angles.
    pub fn tangent(&self, (cos, sin): (f64, f64)) -> (f64, f64) {
        let (x, y) = (-self.rx * sin, self.ry * cos);
        let length = length_of(x, y);
        (x / length, y / length)
    }

    /// The nearest point of the curve, by Newton's method on the equation of D. Eberly, "Distance from a Point to an
    /// Ellipse, an Ellipsoid, or a Hyperellipsoid" (Geometric Tools, 2013), section 2. It is convex and falls, so that
    /// any start converges once it is right of `least`. `guess` is where to start: the root of a
    /// neighbouring point, or 0, which is that of every point on the curve.
    pub fn foot(&self, x: f64, y: f64, guess: f64) -> Foot {
        let (dx, dy) = (x - self.cx, y - self.cy);
        // In the first quadrant, off the axes: there the root is the only one.
        let (px, py) = (dx.abs().max(1e-9), dy.abs().max(1e-9));
        let (a, b) = (self.rx, self.ry);
        let (ax, by) = (a * px, b * py);
        let least = (ax - a * a).max(by - b * b);
        let mut t = guess.max(least);
        let (mut cos, mut sin) = (1.0, 0.0);
        for _ in 0..32 {
            // One division for the reciprocals of both.
            let (along, across) = (t + a * a, t + b * b);
            let both = 1.0 / (along * across);
            let (u, v) = (across * both, along * both);
            (cos, sin) = (ax * u, by * v);
            let (cos2, sin2) = (cos * cos, sin * sin);
            let excess = cos2 + sin2 - 1.0;
            if excess.abs() < self.tolerance {
                break;
            }
            t = (t + 0.5 * excess / (cos2 * u + sin2 * v)).max(least);
        }
        let length = 1.0 / length_of(cos, sin);
        (cos, sin) = (cos * length, sin * length);
        let q = length_of(b * cos, a * sin);
        let shrink = 1.0 / q;
        let (nx, ny) = (b * cos * shrink, a * sin * shrink);
        Foot {
            distance: (px - a * cos) * nx + (py - b * sin) * ny,
            normal: (nx.copysign(dx), ny.copysign(dy)),
            radius: q * q * q / (a * b),
            angle: (cos.copysign(dx), sin.copysign(dy)),
            root: t,
        }
    }

    /// The columns, to the left and to the right, of row `y` at `scale` times this ellipse; `None` above and below it.
    pub fn chord(&self, y: f64, scale: f64) -> Option<(f64, f64)> {
        let rise = (y - self.cy) / (self.ry * scale);
        let half = self.rx * scale * (1.0 - rise * rise).max(0.0).sqrt();
        (scale > 0.0 && rise.abs() < 1.0).then_some((self.cx - half, self.cx + half))
    }

    /// Whether a point is within `reach` of the segment on which the nearest point of the curve is not unique.
    pub fn near_skeleton(&self, x: f64, y: f64, reach: f64) -> bool {
        let (dx, dy) = ((x - self.cx).abs(), (y - self.cy).abs());
        let (along, across, long, short) =
            if self.rx >= self.ry { (dx, dy, self.rx, self.ry) } else { (dy, dx, self.ry, self.rx) };
        across < reach && along < (long * long - short * short) / long + reach
    }
}

/// `hypot` without its guard against overflow, which costs more than all the rest.
fn length_of(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_of_many_points() {
        for (rx, ry) in [(60.0, 110.0), (110.0, 60.0), (50.0, 50.0), (80.0, 0.5), (0.3, 4.0), (300.0, 0.0)] {
            let curve = Curve::new(10.0, -20.0, rx, ry);
            for step in 0..100 {
                let (x, y) = (10.0 + f64::from(step % 10 - 5) * 19.7, -20.0 + f64::from(step / 10 - 5) * 22.3);
                let found = curve.foot(x, y, 0.0).distance.abs();
                let nearest = (0..10_000)
                    .map(|i| curve.point((f64::from(i) / 10_000.0 * std::f64::consts::TAU).sin_cos()))
                    .map(|(ex, ey)| (ex - x).hypot(ey - y))
                    .fold(f64::MAX, f64::min);
                assert!((found - nearest).abs() < 0.1, "{rx}x{ry} at {x},{y}: {found}, expected {nearest}");
            }
        }
    }

    #[test]
    fn knows_side_normal_and_curvature() {
        let curve = Curve::new(0.0, 0.0, 4.0, 2.0);
        let right = curve.foot(7.0, 0.0, 0.0);
        assert!((right.distance - 3.0).abs() < 1e-6 && (right.normal.0 - 1.0).abs() < 1e-6);
        assert!((right.radius - 1.0).abs() < 1e-6, "b²/a, not {}", right.radius);
        let above = curve.foot(0.0, -1.0, 0.0);
        assert!((above.distance + 1.0).abs() < 1e-6 && (above.normal.1 + 1.0).abs() < 1e-6);
        assert!((above.radius - 8.0).abs() < 1e-6, "a²/b, not {}", above.radius);
    }
}
