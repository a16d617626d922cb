//! Still pictures: PNG out, anything libav decodes in.

use std::path::Path;

use edits::RgbImage;
use ffmpeg_next as av;
use ffmpeg_next::{codec, encoder, format, frame, software::scaling};

use crate::error::{MediaError, Result};
use crate::input;
use crate::output::Unfinished;

/// Smallest step between a JPEG's levels that is used, 2 (finest) to 31: about quality 90 of other programs.
const JPEG_STEP: i32 = 3;

/// Writes a PNG file.
///
/// # Errors
/// [`MediaError::Io`] when the file cannot be written, [`MediaError::Codec`] when the picture cannot be encoded.
pub fn write_png(path: &Path, image: &RgbImage) -> Result<()> {
    crate::init();
    let encoded = encode(codec::Id::PNG, &to_frame(image));
    let bytes = encoded.map_err(|error| MediaError::codec(format!("encoding {}", path.display()), error))?;
    let file = Unfinished::new(path);
    std::fs::write(path, bytes).map_err(|source| MediaError::io("writing", path, source))?;
    file.keep().map(|_| ())
}

/// A picture as JPEG, BT.601 at full range as JFIF specifies.
///
/// # Errors
/// [`MediaError::Codec`] when the picture cannot be encoded.
pub fn jpeg(image: &RgbImage) -> Result<Vec<u8>> {
    crate::init();
    let encoded = convert(&to_frame(image), format::Pixel::YUVJ420P);
    let encoded = encoded.and_then(|picture| encode(codec::Id::MJPEG, &picture));
    encoded.map_err(|error| MediaError::codec("encoding a JPEG".to_owned(), error))
}

fn encode(id: codec::Id, picture: &frame::Video) -> std::result::Result<Vec<u8>, av::Error> {
    let codec = encoder::find(id).ok_or(av::Error::EncoderNotFound)?;
    let mut video = codec::Context::new_with_codec(codec).encoder().video()?;
    video.set_width(picture.width());
    video.set_height(picture.height());
    video.set_format(picture.format());
    video.set_time_base((1, 1));
    // Lossless formats have no steps and ignore this.
    video.set_qmin(JPEG_STEP);
    video.set_qmax(JPEG_STEP);
    let mut encoder = video.open_as(codec)?;
    encoder.send_frame(picture).and_then(|()| encoder.send_eof())?;
    let mut packet = av::Packet::empty();
    encoder.receive_packet(&mut packet)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}

fn to_frame(image: &RgbImage) -> frame::Video {
    let mut picture = frame::Video::new(format::Pixel::RGB24, image.width, image.height);
    let stride = picture.stride(0);
    let row = image.width as usize * 3;
    let rows = picture.data_mut(0).chunks_mut(stride).zip(image.data.chunks_exact(row));
    rows.for_each(|(to, from)| to[..row].copy_from_slice(from));
    picture.set_pts(Some(0));
    picture
}

/// Reads a picture file (PNG, JPEG, WebP, …), or the first frame of anything else libav decodes.
///
/// # Errors
/// [`MediaError::Io`] when the file cannot be opened, [`MediaError::Refused`] when it holds no picture.
pub fn read_image(path: &Path) -> Result<RgbImage> {
    crate::init();
    let refused = |error: av::Error| {
        MediaError::refused("not_an_image", format!("{} is not a picture that can be read: {error}", path.display()))
    };
    std::fs::metadata(path).map_err(|source| MediaError::io("reading", path, source))?;
    let mut options = av::Dictionary::new();
    options.set("protocol_whitelist", "file");
    let mut source = format::input_with_dictionary(&input::url(path)?, options).map_err(refused)?;
    let index =
        source.streams().best(av::media::Type::Video).ok_or(av::Error::StreamNotFound).map_err(refused)?.index();
    let stream = source.stream(index).expect("the index comes from this file");
    let mut decoder = input::any_decoder(&stream, 1)?.video().map_err(refused)?;
    let (mut packet, mut damaged) = (av::Packet::empty(), 0);
    let mut picture = frame::Video::empty();
    while input::read(&mut source, index, &mut packet, &mut damaged) {
        let sent = decoder.send_packet(&packet);
        if sent.and_then(|()| decoder.receive_frame(&mut picture)).is_ok() {
            return to_rgb(&picture).map_err(refused);
        }
    }
    decoder.send_eof().and_then(|()| decoder.receive_frame(&mut picture)).map_err(refused)?;
    to_rgb(&picture).map_err(refused)
}

fn to_rgb(picture: &frame::Video) -> std::result::Result<RgbImage, av::Error> {
    let converted = convert(picture, format::Pixel::RGB24)?;
    let mut image = RgbImage::new(picture.width(), picture.height());
    let (stride, row) = (converted.stride(0), picture.width() as usize * 3);
    let rows = image.data.chunks_exact_mut(row).zip(converted.data(0).chunks(stride));
    rows.for_each(|(to, from)| to.copy_from_slice(&from[..row]));
    Ok(image)
}

fn convert(picture: &frame::Video, to: format::Pixel) -> std::result::Result<frame::Video, av::Error> {
    let (width, height) = (picture.width(), picture.height());
    let flags = scaling::Flags::BICUBIC
        | scaling::Flags::ACCURATE_RND
        | scaling::Flags::BITEXACT
        | scaling::Flags::FULL_CHR_H_INT;
    let mut scaler = scaling::Context::get(picture.format(), width, height, to, width, height, flags)?;
    let mut converted = frame::Video::empty();
    scaler.run(picture, &mut converted)?;
    converted.set_pts(picture.pts());
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture that a JPEG can hold well: smooth, with colours.
    fn gradient() -> RgbImage {
        let mut image = RgbImage::new(64, 48);
        for (i, pixel) in image.data.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % 64, i / 64);
            pixel.copy_from_slice(&[(x * 4) as u8, (y * 5) as u8, 128]);
        }
        image
    }

    #[test]
    fn a_jpeg_reads_back_as_the_picture_it_was() {
        let image = gradient();
        let bytes = jpeg(&image).unwrap();
        assert_eq!(&bytes[..2], [0xff, 0xd8], "a JPEG begins with its marker");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("still.jpg");
        std::fs::write(&path, bytes).unwrap();
        let back = read_image(&path).unwrap();
        assert_eq!((back.width, back.height), (64, 48));
        let squares = image.data.iter().zip(&back.data).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        let mean = squares.sum::<f64>() / image.data.len() as f64;
        let psnr = 10.0 * (255.0 * 255.0 / mean).log10();
        assert!(psnr > 38.0, "{psnr:.1} dB");
    }
}
