//! What drawing costs a frame at 1920x1080, on one thread:
//! `cargo run --release -p media --example draw_speed`.

use std::hint::black_box;
use std::time::Instant;

use edits::{Effect, Ellipse, Paint, PlacedText, Rgb, Spotlight, Stroke};
use media::{Canvas, Painter, TextShaper, YuvFrame};

const ROUNDS: usize = 15;
const FRAMES: usize = 20;

/// Milliseconds a frame: the fastest of several rounds, which other work on the machine disturbs least.
fn measure(mut draw: impl FnMut(&mut YuvFrame)) -> f64 {
    let mut frame = YuvFrame::new(1920, 1080);
    let pattern = |data: &mut [u8]| data.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 7 + i / 1920 * 13) as u8);
    pattern(&mut frame.y);
    pattern(&mut frame.u);
    pattern(&mut frame.v);
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        (0..FRAMES).for_each(|_| draw(black_box(&mut frame)));
        start.elapsed().as_secs_f64() * 1000.0 / FRAMES as f64
    });
    rounds.fold(f64::MAX, f64::min)
}

fn spotlight(effect: Effect, (rx, ry): (f64, f64), dim: f64, ground: bool) -> Spotlight {
    let color = Rgb::new(255, 213, 79);
    let arc = ground.then_some((-30.0, 210.0));
    let stroke = Stroke { color, opacity: 0.85, width: 2.0, arc };
    let outline = Stroke { color: color.scaled(0.3), opacity: 0.425, width: 4.0, arc };
    Spotlight {
        ellipse: Ellipse { cx: 900.3, cy: 540.7, rx, ry },
        effect,
        dim,
        fill: ground.then_some(Paint { color, opacity: 0.05 }),
        outline: Some(outline),
        stroke: Some(stroke),
    }
}

fn main() -> media::Result<()> {
    let mut painter = Painter::new();
    for (name, effect) in
        [("dark_overlay", Effect::DarkOverlay), ("brightness_boost", Effect::BrightnessBoost), ("none", Effect::None)]
    {
        for (radii, ground) in [((60.0, 110.0), false), ((300.0, 500.0), false), ((92.3, 33.0), true)] {
            // An odd strength, as in a fade.
            for dim in [0.15, 0.0931] {
                let spotlight = spotlight(effect, radii, dim, ground);
                let cost = measure(|frame| painter.spotlight(&mut Canvas::from(frame), &spotlight));
                let (rx, ry) = radii;
                println!("{name:16} dim {dim:<6} radii {rx:>5} x {ry:<5}{cost:8.3} ms");
            }
        }
    }
    let start = Instant::now();
    let mut shaper = TextShaper::new()?;
    println!("{:46}{:8.3} ms once", "loading the fonts", start.elapsed().as_secs_f64() * 1000.0);
    let text =
        PlacedText {
            text: "Nr. 7 ⚽ Müller".into(), cx: 960.0, cy: 108.0, size: 48.0, color: Rgb::new(255, 255, 255)
        };
    let format = Canvas::from(&mut YuvFrame::new(1920, 1080)).format();
    let start = Instant::now();
    let sprite = shaper.text(&text, format);
    println!("{:46}{:8.3} ms once", "making a text", start.elapsed().as_secs_f64() * 1000.0);
    let cost = measure(|frame| painter.sprite(&mut Canvas::from(frame), &sprite));
    println!("{:46}{cost:8.3} ms", "drawing it");
    Ok(())
}
