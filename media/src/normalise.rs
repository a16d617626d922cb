//! Turning whatever a decoder gives into what the rest of this crate works on: upright, progressive, 8-bit planar
//! Y'CbCr in BT.601 or BT.709. Most sports footage is that already and passes untouched; everything else goes
//! through a libavfilter graph that is built when the first such frame arrives.

use ffmpeg_next as av;
use ffmpeg_next::{color, filter, format::Pixel, frame, util::chroma::Location};

use crate::colour::{Matrix, Range};
use crate::error::{MediaError, Result};
use crate::orientation::Orientation;
use crate::picture::Picture;

/// What the conversion needs of a stream besides its frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub orientation: Orientation,
    /// Displayed size after rotation, in square pixels.
    pub size: (u32, u32),
    pub time_base: av::Rational,
    /// Whether two fields are woven into each frame.
    pub interlaced: bool,
}

/// What decides about a graph; another shape needs another graph.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    format: Pixel,
    size: (u32, u32),
    space: color::Space,
    range: color::Range,
    transfer: color::TransferCharacteristic,
    primaries: color::Primaries,
    location: Location,
}

impl Shape {
    fn of(frame: &frame::Video) -> Self {
        Self {
            format: frame.format(),
            size: (frame.width(), frame.height()),
            space: frame.color_space(),
            range: frame.color_range(),
            transfer: frame.color_transfer_characteristic(),
            primaries: frame.color_primaries(),
            location: frame.chroma_location(),
        }
    }
}

/// The conversion of one stream's frames, with the graph in use.
pub(crate) struct Normaliser {
    target: Target,
    graph: Option<(Shape, Graph)>,
}

impl Normaliser {
    pub fn new(target: Target) -> Self {
        Self { target, graph: None }
    }

    /// Whether frames must go through [`Self::push`] and [`Self::pull`] in order, because one depends on its
    /// neighbours.
    pub fn is_temporal(&self) -> bool {
        self.target.interlaced
    }

    /// Forgets the neighbours, after a seek.
    pub fn reset(&mut self) {
        if self.is_temporal() {
            self.graph = None;
        }
    }

    /// Converts one frame that does not depend on others.
    pub fn convert(&mut self, frame: frame::Video) -> Result<Picture> {
        let steps = Steps::plan(&Shape::of(&frame), &self.target);
        if steps.filters.is_empty() {
            return self.picture(frame, &steps);
        }
        self.push(&frame)?;
        match self.pull()? {
            Some((_, picture)) => Ok(picture),
            None => Err(MediaError::codec("converting a picture", "the filter gave nothing back")),
        }
    }

    /// Hands a frame to the graph, building it first where needed.
    pub fn push(&mut self, frame: &frame::Video) -> Result<()> {
        let shape = Shape::of(frame);
        if self.graph.as_ref().is_none_or(|(built_for, _)| *built_for != shape) {
            let steps = Steps::plan(&shape, &self.target);
            self.graph = Some((shape, Graph::new(&shape, steps, self.target.time_base)?));
        }
        let (_, graph) = self.graph.as_mut().expect("the graph was built above");
        graph.push(frame)
    }

    /// Sends the end of the stream to the graph.
    pub fn finish(&mut self) -> Result<()> {
        match &mut self.graph {
            Some((_, graph)) => graph.finish(),
            None => Ok(()),
        }
    }

    /// The next converted frame with its time stamp, if the graph has one.
    pub fn pull(&mut self) -> Result<Option<(i64, Picture)>> {
        let Some((_, graph)) = &mut self.graph else {
            return Ok(None);
        };
        let Some((stamp, frame)) = graph.pull(self.target.time_base)? else {
            return Ok(None);
        };
        let steps = graph.steps.clone();
        Ok(Some((stamp, self.picture(frame, &steps)?)))
    }

    fn picture(&self, frame: frame::Video, steps: &Steps) -> Result<Picture> {
        Picture::new(frame, steps.colour, steps.chroma_offset, self.target.size)
    }
}

/// The filters one shape of frames needs, and what their result is.
#[derive(Debug, Clone)]
struct Steps {
    filters: Vec<String>,
    colour: (Matrix, Range),
    chroma_offset: (f64, f64),
}

impl Steps {
    fn plan(shape: &Shape, target: &Target) -> Self {
        let mut filters = Vec::new();
        if target.interlaced {
            filters.push("bwdif=mode=send_frame:parity=auto:deint=interlaced".to_owned());
        }
        let (conversion, colour) = convert_colour(shape);
        let keeps_siting = conversion.as_ref().is_none_or(|filter| !filter.starts_with("zscale"));
        let offset = if keeps_siting { chroma_offset(shape) } else { (0.25, 0.0) };
        filters.extend(conversion);
        filters.extend(target.orientation.filters().iter().map(|&step| step.to_owned()));
        Self { filters, colour, chroma_offset: target.orientation.turn_offset(offset) }
    }
}

