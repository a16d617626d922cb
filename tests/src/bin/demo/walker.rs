//! The match of the demo, and the walker in it.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use touchline_tests::ffmpeg::ffmpeg;

/// OpenCV's sample of people on a square: 768x576, 10 frames a second, no sound.
const SAMPLE: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
/// Where the match begins in the sample, and how long it is, in seconds.
const FROM: &str = "30";
const LENGTH: &str = "20";

/// A walker in red crosses the square from the right, alone for most of the way, in seconds of the match.
pub const START: f64 = 13.0;
pub const END: f64 = 16.0;

/// Her way, found by looking at every fifth frame: seconds from the clip's start, and the crop's top left corner in
/// pixels of the match.
const PATH: [(f64, f64, f64); 7] = [
    (0.0, 1449.0, 406.0),
    (0.5, 1387.0, 389.0),
    (1.0, 1316.0, 372.0),
    (1.5, 1258.0, 359.0),
    (2.0, 1213.0, 344.0),
    (2.5, 1168.0, 329.0),
    (3.0, 1116.0, 314.0),
];
/// 9:16, 3.6 times smaller than the output: she is half as high.
const CROP: (f64, f64) = (225.0, 400.0);

/// The crop's keyframes.
pub fn path() -> Vec<Value> {
    let (width, height) = CROP;
    PATH.iter().map(|(time, x, y)| json!({"time": time, "x": x, "y": y, "width": width, "height": height})).collect()
}

/// Makes the match: the sample at full height between blurred edges, as television shows old footage, with a murmur and
/// a whistle every five seconds for its sound. The frames keep their rate, so that none is inferred twice.
pub fn make_match(file: &Path) -> Result<()> {
    ensure!(Path::new(SAMPLE).is_file(), "{SAMPLE} is missing; scripts/setup installs it");
    let picture = "[0:v]split[wide][full];\
        [wide]scale=480:-2,crop=480:270,boxblur=12,eq=brightness=-0.15,scale=1920:1080[edges];\
        [full]scale=-2:1080:flags=lanczos[middle];\
        [edges][middle]overlay=(W-w)/2:0,format=yuv420p[v]";
    let murmur = "anoisesrc=color=pink:amplitude=0.08:sample_rate=48000:seed=7";
    let whistle = "aevalsrc=0.3*sin(2*PI*2600*t)*lt(mod(t\\,5)\\,0.4):sample_rate=48000";
    let filter = format!("{picture};{murmur}[murmur];{whistle}[whistle];[murmur][whistle]amix=normalize=0[a]");
    let codecs = "-c:v libx264 -preset veryfast -crf 16 -g 20 -c:a aac -b:a 128k -ac 2 -movflags +faststart";
    let mut arguments: Vec<&str> = vec!["-ss", FROM, "-t", LENGTH, "-i", SAMPLE, "-filter_complex", &filter];
    arguments.extend(["-map", "[v]", "-map", "[a]", "-t", LENGTH]);
    arguments.extend(codecs.split(' '));
    let name = file.to_string_lossy();
    arguments.push(&name);
    ffmpeg(arguments)
}
