//! What is no video, or none that can be worked on.

use crate::inputs::case::{Case, Expect, Origin};
use crate::inputs::change::Change;

const COVER: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "color=red:size=64x64:duration=0.04",
    "-f",
    "lavfi",
    "-i",
    "sine=duration=1",
    "-map",
    "1:a",
    "-map",
    "0:v",
    "-c:v",
    "mjpeg",
    "-pix_fmt",
    "yuvj420p",
    "-disposition:v:0",
    "attached_pic",
];

/// A small film whose index is at its end.
const SMALL: &[&str] =
    &["-f", "lavfi", "-i", "testsrc=size=64x64:duration=1", "-c:v", "libx264", "-pix_fmt", "yuv420p"];

/// A small film in fragments.
const FRAGMENTED: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "testsrc=size=64x64:duration=1",
    "-c:v",
    "libx264",
    "-pix_fmt",
    "yuv420p",
    "-movflags",
    "+frag_keyframe+empty_moov",
];

pub fn cases() -> Vec<Case> {
    [no_videos(), no_frames(), too_large()].into_iter().flatten().collect()
}

fn no_videos() -> Vec<Case> {
    let bytes = |file, what, bytes, times| Case::refused(file, what, Origin::Bytes(bytes, times), "");
    let made = |file, what, arguments, says| Case::refused(file, what, Origin::Arguments(arguments), says);
    let mut missing = Case::refused("missing.mp4", "no such file", Origin::Nothing, "");
    missing.expect = Expect::Refused(2, "there is no file");
    vec![
        bytes("empty.mp4", "zero bytes", b"", 1),
        bytes("text.mp4", "a text", b"kick-off at three\n", 500),
        bytes("noise.ts", "bytes without meaning", b"\x8fT\x01\xa0\x33\xfe\x07", 3000),
        bytes("playlist.m3u8", "a playlist that names a file", b"#EXTM3U\n#EXTINF:4,\nfile:///etc/hostname\n", 1),
        made("sound.m4a", "sound only", &["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"], "no video stream"),
        made("cover.mp3", "sound with a cover picture", COVER, "cover"),
        made("cover.m4a", "sound with a cover picture, MP4", COVER, "cover"),
        made(
            "still.png",
            "a photograph",
            &["-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1"],
            "not a video",
        ),
        made(
            "still.jpg",
            "a photograph, JPEG",
            &["-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1"],
            "not a video",
        ),
        Case::refused("folder.mp4", "a folder", Origin::Folder, "folder"),
        missing,
    ]
}

fn no_frames() -> Vec<Case> {
    const NONE: &[&str] = &["-f", "lavfi", "-i", "testsrc=size=64x64:duration=1", "-c:v", "libx264", "-frames:v", "0"];
    let small = |file, what, says| Case::refused(file, what, Origin::Arguments(SMALL), says);
    vec![
        small("no-index.mp4", "cut before its index", "not a video").change(Change::CutTail(0.5)),
        small("no-data.mp4", "all picture data overwritten", "no frame").change(Change::OverwriteMedia),
        Case::refused("no-track.mp4", "an index without tracks", Origin::Arguments(NONE), "no video stream"),
        Case::refused("no-frames.mp4", "a video track without frames", Origin::Arguments(FRAGMENTED), "no frame")
            .change(Change::CutAtBox(b"moof")),
    ]
}

fn too_large() -> Vec<Case> {
    const WIDE: &[&str] =
        &["-f", "lavfi", "-i", "color=red:size=8704x64:duration=0.2", "-c:v", "libx264", "-pix_fmt", "yuv420p"];
    const JPEG: &[&str] = &["-f", "lavfi", "-i", "testsrc=size=64x64:duration=1", "-c:v", "mjpeg"];
    const FFV1: &[&str] = &["-f", "lavfi", "-i", "testsrc=size=320x256:duration=1", "-c:v", "ffv1"];
    let claims = |file, what, arguments| Case::refused(file, what, Origin::Arguments(arguments), "8192");
    vec![
        claims("wide.mp4", "8704 pixels wide", WIDE),
        claims("huge-claim.mp4", "a header that claims 65535x65535", SMALL)
            .change(Change::ClaimSize(b"avc1", 65_535, 65_535)),
        claims("huge-claim.mov", "a header and pictures that claim 20000x20000", JPEG)
            .change(Change::ClaimSize(b"jpeg", 20_000, 20_000))
            .change(Change::EveryPatch(b"\x00\x11\x08\x00\x40\x00\x40", b"\x00\x11\x08\x4e\x20\x4e\x20")),
        claims("huge-claim.mkv", "a header that claims 20000x20000", FFV1)
            .change(Change::Patch(b"\xb0\x82\x01\x40\xba\x82\x01\x00", b"\xb0\x82\x4e\x20\xba\x82\x4e\x20")),
    ]
}
