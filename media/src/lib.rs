//! FFmpeg behind safe types: from a file to exact frames and cut sound, and back to a file.
//!
//! This crate handles frames, planes, samples and packets; it is independent of tenants, actors and models.
//!
//! In reading order:
//!
//! 1. [`probe()`] and [`scan`] find what a file is; what cannot be worked on is refused with a code ([`MediaError`]).
//! 2. [`build_index`] finds the displayed frames and their times; [`FrameDecoder`] gives frame `n` as a [`Picture`].
//! 3. [`Cropper`] cuts a sub-pixel box out of a picture, as RGB for a model or straight to a [`YuvFrame`];
//!    [`Finisher`] brings a model's result to output size and gives back the detail it lost.
//! 4. [`Painter`] and [`TextShaper`] draw spotlights, texts and cards on a [`Canvas`]; [`dissolve`] and [`fade`] lead
//!    from clip to clip.
//! 5. [`SegmentEncoder`], [`render_audio`] and [`assemble`] make the published file.
//! 6. Where a source's own times are kept: [`StreamShape`], [`TimedEncoder`] and [`assemble_timed`] encode it again,
//!    [`smart_layout`] and [`splice`] only where it changes, [`copy_clip`] not at all.
//! 7. [`write_png`], [`jpeg`] and [`read_image`] for stills; [`testing`] synthesises sources whose every frame and
//!    sound can be recognised.
//!
//! Every object is used by one thread at a time and may move between threads. Time is exact: rationals and frame
//! numbers, never added floats.
//!
//! ```
//! use std::sync::Arc;
//! use edits::{CropRect, FrameRate};
//! use media::{Cropper, FrameDecoder, SegmentEncoder, VideoSettings, build_index, testing};
//!
//! let folder = tempfile::tempdir()?;
//! let source = folder.path().join("source.mp4");
//! testing::StampedVideo::new(320, 180, FrameRate { num: 25, den: 1 }, 10).write(&source)?;
//!
//! let index = Arc::new(build_index(&source)?);
//! let mut decoder = FrameDecoder::open(&source, index.clone(), 1)?;
//! let settings = VideoSettings {
//!     width: 180,
//!     height: 320,
//!     rate: FrameRate { num: 25, den: 1 },
//!     gop: 25,
//!     crf: 23,
//!     preset: "fast".into(),
//! };
//! let mut encoder = SegmentEncoder::create(&folder.path().join("segment.mp4"), &settings)?;
//! let mut cropper = Cropper::new();
//! for frame in 0..index.len() {
//!     let crop = CropRect { x: 40.25 + frame as f64, y: 0.0, width: 101.25, height: 180.0 };
//!     encoder.push(&cropper.yuv(&*decoder.frame(frame)?, &crop, 0.0, 180, 320))?;
//! }
//! assert_eq!(encoder.finish()?.frames, 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assemble;
mod assemble_timed;
mod audio;
mod blend;
mod claims;
mod clip;
mod colour;
mod crop;
mod decode;
mod draw;
mod edit_list;
mod encode;
mod error;
mod feed;
mod finish;
mod formats;
mod frame_tags;
mod h264;
mod image;
mod index;
mod index_bytes;
mod input;
mod joins;
mod limits;
mod log;
mod memory;
mod normalise;
mod orientation;
mod output;
mod packets;
mod picture;
mod probe;
mod reorder;
mod resample;
mod rotate;
mod scan;
mod shape;
mod smart;
mod source;
mod stream;
mod tags;
mod tail;
pub mod testing;
mod timed;
mod tracks;
mod versions;
mod window;
mod wire;
mod yuv;

pub use assemble::{Assembled, assemble};
pub use assemble_timed::{Assembly, AudioFrom, TimedPart, assemble_timed};
pub use audio::{AudioSource, AudioStats, render_audio};
pub use blend::{dissolve, fade};
pub use clip::{Copied, copy_clip};
pub use colour::{Matrix, Range};
pub use crop::Cropper;
pub use decode::FrameDecoder;
pub use draw::{Canvas, CanvasFormat, Painter, Sprite, TextShaper, load_fonts};
pub use encode::{EncodedSegment, SegmentEncoder, VideoSettings};
pub use error::{MediaError, Result, io_error};
pub use finish::Finisher;
pub use formats::{CONTAINERS, SOUND_DECODERS, VIDEO_DECODERS};
pub use image::{jpeg, read_image, write_png};
pub use index::{FrameIndex, build_index, build_index_unless};
pub use input::Stop;
pub use log::init;
pub use memory::map_large_blocks;
pub use picture::Picture;
pub use probe::{AudioInfo, Colour, Probe, facts, probe};
pub use scan::{ScanReport, scan, scan_unless};
pub use shape::{ColourTags, StreamShape};
pub use smart::{SmartLayout, Spliced, smart_layout, splice};
pub use stream::MAX_SIDE;
pub use tags::Chapter;
pub use timed::{TimedEncoder, TimedSettings};
pub use tracks::{sound_left_out, sound_not_for_mp4};
pub use versions::library_versions;
pub use window::build_index_around;
pub use yuv::{YuvFrame, to_rgb, to_yuv};
