//! Videos that show their own frame numbers: 16 large black and white blocks in the middle of the picture.

use std::path::Path;

use edits::{CropRect, FrameRate, RgbImage};
use ffmpeg_next as av;
use ffmpeg_next::{codec, encoder, format, frame};

use crate::error::{MediaError, Result};
use crate::input;

const BLACK: u8 = 30;
const WHITE: u8 = 220;
/// Blocks along a side of the stamp.
const SIDE: usize = 4;

/// A video of stamped frames over a moving gradient. The container follows from the file's name.
#[derive(Debug, Clone)]
pub struct StampedVideo {
    pub width: u32,
    pub height: u32,
    pub rate: FrameRate,
    pub frames: u32,
    /// libav's name of the encoder.
    pub codec: String,
    pub gop: u32,
    pub b_frames: u32,
    /// Presentation times in milliseconds instead of a constant rate; one for each frame.
    pub milliseconds: Option<Vec<i64>>,
}

impl StampedVideo {
    /// H.264 with two B-frames and a key frame every 24 frames at most.
    pub fn new(width: u32, height: u32, rate: FrameRate, frames: u32) -> Self {
        Self { width, height, rate, frames, codec: "libx264".to_owned(), gop: 24, b_frames: 2, milliseconds: None }
    }

    /// Variable frame rate: one frame at each of these milliseconds.
    pub fn at_milliseconds(width: u32, height: u32, milliseconds: Vec<i64>) -> Self {
        let rate = FrameRate { num: 25, den: 1 };
        Self {
            frames: milliseconds.len() as u32,
            milliseconds: Some(milliseconds),
            ..Self::new(width, height, rate, 0)
        }
    }

    /// Encodes and writes the video.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the encoder or the container refuses the settings.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::init();
        self.encode(path).map_err(|error| MediaError::codec(format!("making {}", path.display()), error))
    }

    fn encode(&self, path: &Path) -> std::result::Result<(), av::Error> {
        let url = input::url(path).map_err(|_| av::Error::InvalidData)?;
        let mut output = format::output(&url)?;
        let needs_header = output.format().flags().contains(format::Flags::GLOBAL_HEADER);
        let mut encoder = self.open(needs_header)?;
        let time_base = self.time_base();
        let mut stream = output.add_stream_with(&encoder)?;
        stream.set_time_base(time_base);
        stream.set_avg_frame_rate((self.rate.num as i32, self.rate.den as i32));
        output.write_header()?;
        let to = output.stream(0).ok_or(av::Error::StreamNotFound)?.time_base();
        let mut packet = av::Packet::empty();
        let mut drain = |encoder: &mut encoder::Video, output: &mut format::context::Output| {
            while encoder.receive_packet(&mut packet).is_ok() {
                packet.set_stream(0);
                packet.rescale_ts(time_base, to);
                packet.write_interleaved(output)?;
            }
            Ok::<(), av::Error>(())
        };
        for number in 0..self.frames {
            let mut picture = self.draw(number);
            let pts = self.milliseconds.as_ref().map_or(i64::from(number), |times| times[number as usize]);
            picture.set_pts(Some(pts));
            encoder.send_frame(&picture)?;
            drain(&mut encoder, &mut output)?;
        }
        encoder.send_eof()?;
        drain(&mut encoder, &mut output)?;
        output.write_trailer()
    }

    fn time_base(&self) -> av::Rational {
        match self.milliseconds {
            Some(_) => av::Rational::new(1, 1000),
            None => av::Rational::new(self.rate.den as i32, self.rate.num as i32),
        }
    }

    fn open(&self, needs_header: bool) -> std::result::Result<encoder::Video, av::Error> {
        let codec = encoder::find_by_name(&self.codec).ok_or(av::Error::EncoderNotFound)?;
        let mut context = codec::Context::new_with_codec(codec);
        context.set_threading(codec::threading::Config { count: 1, ..Default::default() });
        if needs_header {
            context.set_flags(codec::Flags::GLOBAL_HEADER);
        }
        let mut video = context.encoder().video()?;
        video.set_width(self.width);
        video.set_height(self.height);
        video.set_format(format::Pixel::YUV420P);
        video.set_time_base(self.time_base());
        video.set_gop(self.gop);
        video.set_max_b_frames(self.b_frames as usize);
        video.set_bit_rate(4_000_000);
        if self.milliseconds.is_none() {
            video.set_frame_rate(Some((self.rate.num as i32, self.rate.den as i32)));
        }
        let mut options = av::Dictionary::new();
        if self.codec == "libx264" {
            options.set("preset", "superfast");
            options.set("crf", "20");
        }
        video.open_as_with(codec, options)
    }

    fn draw(&self, number: u32) -> frame::Video {
        let mut picture = frame::Video::new(format::Pixel::YUV420P, self.width, self.height);
        let (width, stride) = (self.width as usize, picture.stride(0));
        let area = stamp_area(self.width, self.height);
        let (left, top, side) = (area.x as usize, area.y as usize, area.width as usize);
        for (y, row) in picture.data_mut(0).chunks_mut(stride).enumerate() {
            for (x, luma) in row[..width].iter_mut().enumerate() {
                let inside = (left..left + side).contains(&x) && (top..top + side).contains(&y);
                *luma = if inside {
                    let bit = (y - top) * SIDE / side * SIDE + (x - left) * SIDE / side;
                    if number >> bit & 1 == 1 { WHITE } else { BLACK }
                } else {
                    60 + ((x + y + 2 * number as usize) % 128) as u8
                };
            }
        }
        picture.data_mut(1).fill(118);
        picture.data_mut(2).fill(138);
        picture
    }
}