/// The filter that makes a shape 8-bit planar Y'CbCr of a matrix this crate computes with, if one is needed.
fn convert_colour(shape: &Shape) -> (Option<String>, (Matrix, Range)) {
    const BT709: (Matrix, Range) = (Matrix::Bt709, Range::Limited);
    let is_rgb = shape.format.descriptor().is_some_and(|d| is_rgb(shape.format, d.name()));
    if let Some(transfer) = hdr_transfer(shape.transfer) {
        return (Some(tone_map(transfer, shape)), BT709);
    }
    if is_rgb {
        let filter = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+bitexact,format=yuv444p";
        return (Some(filter.to_owned()), BT709);
    }
    let Some(matrix) = Matrix::of(shape.space, shape.size.1) else {
        return (Some(to_bt709(shape)), BT709);
    };
    let colour = (matrix, Range::of(shape.range, shape.format));
    let filter = match shape.format {
        Pixel::YUV420P | Pixel::YUV422P | Pixel::YUV444P => None,
        Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P => None,
        other => {
            // Both ranges by name: swscale takes every grey format for full range.
            let range = if colour.1 == Range::Full { "pc" } else { "tv" };
            let planar = nearest_planar(other);
            Some(format!(
                "scale=in_range={range}:out_range={range}:flags=bicubic+accurate_rnd+bitexact,format={planar}"
            ))
        }
    };
    (filter, colour)
}

/// What a frame's code values mean, by its tags.
pub(crate) fn meaning(frame: &frame::Video) -> (Matrix, Range) {
    convert_colour(&Shape::of(frame)).1
}

/// Why a stream's frames, `first` among them, are not upright, progressive 8-bit 4:2:0 pictures of even size with
/// square pixels; `None` where they are.
pub(crate) fn not_plain(first: &frame::Video, target: &Target) -> Option<String> {
    let (width, height) = (first.width(), first.height());
    let why = if target.orientation != Orientation::Upright {
        "the pictures are turned for display".to_owned()
    } else if target.interlaced {
        "the pictures are interlaced".to_owned()
    } else if !matches!(first.format(), Pixel::YUV420P | Pixel::YUVJ420P) {
        let name = first.format().descriptor().map_or("unknown", |descriptor| descriptor.name());
        format!("the pictures are {name}, not 8-bit 4:2:0")
    } else if target.size != (width, height) {
        "the pixels are not square".to_owned()
    } else if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        format!("{width}x{height} pixels are not an even size")
    } else if !Steps::plan(&Shape::of(first), target).filters.is_empty() {
        "the colours are converted for display".to_owned()
    } else {
        return None;
    };
    Some(why)
}

/// Where a frame's tag puts its chroma samples (see [`Chroma::offset`]); untagged JPEG has them in the middle, all
/// other untagged video on the left.
///
/// [`Chroma::offset`]: crate::picture::Chroma::offset
fn chroma_offset(shape: &Shape) -> (f64, f64) {
    match shape.location {
        Location::Center => (0.0, 0.0),
        Location::TopLeft => (0.25, 0.25),
        Location::Top => (0.0, 0.25),
        Location::Unspecified if is_jpeg(shape.format) => (0.0, 0.0),
        _ => (0.25, 0.0),
    }
}

fn is_jpeg(format: Pixel) -> bool {
    matches!(format, Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P)
}

fn is_rgb(format: Pixel, name: &str) -> bool {
    name.contains("rgb")
        || name.contains("bgr")
        || name.contains("gbr")
        || name.contains("pal")
        || format == Pixel::PAL8
}

/// The 8-bit planar format with the same (or finer) chroma.
fn nearest_planar(format: Pixel) -> &'static str {
    match format.descriptor().map(|d| (d.log2_chroma_w(), d.log2_chroma_h(), d.nb_components())) {
        Some((_, _, 1 | 2)) | Some((1, 1, _)) | None => "yuv420p",
        Some((1, 0, _)) => "yuv422p",
        _ => "yuv444p",
    }
}

/// The transfer's name in the filter, if it is one of high dynamic range.
fn hdr_transfer(transfer: color::TransferCharacteristic) -> Option<&'static str> {
    match transfer {
        color::TransferCharacteristic::SMPTE2084 => Some("smpte2084"),
        color::TransferCharacteristic::ARIB_STD_B67 => Some("arib-std-b67"),
        _ => None,
    }
}

/// High dynamic range to BT.709: linear light, Hable's curve on luminance, back to gamma.
fn tone_map(transfer: &str, shape: &Shape) -> String {
    let range = zscale_range(shape);
    let matrix = zscale_matrix(shape.space).unwrap_or("2020_ncl");
    format!(
        "zscale=tin={transfer}:min={matrix}:pin=2020:rin={range}:t=linear:npl=100,format=gbrpf32le,\
zscale=p=709,tonemap=hable:desat=0,zscale=t=709:m=709:r=limited:c=left,format=yuv420p"
    )
}

