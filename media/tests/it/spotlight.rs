//! Spotlights against a slow reference: every boundary by brute force at 24x24 points of every sample, in floating
//! point. (With 8x8 an edge along a row has steps of an eighth, which alone is 42 dB on a thin line.)

use edits::{Effect, Ellipse, Paint, Rgb, Spotlight, Stroke};
use media::{Canvas, CanvasFormat, Matrix, Painter, Range, YuvFrame};

const COLOR: Rgb = Rgb { r: 255, g: 213, b: 79 };
/// From and to which angle the stroke of a spotlight on the ground runs.
const GROUND_ARC: (f64, f64) = (-30.0, 210.0);
const EFFECTS: [Effect; 3] = [Effect::DarkOverlay, Effect::BrightnessBoost, Effect::None];

/// An ellipse, or a flat one on the ground, whose radii are those of the player's.
#[derive(Debug, Clone, Copy)]
struct Case {
    ellipse: Ellipse,
    width: f64,
    arc: Option<(f64, f64)>,
}

fn cases(width: f64, height: f64) -> Vec<Case> {
    let places = [
        // Well inside, at a sub-pixel place.
        (0.41 * width + 0.3, 0.52 * height + 0.7, 0.055 * height, 0.101 * height, 2.0),
        // Over the left edge and over the bottom right corner.
        (0.013 * width, 0.4 * height + 0.45, 0.12 * height, 0.06 * height, 3.0),
        (width - 3.2, height - 1.7, 0.08 * height, 0.08 * height, 6.0),
        // Thin, and so small that its stroke fills it.
        (0.7 * width, 0.31 * height + 0.1, 0.1 * height, 0.6, 2.0),
        (0.2 * width + 0.6, 0.8 * height, 2.3, 1.4, 4.0),
        // Not to be seen at all.
        (width + 90.0, -70.0, 40.0, 30.0, 2.0),
    ];
    let whole = places.map(|(cx, cy, rx, ry, width)| Case { ellipse: Ellipse { cx, cy, rx, ry }, width, arc: None });
    let ground = whole.map(|case| {
        let Ellipse { cx, cy, rx, ry } = case.ellipse;
        let ellipse = Ellipse { cx, cy: cy + ry / 1.3, rx: rx * 2.0 / 1.3, ry: (ry * 0.3).max(0.5) };
        Case { ellipse, arc: Some(GROUND_ARC), ..case }
    });
    [whole, ground].concat()
}

fn spotlight(case: &Case, effect: Effect, fill: bool) -> Spotlight {
    Spotlight {
        ellipse: case.ellipse,
        effect,
        dim: 0.35,
        fill: fill.then_some(Paint { color: COLOR, opacity: 0.3 }),
        outline: Some(Stroke { color: Rgb::new(77, 64, 24), opacity: 0.4, width: case.width + 2.0, arc: case.arc }),
        stroke: Some(Stroke { color: COLOR, opacity: 0.85, width: case.width, arc: case.arc }),
    }
}

/// Noise of the whole range.
fn noise(width: u32, height: u32) -> YuvFrame {
    let mut frame = YuvFrame::new(width, height);
    let mut state = 0x9E37_79B9u32;
    for sample in frame.y.iter_mut().chain(&mut frame.u).chain(&mut frame.v) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample = (state >> 24) as u8;
    }
    frame
}

/// The curve as many short segments: two ends and the parametric angle in degrees at the first.
struct Segments(Vec<([f64; 4], f64)>);

impl Segments {
    const COUNT: usize = 1440;

    fn new(ellipse: &Ellipse) -> Self {
        let step = 360.0 / Self::COUNT as f64;
        let point = |degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            (ellipse.cx + ellipse.rx * cos, ellipse.cy + ellipse.ry * sin)
        };
        let segment = |i: usize| {
            let from = i as f64 * step;
            let ((ax, ay), (bx, by)) = (point(from), point(from + step));
            ([ax, ay, bx, by], from)
        };
        Self((0..Self::COUNT).map(segment).collect())
    }

    /// Distance of the nearest point, and its angle.
    fn nearest(&self, x: f64, y: f64) -> (f64, f64) {
        let mut best = (f64::MAX, 0.0);
        for &([ax, ay, bx, by], from) in &self.0 {
            let (dx, dy) = (bx - ax, by - ay);
            let share = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            let (ex, ey) = (ax + share * dx - x, ay + share * dy - y);
            let squared = ex * ex + ey * ey;
            if squared < best.0 {
                best = (squared, from + share * 360.0 / Self::COUNT as f64);
            }
        }
        (best.0.sqrt(), best.1)
    }

    /// Those that are nearest to any point within `reach` of a place.
    fn around(&self, x: f64, y: f64, reach: f64) -> Self {
        let farthest = self.nearest(x, y).0 + 2.0 * reach;
        let near = self.0.iter().filter(|segment| Self(vec![**segment]).nearest(x, y).0 <= farthest);
        Self(near.copied().collect())
    }
}

