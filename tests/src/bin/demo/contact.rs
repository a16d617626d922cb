//! The contact sheet: a few moments of the reel, each as a row of source, Lanczos, model and boxes; and a row of what
//! else was rendered.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use edits::{CropRect, ExportSpec, FrameDetections, FramingPlan, Quality, SourceRule};
use serde_json::Value;
use touchline_tests::ffmpeg::ffmpeg;

/// What is compared.
pub struct Contact<'a> {
    pub source: &'a Path,
    pub plain: &'a Path,
    pub reel: &'a Path,
    /// The reel's spec: it says where the crop was.
    pub spec: &'a Value,
    /// The reel with a spotlight, the annotated compilation and the clip.
    pub spotlight: &'a Path,
    pub annotated: &'a Path,
    pub clip: &'a Path,
}

/// Height of a row, in pixels.
const HEIGHT: u32 = 720;
/// What is shown of a reel's picture, pixel for pixel: detail is the point.
const DETAIL: (u32, u32) = (480, HEIGHT);
/// The match without its blurred edges, which show nothing.
const BETWEEN_EDGES: &str = "crop=1440:1080";
/// Width of a whole picture beside it.
const WIDE: u32 = 960;
/// Rows at most.
const ROWS: usize = 3;
const LABEL: &str = "x=16:y=16:fontsize=30:fontcolor=white:box=1:boxcolor=black@0.55:boxborderw=10";

impl Contact<'_> {
    /// Draws rows at the first, middle and last of the frames with detections.
    pub fn draw(&self, detections: &[FrameDetections], sheet: &Path) -> Result<()> {
        let plan = self.plan()?;
        let tiles = tempfile::tempdir()?;
        let mut rows = Vec::new();
        for detection in spread(detections, ROWS) {
            rows.push(self.row(&plan, detection, tiles.path(), rows.len())?);
        }
        if rows.is_empty() {
            bail!("no frame was searched, so there is nothing to draw");
        }
        rows.push(self.others(tiles.path())?);
        stack("vstack", &rows, sheet)
    }

    /// What else was rendered, as wide as the rows above.
    fn others(&self, folder: &Path) -> Result<PathBuf> {
        let tile = |name: &str| folder.join(format!("{name}.png"));
        let label = |text: &str| format!("drawtext=text='{text}':{LABEL}");
        let lit = format!("scale=-2:{HEIGHT},{}", label("spotlight"));
        picture(self.spotlight, 30, &lit, &tile("spotlight"))?;
        let wide = |text: &str| format!("scale={WIDE}:-2,pad={WIDE}:{HEIGHT}:0:(oh-ih)/2,{}", label(text));
        picture(self.annotated, 5, &wide("annotated"), &tile("annotated"))?;
        picture(self.clip, 0, &wide("a copied clip begins here"), &tile("clip"))?;
        let row = tile("others");
        stack("hstack", &["annotated", "clip", "spotlight"].map(tile), &row)?;
        Ok(row)
    }

    fn plan(&self) -> Result<FramingPlan> {
        let probe = media::probe(self.source)?;
        let index = media::build_index(self.source)?;
        let facts = media::facts(&probe, &index);
        let parsed = edits::spec::parse(self.spec, SourceRule::Named);
        let Some(ExportSpec::Framing(spec)) = parsed.spec else { bail!("the spec is no framing spec") };
        // The quality only matters for what the model is fed, not for where the crop is.
        let plan = FramingPlan::new(&spec, &[facts], Quality::Best);
        plan.map_err(|errors| anyhow::anyhow!("the spec has mistakes: {errors:?}"))
    }

    fn row(&self, plan: &FramingPlan, detection: &FrameDetections, folder: &Path, number: usize) -> Result<PathBuf> {
        let frame = detection.frame;
        let shown = plan.shown(frame);
        let tile = |name: &str| folder.join(format!("{number}-{name}.png"));
        let (detail_width, detail_height) = DETAIL;
        let detail = format!("crop={detail_width}:{detail_height}");

        let crop = outline(&shown.crop, "yellow", 4);
        let source = format!("{crop},{BETWEEN_EDGES},scale=-2:{HEIGHT},drawtext=text='source and crop':{LABEL}");
        picture(self.source, shown.source_frame as u64, &source, &tile("source"))?;
        let plain = format!("{detail},drawtext=text='Lanczos':{LABEL}");
        picture(self.plain, frame, &plain, &tile("plain"))?;
        let model = format!("{detail},drawtext=text='Touchline AI':{LABEL}");
        picture(self.reel, frame, &model, &tile("model"))?;
        let boxes =
            format!("{},scale=-2:{HEIGHT},drawtext=text='people, t={:.2} s':{LABEL}", boxes(detection), detection.time);
        picture(self.reel, frame, &boxes, &tile("boxes"))?;

        let row = tile("row");
        stack("hstack", &["source", "plain", "model", "boxes"].map(tile), &row)?;
        Ok(row)
    }
}

/// The first, the last and what lies evenly between, `most` in all.
fn spread<T>(all: &[T], most: usize) -> Vec<&T> {
    if all.len() <= most {
        return all.iter().collect();
    }
    (0..most).map(|row| &all[row * (all.len() - 1) / (most - 1)]).collect()
}

/// A rectangle as a drawbox filter.
fn outline(rect: &CropRect, color: &str, thickness: u32) -> String {
    let CropRect { x, y, width, height } = rect;
    format!("drawbox=x={x:.0}:y={y:.0}:w={width:.0}:h={height:.0}:color={color}:t={thickness}")
}

/// Each person's box with its confidence above it.
fn boxes(detection: &FrameDetections) -> String {
    let drawn = detection.boxes.iter().map(|found| {
        let [x, y, width, height] = [found.x, found.y, found.width, found.height].map(f64::from);
        let rect = outline(&CropRect { x, y, width, height }, "lime", 6);
        let (left, top) = (x.max(8.0), (y - 62.0).max(8.0));
        let text = format!("drawtext=text='{:.0} %':expansion=none:x={left:.0}:y={top:.0}", found.confidence * 100.0);
        format!("{rect},{text}:fontsize=48:fontcolor=black:box=1:boxcolor=lime:boxborderw=6")
    });
    let all = drawn.collect::<Vec<_>>().join(",");
    if all.is_empty() { "null".to_owned() } else { all }
}

/// One frame of a video, filtered, as a PNG.
fn picture(video: &Path, frame: u64, filter: &str, file: &Path) -> Result<()> {
    let filter = format!("select=eq(n\\,{frame}),{filter}");
    let (video, file) = (video.to_string_lossy(), file.to_string_lossy());
    ffmpeg(["-i", &video, "-vf", &filter, "-frames:v", "1", &file])
        .with_context(|| format!("drawing frame {frame} of {video}"))
}

fn stack(how: &str, pictures: &[PathBuf], file: &Path) -> Result<()> {
    let mut arguments: Vec<String> = Vec::new();
    for picture in pictures {
        arguments.extend(["-i".to_owned(), picture.display().to_string()]);
    }
    let filter = if pictures.len() > 1 { format!("{how}=inputs={}", pictures.len()) } else { "null".to_owned() };
    arguments.extend(["-filter_complex".to_owned(), filter, "-frames:v".to_owned(), "1".to_owned()]);
    arguments.push(file.display().to_string());
    ffmpeg(arguments)
}
