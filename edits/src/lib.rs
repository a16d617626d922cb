//! What an edit means: which source frame each output frame shows, through which crop, and when a request is wrong.
//!
//! Everything here is pure: no files, no clock, no threads. The same request and the same facts about its sources
//! always give the same plan, which is what lets a segment be rendered anywhere, at any time, with the same bytes.
//!
//! In reading order:
//!
//! 1. [`rational`] and [`frame_rate`]: exact time; [`frame_times`] and [`source`]: what is known of a source video.
//! 2. [`spec`]: requests as JSON, the parser that reports every mistake at once, and the checks against sources.
//! 3. [`time_map`]: from an output frame to its source time; [`spline`] and [`crop`]: where the crop is;
//!    [`feed`]: the size at which a picture meets the upscaling model.
//! 4. [`plan`]: all of that put together for one framing export; [`transition`]: how its clips go over into each
//!    other; [`segments`]: the parts it is rendered in; [`chapters`]: the chapter marks of its clips; [`audio`]: the
//!    same for its sound.
//! 5. [`drawing`] and [`color`]: what can be drawn on a picture, in numbers; [`overlay_plan`]: spotlights and texts on
//!    the frames of a video; [`annotated_plan`]: clips and their cards.
//! 6. [`planner`]: how many devices a job should take, and what that costs.
//! 7. [`image`] and [`detections`]: the small types that the other crates exchange.
//!
//! ```
//! use std::sync::Arc;
//! use edits::{ExportSpec, FrameRate, FrameTimes, FramingPlan, Quality, SourceFacts, SourceRule, spec};
//!
//! // Ten seconds of 1920x1080 at 25 fps, in ticks of 1/12800 s as MP4 muxers write it.
//! let frames = FrameTimes::new((1, 12800), (0..250).map(|n| n * 512).collect(), 250 * 512)?;
//! let rate = FrameRate::new(25, 1).expect("not zero");
//! let source = SourceFacts { width: 1920, height: 1080, frames: Arc::new(frames), rate, has_audio: true };
//!
//! let request = serde_json::json!({"kind": "framing", "clips": [{"start": 2.0, "end": 5.0}]});
//! let parsed = spec::parse(&request, SourceRule::Implied);
//! assert!(parsed.errors.is_empty());
//! let Some(ExportSpec::Framing(framing)) = parsed.spec else { panic!("it is a framing") };
//!
//! let plan = FramingPlan::new(&framing, &[source], Quality::Best).expect("it fits the source");
//! assert_eq!(plan.frames, 90);
//! // At 30 fps, output frame 2 is at 0.067 s: 25 fps still shows the second frame after 2.0 s.
//! assert_eq!(plan.shown(2).source_frame, 51);
//! # Ok::<(), edits::FrameTimesError>(())
//! ```

pub mod annotated_plan;
pub mod audio;
mod card;
pub mod chapters;
pub mod color;
pub mod crop;
pub mod detections;
pub mod drawing;
pub mod feed;
pub mod field_error;
pub mod frame_rate;
pub mod frame_times;
pub mod image;
mod line;
pub mod overlay_plan;
pub mod plan;
pub mod planner;
mod quality;
pub mod rational;
pub mod segments;
pub mod source;
pub mod spec;
pub mod spline;
mod spotlight;
pub mod time_map;
pub mod transition;

pub use annotated_plan::{AnnotatedClip, AnnotatedPlan};
pub use audio::{AudioPart, AudioPiece};
pub use chapters::Chapter;
pub use color::Rgb;
pub use crop::{CropKeyframe, CropPath, CropRect};
pub use detections::{DetectedBox, FrameDetections};
pub use drawing::{Card, CardText, Ellipse, Paint, PixelBox, PlacedText, Spotlight, Stroke};
pub use feed::Feed;
pub use field_error::FieldError;
pub use frame_rate::FrameRate;
pub use frame_times::{FrameTimes, FrameTimesError};
pub use image::RgbImage;
pub use overlay_plan::{Drawn, OverlayPlan};
pub use plan::{ClipPlan, FramingPlan, OutputShape, Shown};
pub use quality::Quality;
pub use rational::Rat;
pub use source::SourceFacts;
pub use spec::annotated::{AnnotatedSpec, NotedClip};
pub use spec::clip::{ClipMode, ClipSpec};
pub use spec::detection::DetectionSpec;
pub use spec::encoding::Encoding;
pub use spec::framing::{
    ClipEdit, Detect, DetectRule, FramingSpec, Output, SpeedSegment, Transition, TransitionKind, Trim, Upscale,
    UpscaleMode,
};
pub use spec::overlay::{Effect, OverlaySource, OverlaySpec, Region, Shape, Space, SpotKeyframe, SpotStyle, TextEdit};
pub use spec::{ExportKind, ExportSpec, ModelNeeds, Parsed, SourceRef, SourceRule};
pub use time_map::{Stretch, TimeMap};
pub use transition::FrameComposition;
