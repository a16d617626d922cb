//! A file's metadata: chapters, titles, languages.
#![expect(unsafe_code, reason = "stream dispositions and side data have no safe setter")]

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{DictionaryRef, ffi, format};

use crate::error::{MediaError, Result};

/// A named stretch of a video, which players list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    pub name: String,
    /// Seconds from the first picture.
    pub start: Rat,
    pub end: Rat,
}

/// Ticks a second of chapter times.
const CHAPTER_TICKS: i32 = 1_000_000;

/// What belongs to the container or to an encoder rather than to the content.
const NOT_CARRIED: [&str; 5] = ["major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id"];

pub(crate) fn add_chapters(output: &mut format::context::Output, chapters: &[Chapter]) -> Result<()> {
    let ticks = |seconds: Rat| (seconds * Rat::from(i128::from(CHAPTER_TICKS))).round().to_integer() as i64;
    for (chapter, id) in chapters.iter().zip(0..) {
        output
            .add_chapter(id, (1, CHAPTER_TICKS), ticks(chapter.start), ticks(chapter.end), &chapter.name)
            .map_err(|error| MediaError::codec(format!("adding chapter {:?}", chapter.name), error))?;
    }
    Ok(())
}

/// Carries a source's chapters over, `start` seconds of it becoming time 0.
pub(crate) fn copy_chapters(
    source: &format::context::Input,
    start: Rat,
    output: &mut format::context::Output,
) -> Result<()> {
    let chapters: Vec<Chapter> = source
        .chapters()
        .filter(|chapter| chapter.time_base().numerator() > 0 && chapter.time_base().denominator() > 0)
        .map(|chapter| {
            let base = chapter.time_base();
            let unit = Rat::new(i128::from(base.numerator()), i128::from(base.denominator()));
            let seconds = |ticks: i64| (Rat::from(i128::from(ticks)) * unit - start).max(Rat::from(0));
            let name = chapter.metadata().get("title").unwrap_or_default().to_owned();
            Chapter { name, start: seconds(chapter.start()), end: seconds(chapter.end()) }
        })
        .filter(|chapter| chapter.start < chapter.end)
        .collect();
    add_chapters(output, &chapters)
}

/// Writes the file's tags: those of a source, if there is one, and the comment `simulated` where models were not real.
pub(crate) fn write_tags(
    source: Option<&format::context::Input>,
    simulated: bool,
    output: &mut format::context::Output,
) {
    let mut tags = source.map_or_else(av::Dictionary::new, |source| carried(source.metadata()));
    if simulated {
        tags.set("comment", "simulated");
    }
    output.set_metadata(tags);
}

fn carried(tags: DictionaryRef) -> av::Dictionary<'static> {
    let mut kept = av::Dictionary::new();
    tags.iter().filter(|(name, _)| !NOT_CARRIED.contains(name)).for_each(|(name, value)| kept.set(name, value));
    kept
}

/// Carries over a stream's language and names to a stream that was encoded from it.
pub(crate) fn copy_names(from: &format::stream::Stream, output: &mut format::context::Output, to: usize) {
    output.stream_mut(to).expect("the stream was added").set_metadata(carried(from.metadata()));
}

/// Carries over a stream's metadata and side data: language, role, orientation, brightness.
pub(crate) fn copy_stream_tags(from: &format::stream::Stream, output: &mut format::context::Output, to: usize) {
    let mut added = output.stream_mut(to).expect("the stream was added");
    added.set_metadata(carried(from.metadata()));
    // SAFETY: both streams are alive; libav owns the memory it returns and has room for `size` bytes there.
    unsafe {
        let (from, to) = (from.as_ptr(), added.as_mut_ptr());
        (*to).disposition = (*from).disposition;
        (*to).sample_aspect_ratio = (*from).sample_aspect_ratio;
        for index in 0..(*from).nb_side_data.max(0) as usize {
            let data = &*(*from).side_data.add(index);
            let copy = ffi::av_stream_new_side_data(to, data.type_, data.size);
            if !copy.is_null() {
                std::ptr::copy_nonoverlapping(data.data, copy, data.size);
            }
        }
    }
}