/// Where the stamp lies in a picture of this size: a centred square, half as wide as the shorter side, so that every
/// large centred crop shows it.
pub fn stamp_area(width: u32, height: u32) -> CropRect {
    let side = f64::from(width.min(height) / 2 / SIDE as u32 * SIDE as u32);
    CropRect {
        x: ((f64::from(width) - side) / 2.0).floor(),
        y: ((f64::from(height) - side) / 2.0).floor(),
        width: side,
        height: side,
    }
}

/// Reads the frame number (its lower 16 bits) from a picture that shows the part `crop` of a stamped source of
/// `source` pixels, at any scale. `None` when a block is neither black nor white or lies outside the picture.
pub fn read_stamp(image: &RgbImage, source: (u32, u32), crop: &CropRect) -> Option<u32> {
    let area = stamp_area(source.0, source.1);
    let scale = (f64::from(image.width) / crop.width, f64::from(image.height) / crop.height);
    let block = area.width / SIDE as f64;
    (0..SIDE * SIDE).try_fold(0, |number, bit| {
        let x = area.x + (bit % SIDE) as f64 * block;
        let y = area.y + (bit / SIDE) as f64 * block;
        // The middle half of the block.
        let at = |from: f64, start: f64, scale: f64| ((from - start) * scale).round();
        let columns = (at(x + block / 4.0, crop.x, scale.0), at(x + block * 0.75, crop.x, scale.0));
        let rows = (at(y + block / 4.0, crop.y, scale.1), at(y + block * 0.75, crop.y, scale.1));
        match mean_green(image, columns, rows)? {
            mean if mean < 70.0 => Some(number),
            mean if mean > 180.0 => Some(number | 1 << bit),
            _ => None,
        }
    })
}

fn mean_green(image: &RgbImage, columns: (f64, f64), rows: (f64, f64)) -> Option<f64> {
    let inside = columns.0 >= 0.0
        && rows.0 >= 0.0
        && columns.1 <= f64::from(image.width)
        && rows.1 <= f64::from(image.height)
        && columns.0 < columns.1
        && rows.0 < rows.1;
    if !inside {
        return None;
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for y in rows.0 as usize..rows.1 as usize {
        for x in columns.0 as usize..columns.1 as usize {
            sum += f64::from(image.data[(y * image.width as usize + x) * 3 + 1]);
            count += 1.0;
        }
    }
    Some(sum / count)
}
