//! The picture that the files show: its frame number as a row of blocks, and a colour of its own in each corner, so
//! that a turned, mirrored or wrongly coloured picture is seen. All of it scales with the picture.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Size in which pictures are drawn and read back.
pub const WIDTH: u32 = 320;
pub const HEIGHT: u32 = 180;
/// Bits of a number; a black and a white block stand before and after them.
const BITS: u32 = 8;
const BLOCK: u32 = 28;
const LEFT: u32 = 20;
const TOP: u32 = 76;
/// Size of a corner's mark and its distance from the edges.
const MARK: (u32, u32) = (44, 28);
const MARGIN: u32 = 12;
/// Top left, top right, bottom left, bottom right.
const MARKS: [[u8; 3]; 4] = [[192, 0, 0], [0, 192, 0], [0, 0, 192], [192, 192, 192]];
/// Rows in which something moves in interlaced footage, and how far from field to field.
const MOVING: (u32, u32) = (112, 132);
const STEP: u32 = 6;

/// How a source is drawn and handed to the encoder.
#[derive(Clone)]
pub struct Picture {
    /// Displayed size.
    pub size: (u32, u32),
    pub rate: &'static str,
    pub seconds: f64,
    /// An expression of ffmpeg's select filter that leaves frames out before they are numbered.
    pub select: Option<&'static str>,
    /// Woven of two fields, of twice the rate, by ffmpeg's tinterlace filter in this mode.
    pub woven: Option<&'static str>,
    /// Filters that make the stored picture of the displayed one.
    pub stored_by: &'static str,
    /// Matrix and range of the stored code values.
    pub matrix: &'static str,
    pub range: &'static str,
    pub format: &'static str,
    /// Arguments that tag the stored stream; none: it is untagged.
    pub tags: &'static [&'static str],
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            size: (WIDTH, HEIGHT),
            rate: "25",
            seconds: super::case::SECONDS,
            select: None,
            woven: None,
            stored_by: "null",
            matrix: "bt601",
            range: "tv",
            format: "yuv420p",
            tags: &[],
        }
    }
}

impl Picture {
    /// The graph of ffmpeg's lavfi device that draws it.
    pub fn graph(&self) -> String {
        let Self { size: (width, height), rate, seconds, matrix, range, format, stored_by, .. } = self;
        let fields = if self.woven.is_some() { 2 } else { 1 };
        let mut draw = vec![format!("color=0x707070:size={WIDTH}x{HEIGHT}:rate={fields}*{rate}:duration={seconds}")];
        draw.push("format=rgb24".to_owned());
        draw.extend(self.select.map(|expression| format!("select='{expression}'")));
        draw.push(block(0, "black", ""));
        draw.push(block(BITS + 1, "white", ""));
        for bit in 0..BITS {
            let divisor = fields << bit;
            let set = format!("enable='mod(floor(n/{divisor}),2)'");
            draw.push(block(bit + 1, "black", ""));
            draw.push(block(bit + 1, "white", &set));
        }
        for (corner, [r, g, b]) in MARKS.into_iter().enumerate() {
            let (x, y) = mark_at(corner);
            draw.push(drawbox(x, y, MARK, &format!("0x{r:02X}{g:02X}{b:02X}"), ""));
        }
        let mut graph = draw.join(",");
        if let Some(mode) = self.woven {
            let (from, to) = MOVING;
            graph = format!(
                "{graph}[still];color=white:size=12x{}:rate={fields}*{rate}:duration={seconds},format=rgb24[bar];\
[still][bar]overlay=x='20+mod(n*{STEP},260)':y={from}:format=rgb,format=yuv444p,tinterlace=mode={mode}",
                to - from
            );
        }
        let scaled = if (*width, *height) == (WIDTH, HEIGHT) {
            "null".to_owned()
        } else {
            format!("scale={width}:{height}:flags=area+accurate_rnd,setsar=1")
        };
        let store =
            format!("scale=out_color_matrix={matrix}:out_range={range}:flags=bicubic+accurate_rnd+full_chroma_int");
        // The stored picture's own filters may end in another format; what they leave is kept.
        format!("{graph},{scaled},{stored_by},{store},format={format}")
    }
}

fn block(place: u32, colour: &str, option: &str) -> String {
    drawbox(LEFT + place * BLOCK, TOP, (BLOCK, BLOCK), colour, option)
}

fn drawbox(x: u32, y: u32, (width, height): (u32, u32), colour: &str, option: &str) -> String {
    let colon = if option.is_empty() { "" } else { ":" };
    format!("drawbox=x={x}:y={y}:w={width}:h={height}:color={colour}:t=fill{colon}{option}")
}

