//! Turned, mirrored, anamorphic, odd-sized, interlaced.

use crate::inputs::case::Case;
use crate::inputs::change::Change;

pub fn cases() -> Vec<Case> {
    [turned(), stretched(), interlaced(), stills()].into_iter().flatten().collect()
}

fn stills() -> Vec<Case> {
    const STILL: &[&str] = &["-f", "lavfi", "-i", "color=red:s=640x480:r=25:d=0.04"];
    const FIRST: &[&str] = &["-map", "0:v", "-map", "1", "-c", "copy", "-c:v:0", "mjpeg", "-disposition:v:0", "0"];
    let still_first = |file, what| Case::new(file, what).change(Change::Copy(STILL, FIRST)).by_number();
    vec![
        still_first("still-first.mp4", "a still that is not marked as a cover is the first stream"),
        still_first("still-first.mkv", "a still that is not marked as a cover is the first stream, in Matroska"),
        still_first("still-first.mov", "a still that is not marked as a cover is the first stream, in QuickTime"),
    ]
}

fn turned() -> Vec<Case> {
    let turned =
        |file, what, filter, matrix| Case::new(file, what).filter(filter).change(Change::DisplayMatrix(matrix));
    vec![
        turned("rotated-90.mp4", "a phone held upright: shown turned clockwise", "transpose=cclock", [0, 1, -1, 0]),
        turned("rotated-180.mov", "a phone held upside down", "hflip,vflip", [-1, 0, 0, -1]),
        turned("rotated-270.mp4", "shown turned counter-clockwise", "transpose=clock", [0, -1, 1, 0]),
        turned("mirrored.mp4", "a front camera: shown mirrored", "hflip", [-1, 0, 0, 1]),
        turned("upside-down-mirrored.mp4", "shown with top and bottom exchanged", "vflip", [1, 0, 0, -1]),
        turned(
            "mirrored-90.mov",
            "mirrored and turned: rows are shown as columns",
            "transpose=cclock_flip",
            [0, 1, 1, 0],
        ),
        turned("mirrored-270.mov", "mirrored and turned the other way", "transpose=clock_flip", [0, -1, -1, 0]),
        turned("rotated-odd.mp4", "turned, 10 bit and of odd size", "transpose=cclock", [0, 1, -1, 0])
            .picture(|picture| (picture.size, picture.format) = ((320, 181), "yuv444p10le"))
            .encode(&[
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-x265-params",
                "log-level=none:pools=1",
                "-tag:v",
                "hvc1",
            ]),
    ]
}

fn stretched() -> Vec<Case> {
    const NARROW: &str = "scale=240:180,setsar=4/3";
    vec![
        Case::new("anamorphic.mp4", "240x180 stored, pixels 4:3").filter(NARROW),
        Case::new("anamorphic.mkv", "240x180 stored, a display size of 320x180").filter(NARROW),
        Case::new("anamorphic.ts", "MPEG-2, 240x180 stored, an aspect of 16:9")
            .filter(NARROW)
            .encode(&["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-g", "12"])
            .sound(&["-c:a", "mp2"]),
        Case::new("anamorphic.avi", "MPEG-4 ASP, 240x180 stored, pixels 4:3")
            .filter(NARROW)
            .encode(&["-c:v", "mpeg4", "-q:v", "3"])
            .sound(&["-c:a", "pcm_s16le"]),
        Case::new("tall-pixels.mp4", "120x320 stored, pixels 3:2, turned by 90 degrees")
            .filter("transpose=cclock,scale=120:320,setsar=3/2")
            .encode(&["-c:v", "mpeg4", "-q:v", "3"])
            .change(Change::DisplayMatrix([0, 1, -1, 0])),
        Case::new("odd.webm", "321x181, VP9")
            .picture(|picture| picture.size = (321, 181))
            .encode(&["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M"])
            .opus(),
        Case::new("odd.mov", "321x181, motion JPEG")
            .picture(|picture| (picture.size, picture.format, picture.range) = ((321, 181), "yuvj420p", "pc"))
            .encode(&["-c:v", "mjpeg", "-q:v", "3"]),
        Case::new("odd.mp4", "321x181, H.264 4:4:4").picture(|p| (p.size, p.format) = ((321, 181), "yuv444p")),
        Case::new("portrait.mp4", "180x320 without any rotation").picture(|picture| picture.size = (180, 320)),
        Case::new("tiny.mp4", "64x36").picture(|picture| picture.size = (64, 36)),
    ]
}

fn interlaced() -> Vec<Case> {
    const TOP: &str = "interleave_top";
    const BOTTOM: &str = "interleave_bottom";
    vec![
        Case::new("interlaced-top.ts", "interlaced H.264, top field first")
            .picture(|picture| picture.woven = Some(TOP))
            .also(&["-flags", "+ilme+ildct", "-top", "1"]),
        Case::new("interlaced-bottom.mp4", "interlaced H.264, bottom field first")
            .picture(|picture| picture.woven = Some(BOTTOM))
            .also(&["-flags", "+ilme+ildct", "-top", "0"]),
        Case::new("interlaced-mpeg2.ts", "interlaced MPEG-2, top field first")
            .picture(|picture| picture.woven = Some(TOP))
            .encode(&["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-flags", "+ilme+ildct", "-top", "1"])
            .sound(&["-c:a", "mp2"]),
        Case::new("interlaced-prores.mov", "interlaced ProRes, 4:2:2 10 bit, bottom field first")
            .picture(|picture| (picture.woven, picture.format) = (Some(BOTTOM), "yuv422p10le"))
            .encode(&["-c:v", "prores_ks", "-profile:v", "2", "-flags", "+ilme+ildct", "-top", "0"]),
    ]
}