/// A matrix this crate does not compute with (BT.2020, SMPTE 240M, …) to BT.709.
fn to_bt709(shape: &Shape) -> String {
    let range = zscale_range(shape);
    let matrix = zscale_matrix(shape.space).unwrap_or("709");
    let primaries = match shape.primaries {
        color::Primaries::BT2020 => "2020",
        _ => "709",
    };
    let transfer = if primaries == "2020" { "2020_10" } else { "709" };
    format!(
        "zscale=min={matrix}:pin={primaries}:tin={transfer}:rin={range}:m=709:p=709:t=709:r=limited:c=left,format=yuv420p"
    )
}

fn zscale_range(shape: &Shape) -> &'static str {
    match Range::of(shape.range, shape.format) {
        Range::Full => "full",
        Range::Limited => "limited",
    }
}

fn zscale_matrix(space: color::Space) -> Option<&'static str> {
    match space {
        color::Space::BT2020NCL => Some("2020_ncl"),
        color::Space::BT2020CL => Some("2020_cl"),
        // By its number of ITU-T H.273: the filter misspells the name, and reads "240m" as 0.24, that is RGB.
        color::Space::SMPTE240M => Some("7"),
        color::Space::FCC => Some("fcc"),
        color::Space::YCGCO => Some("ycgco"),
        color::Space::ICTCP => Some("ictcp"),
        _ => None,
    }
}

/// A built libavfilter graph with one way in and one out.
struct Graph {
    graph: filter::Graph,
    steps: Steps,
}

impl Graph {
    fn new(shape: &Shape, steps: Steps, time_base: av::Rational) -> Result<Self> {
        let doing = || format!("building the picture filter {:?}", steps.filters.join(","));
        let failed = |error: av::Error| MediaError::codec(doing(), error);
        let lookup = |name: &str| {
            filter::find(name).ok_or_else(|| MediaError::codec(doing(), format!("libavfilter has no {name}")))
        };
        let mut graph = filter::Graph::new();
        let pixel: av::ffi::AVPixelFormat = shape.format.into();
        let arguments = format!(
            "video_size={}x{}:pix_fmt={}:time_base={}/{}:pixel_aspect=1/1",
            shape.size.0,
            shape.size.1,
            pixel as i32,
            time_base.numerator(),
            time_base.denominator()
        );
        graph.add(&lookup("buffer")?, "in", &arguments).map_err(failed)?;
        graph.add(&lookup("buffersink")?, "out", "").map_err(failed)?;
        graph
            .output("in", 0)
            .and_then(|parser| parser.input("out", 0))
            .and_then(|parser| parser.parse(&steps.filters.join(",")))
            .and_then(|()| graph.validate())
            .map_err(failed)?;
        Ok(Self { graph, steps })
    }

    fn push(&mut self, frame: &frame::Video) -> Result<()> {
        let mut reference = frame::Video::empty();
        reference_frame(&mut reference, frame);
        let mut source = self.graph.get("in").expect("the graph has its source");
        source.source().add(&reference).map_err(|error| MediaError::codec("filtering a picture", error))
    }

    fn finish(&mut self) -> Result<()> {
        let mut source = self.graph.get("in").expect("the graph has its source");
        source.source().flush().map_err(|error| MediaError::codec("finishing the picture filter", error))
    }

    fn pull(&mut self, time_base: av::Rational) -> Result<Option<(i64, frame::Video)>> {
        let mut sink = self.graph.get("out").expect("the graph has its sink");
        let mut frame = frame::Video::empty();
        match sink.sink().frame(&mut frame) {
            Ok(()) => {
                let from = sink.sink().time_base();
                let stamp = frame.pts().map_or(i64::MIN, |pts| {
                    let ticks = i128::from(pts) * i128::from(from.numerator()) * i128::from(time_base.denominator());
                    let per = i128::from(from.denominator()) * i128::from(time_base.numerator());
                    (ticks / per) as i64
                });
                Ok(Some((stamp, frame)))
            }
            Err(av::Error::Eof) => Ok(None),
            Err(av::Error::Other { errno }) if errno == av::error::EAGAIN => Ok(None),
            Err(error) => Err(MediaError::codec("filtering a picture", error)),
        }
    }
}

/// Makes `to` share `from`'s buffers.
#[expect(unsafe_code, reason = "the binding copies pixels where libav counts references")]
pub(crate) fn reference_frame(to: &mut frame::Video, from: &frame::Video) {
    // SAFETY: both frames are alive; unreferencing first makes `to` empty, as av_frame_ref requires.
    unsafe {
        av::ffi::av_frame_unref(to.as_mut_ptr());
        av::ffi::av_frame_ref(to.as_mut_ptr(), from.as_ptr());
    }
}