fn mark_at(corner: usize) -> (u32, u32) {
    let x = if corner.is_multiple_of(2) { MARGIN } else { WIDTH - MARGIN - MARK.0 };
    let y = if corner < 2 { MARGIN } else { HEIGHT - MARGIN - MARK.1 };
    (x, y)
}

/// A decoded frame, 320x180, red, green and blue interleaved.
pub struct Frame(Vec<u8>);

/// Decodes every frame of a file with ffmpeg, turned upright and scaled to 320x180. What ffmpeg says is passed over:
/// some of the files are damaged. `decoder`: arguments that choose one; none for ffmpeg's choice.
///
/// # Errors
/// When ffmpeg does not run or gives a broken frame.
pub fn frames(path: &Path, decoder: &[&str]) -> Result<Vec<Frame>> {
    let scale = format!("scale={WIDTH}:{HEIGHT}:flags=bilinear+accurate_rnd+full_chroma_int");
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "quiet", "-nostdin", "-flags", "-output_corrupt"])
        .args(decoder)
        .arg("-i")
        .arg(path)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", &scale, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdin(Stdio::null())
        .output()
        .context("running ffmpeg; install it with scripts/setup")?;
    let size = (WIDTH * HEIGHT * 3) as usize;
    ensure!(output.stdout.len() % size == 0, "{} decodes to a broken frame", path.display());
    Ok(output.stdout.chunks(size).map(|frame| Frame(frame.to_vec())).collect())
}

impl Frame {
    /// The number; `None` when a block is neither black nor white.
    pub fn number(&self) -> Option<u32> {
        let level = |place: u32| {
            let x = LEFT + place * BLOCK;
            let [r, g, b] = self.mean((x + 8, TOP + 8), (BLOCK - 16, BLOCK - 16));
            (r + g + b) / 3.0
        };
        let (black, white) = (level(0), level(BITS + 1));
        let reach = white - black;
        if reach < 60.0 {
            return None;
        }
        (0..BITS).try_fold(0, |number, bit| match (level(bit + 1) - black) / reach {
            share if share < 0.3 => Some(number),
            share if share > 0.7 => Some(number | 1 << bit),
            _ => None,
        })
    }

    /// The colours of the corners: top left, top right, bottom left, bottom right.
    fn marks(&self) -> [[f64; 3]; 4] {
        std::array::from_fn(|corner| {
            let (x, y) = mark_at(corner);
            self.mean((x + 14, y + 8), (MARK.0 - 28, MARK.1 - 16))
        })
    }

    /// Why the corners are not what was drawn, if they are not. `grey`: there is no colour; `within`: levels by which they may be
    /// off; `None`: only hues count.
    pub fn wrong_colour(&self, grey: bool, within: Option<f64>) -> Option<String> {
        let marks = self.marks();
        let right = if let Some(within) = within {
            marks.iter().zip(MARKS).all(|(seen, drawn)| {
                let drawn = if grey { grey_of(drawn) } else { drawn.map(f64::from) };
                seen.iter().zip(drawn).all(|(seen, drawn)| (seen - drawn).abs() <= within)
            })
        } else {
            let stands_out = |corner: usize| {
                let seen = marks[corner];
                (0..3).all(|other| other == corner || seen[corner] > 2.0 * seen[other])
            };
            (0..3).all(stands_out) && marks[3].iter().all(|seen| (seen - marks[3][0]).abs() < 8.0)
        };
        (!right).then(|| format!("the corners are {:.0?}", marks))
    }

    /// How much the moving rows differ between even and odd lines: of a woven picture far more than 30 levels.
    pub fn combing(&self) -> f64 {
        let line = |x: u32, y: u32| f64::from(self.0[((y * WIDTH + x) * 3 + 1) as usize]);
        let rows = MOVING.0 + 4..MOVING.1 - 4;
        let column = |x: u32| {
            let sum: f64 = rows.clone().map(|y| if y % 2 == 0 { line(x, y) } else { -line(x, y) }).sum();
            sum.abs() / f64::from((rows.end - rows.start) / 2)
        };
        (20..WIDTH - 20).map(column).fold(0.0, f64::max)
    }

    fn mean(&self, (left, top): (u32, u32), (width, height): (u32, u32)) -> [f64; 3] {
        let mut sums = [0.0; 3];
        for y in top..top + height {
            for x in left..left + width {
                for (channel, sum) in sums.iter_mut().enumerate() {
                    *sum += f64::from(self.0[((y * WIDTH + x) * 3) as usize + channel]);
                }
            }
        }
        sums.map(|sum| sum / f64::from(width * height))
    }
}

/// Luma of BT.601, in which sources without colour are drawn.
fn grey_of([r, g, b]: [u8; 3]) -> [f64; 3] {
    [0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b); 3]
}
