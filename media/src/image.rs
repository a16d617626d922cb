//! Still pictures: PNG out, anything libav knows in.

use std::path::Path;

use edits::RgbImage;
use ffmpeg_next as av;
use ffmpeg_next::{codec, encoder, format, frame, software::scaling};

use crate::error::{MediaError, Result};
use crate::input;
use crate::output::Unfinished;

/// Writes a PNG file.
///
/// # Errors
/// [`MediaError::Io`] when the file cannot be written, [`MediaError::Codec`] when the picture cannot be encoded.
pub fn write_png(path: &Path, image: &RgbImage) -> Result<()> {
    crate::init();
    let failed = |error: av::Error| MediaError::codec(format!("encoding {}", path.display()), error);
    let codec = encoder::find(codec::Id::PNG).ok_or_else(|| failed(av::Error::EncoderNotFound))?;
    let mut video = codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    video.set_width(image.width);
    video.set_height(image.height);
    video.set_format(format::Pixel::RGB24);
    video.set_time_base((1, 1));
    let mut encoder = video.open_as(codec).map_err(failed)?;
    let mut picture = frame::Video::new(format::Pixel::RGB24, image.width, image.height);
    let stride = picture.stride(0);
    let row = image.width as usize * 3;
    let rows = picture.data_mut(0).chunks_mut(stride).zip(image.data.chunks_exact(row));
    rows.for_each(|(to, from)| to[..row].copy_from_slice(from));
    picture.set_pts(Some(0));
    encoder.send_frame(&picture).and_then(|()| encoder.send_eof()).map_err(failed)?;
    let mut packet = av::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(failed)?;
    let file = Unfinished::new(path);
    std::fs::write(path, packet.data().unwrap_or_default())
        .map_err(|source| MediaError::io("writing", path, source))?;
    file.keep().map(|_| ())
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
    let mut decoder = input::decoder(&stream, 1)?.video().map_err(refused)?;
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
    let (width, height) = (picture.width(), picture.height());
    let flags = scaling::Flags::BICUBIC
        | scaling::Flags::ACCURATE_RND
        | scaling::Flags::BITEXACT
        | scaling::Flags::FULL_CHR_H_INT;
    let mut scaler =
        scaling::Context::get(picture.format(), width, height, format::Pixel::RGB24, width, height, flags)?;
    let mut converted = frame::Video::empty();
    scaler.run(picture, &mut converted)?;
    let mut image = RgbImage::new(width, height);
    let (stride, row) = (converted.stride(0), width as usize * 3);
    let rows = image.data.chunks_exact_mut(row).zip(converted.data(0).chunks(stride));
    rows.for_each(|(to, from)| to.copy_from_slice(&from[..row]));
    Ok(image)
}