/// What a sample is covered by.
#[derive(Debug, Clone, Copy)]
struct Shares {
    ellipse: f64,
    outline: f64,
    stroke: f64,
    /// Whether a boundary or a stroke may be within the sample.
    edge: bool,
}

impl Shares {
    const OUTSIDE: Self = Self { ellipse: 0.0, outline: 0.0, stroke: 0.0, edge: false };
    const INSIDE: Self = Self { ellipse: 1.0, ..Self::OUTSIDE };
}

fn in_arc(angle: f64, arc: Option<(f64, f64)>) -> bool {
    arc.is_none_or(|(from, to)| (angle - from).rem_euclid(360.0) <= to - from)
}

/// Coverage of a plane whose samples are `step` luma pixels wide and high.
fn coverage(case: &Case, (width, height): (usize, usize), step: f64) -> Vec<Shares> {
    let Ellipse { cx, cy, rx, ry } = case.ellipse;
    let inside = |x: f64, y: f64| ((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) <= 1.0;
    let curve = Segments::new(&case.ellipse);
    let (stroke, outline) = (case.width / 2.0, case.width / 2.0 + 1.0);
    let reach = step * 0.71;
    let mut all = Vec::with_capacity(width * height);
    for index in 0..width * height {
        let (left, top) = ((index % width) as f64 * step, (index / width) as f64 * step);
        let (x, y) = (left + step / 2.0, top + step / 2.0);
        let far = outline + reach;
        if (x - cx).abs() > rx + far || (y - cy).abs() > ry + far {
            all.push(Shares::OUTSIDE);
            continue;
        }
        if curve.nearest(x, y).0 > far {
            all.push(if inside(x, y) { Shares::INSIDE } else { Shares::OUTSIDE });
            continue;
        }
        let near = curve.around(x, y, reach);
        let mut sum = Shares { edge: true, ..Shares::OUTSIDE };
        for point in 0..576 {
            let at = |origin: f64, n: usize| origin + (n as f64 + 0.5) * step / 24.0;
            let (x, y) = (at(left, point % 24), at(top, point / 24));
            let (distance, angle) = near.nearest(x, y);
            let drawn = |half: f64| if distance <= half && in_arc(angle, case.arc) { 1.0 / 576.0 } else { 0.0 };
            sum.ellipse += if inside(x, y) { 1.0 / 576.0 } else { 0.0 };
            sum.outline += drawn(outline);
            sum.stroke += drawn(stroke);
        }
        all.push(sum);
    }
    all
}

/// BT.709 limited.
fn code_value(color: Rgb, plane: usize) -> f64 {
    let [r, g, b] = [color.r, color.g, color.b].map(|part| f64::from(part) / 255.0);
    let luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    match plane {
        0 => 16.0 + 219.0 * luma,
        1 => 128.0 + 224.0 * (b - luma) / 1.8556,
        _ => 128.0 + 224.0 * (r - luma) / 1.5748,
    }
}

fn expected(sample: u8, shares: &Shares, spotlight: &Spotlight, plane: usize) -> f64 {
    let value = f64::from(sample);
    let zero = if plane == 0 { 16.0 } else { 128.0 };
    let (factor, affected) = match spotlight.effect {
        Effect::DarkOverlay => (1.0 - spotlight.dim, 1.0 - shares.ellipse),
        Effect::BrightnessBoost => (1.0 + spotlight.dim, shares.ellipse),
        Effect::None => (1.0, 0.0),
    };
    let scaled = (zero + (value - zero) * factor).clamp(0.0, 255.0);
    let over = |below: f64, color: Rgb, share: f64| below + (code_value(color, plane) - below) * share;
    let mut value = value + (scaled - value) * affected;
    if let Some(fill) = spotlight.fill {
        value = over(value, fill.color, fill.opacity * shares.ellipse);
    }
    if let Some(outline) = spotlight.outline {
        value = over(value, outline.color, outline.opacity * shares.outline);
    }
    if let Some(stroke) = spotlight.stroke {
        value = over(value, stroke.color, stroke.opacity * shares.stroke);
    }
    value
}

/// Compares one drawn plane and gives the squared error and number of samples at which a boundary was drawn.
fn compare(before: &[u8], after: &[u8], shares: &[Shares], light: &Spotlight, plane: usize) -> (f64, usize) {
    let (mut squares, mut samples) = (0.0, 0);
    for ((&old, &new), share) in before.iter().zip(after).zip(shares) {
        let wanted = expected(old, share, light, plane);
        let error = f64::from(new) - wanted;
        if !share.edge && share.ellipse == 0.0 && light.effect != Effect::DarkOverlay {
            assert_eq!(new, old, "touched outside: {light:?}");
        } else if !share.edge {
            assert!(error.abs() < 0.502, "{old} became {new}, not {wanted}, away from edges: {light:?}");
        } else {
            squares += error * error;
            samples += 1;
        }
    }
    (squares, samples)
}

fn check_size(width: u32, height: u32) {
    let before = noise(width, height);
    let mut painter = Painter::new();
    let chroma = before.chroma_size();
    let mut worst = f64::MAX;
    for case in cases(f64::from(width), f64::from(height)) {
        let luma_shares = coverage(&case, (width as usize, height as usize), 1.0);
        let chroma_shares = coverage(&case, chroma, 2.0);
        for (effect, fill) in EFFECTS.into_iter().flat_map(|effect| [(effect, false), (effect, true)]) {
            let light = spotlight(&case, effect, fill);
            let mut after = before.clone();
            painter.spotlight(&mut Canvas::from(&mut after), &light);
            let errors = [
                compare(&before.y, &after.y, &luma_shares, &light, 0),
                compare(&before.u, &after.u, &chroma_shares, &light, 1),
                compare(&before.v, &after.v, &chroma_shares, &light, 2),
            ];
            let (squares, samples) = errors.into_iter().fold((0.0, 0), |sum, e| (sum.0 + e.0, sum.1 + e.1));
            if samples > 0 {
                let psnr = 10.0 * (255.0f64.powi(2) * samples as f64 / squares).log10();
                assert!(psnr >= 45.0, "{psnr:.1} dB along the edges of {light:?}");
                worst = worst.min(psnr);
            }
        }
    }
    println!("{width}x{height}: at least {worst:.1} dB along edges");
}

#[test]
fn follows_the_reference_at_320x180() {
    check_size(320, 180);
}

#[test]
fn follows_the_reference_at_640x360() {
    check_size(640, 360);
}

#[test]
fn follows_the_reference_at_1280x720() {
    check_size(1280, 720);
}

#[test]
fn follows_the_reference_at_1920x1080() {
    check_size(1920, 1080);
}

#[test]
fn follows_the_reference_at_an_odd_size() {
    check_size(405, 720);
}

#[test]
fn what_is_not_seen_touches_nothing() {
    let before = noise(64, 48);
    let case = Case { ellipse: Ellipse { cx: 30.0, cy: 20.0, rx: 9.0, ry: 7.0 }, width: 2.0, arc: None };
    let mut light = spotlight(&case, Effect::DarkOverlay, true);
    // The end of an exit fade.
    light.dim = 0.0;
    light.fill = light.fill.map(|fill| Paint { opacity: 0.0, ..fill });
    light.outline = light.outline.map(|line| Stroke { opacity: 0.0, ..line });
    light.stroke = light.stroke.map(|line| Stroke { opacity: 0.0, ..line });
    let mut after = before.clone();
    Painter::new().spotlight(&mut Canvas::from(&mut after), &light);
    assert_eq!(before, after);
}

#[test]
fn keeps_to_the_planes_range_and_padding() {
    let (width, height, stride) = (30u32, 20u32, 47usize);
    let format = CanvasFormat { width, height, matrix: Matrix::Bt601, range: Range::Full };
    let mut planes = [vec![100u8; stride * 20], vec![90; stride * 10], vec![150; stride * 10]];
    let case = Case { ellipse: Ellipse { cx: 15.0, cy: 10.0, rx: 9.0, ry: 7.0 }, width: 2.0, arc: None };
    let mut light = spotlight(&case, Effect::DarkOverlay, true);
    light.dim = 0.5;
    light.fill = Some(Paint { color: Rgb::new(255, 0, 0), opacity: 1.0 });
    let [y, u, v] = &mut planes;
    let mut canvas = Canvas::new(format, [(y, stride), (u, stride), (v, stride)]);
    Painter::new().spotlight(&mut canvas, &light);
    let [y, u, v] = &planes;
    // Full range has black at 0; red in BT.601 is 76, 85, 255 (ITU-T T.871).
    assert_eq!([y[0], u[0], v[0]], [50, 109, 139]);
    let (luma, chroma) = (10 * stride + 15, 5 * stride + 7);
    assert_eq!([y[luma], u[chroma], v[chroma]], [76, 85, 255]);
    for (plane, width, value) in [(y, 30, 100), (u, 15, 90), (v, 15, 150)] {
        assert!(plane.chunks(stride).all(|row| row[width..].iter().all(|&padding| padding == value)));
    }
}
