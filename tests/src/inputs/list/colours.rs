//! Bit depths, chroma formats, matrices, ranges, high dynamic range.

use crate::inputs::case::Case;

const HEVC: &[&str] =
    &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:keyint=12", "-tag:v", "hvc1"];
const PQ: &str = "zscale=tin=709:pin=709:t=smpte2084:p=2020:npl=203,format=gbrp16le";
const HLG: &str = "zscale=tin=709:pin=709:t=arib-std-b67:p=2020:npl=203,format=gbrp16le";
const PQ_TAGS: &[&str] =
    &["-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-color_range", "tv"];
const HLG_TAGS: &[&str] =
    &["-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-color_range", "tv"];
const BT709: &[&str] = &["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
const BT601: &[&str] = &["-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m"];
const BT2020: &[&str] =
    &["-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "bt2020-10", "-color_range", "tv"];
const SMPTE240M: &[&str] = &["-colorspace", "smpte240m", "-color_primaries", "bt709", "-color_trc", "bt709"];

pub fn cases() -> Vec<Case> {
    [depths(), matrices(), high_dynamic_range()].into_iter().flatten().collect()
}

fn depths() -> Vec<Case> {
    vec![
        Case::new("10-bit.mp4", "H.264 4:2:0 10 bit").format("yuv420p10le"),
        Case::new("10-bit-hevc.mp4", "HEVC 4:2:0 10 bit").format("yuv420p10le").encode(HEVC),
        Case::new("10-bit-422.mkv", "HEVC 4:2:2 10 bit").format("yuv422p10le").encode(HEVC),
        Case::new("12-bit-444.mkv", "HEVC 4:4:4 12 bit").format("yuv444p12le").encode(HEVC),
        Case::new("422.mp4", "H.264 4:2:2").format("yuv422p"),
        Case::new("444.mp4", "H.264 4:4:4").format("yuv444p"),
        Case::new("grey.mp4", "H.264 without colour").format("gray"),
        Case::new("grey-10.mkv", "FFV1 without colour, 10 bit").format("gray10le").encode(&["-c:v", "ffv1"]),
        Case::new("rgb.mp4", "H.264 in RGB").format("rgb24").encode(&["-c:v", "libx264rgb", "-preset", "veryfast"]),
        Case::new("rgb.mov", "QuickTime Animation, RGB with transparency").format("argb").encode(&["-c:v", "qtrle"]),
        Case::new("palette.gif", "GIF: a palette, no sound")
            .format("bgr8")
            .filter("null")
            .encode(&["-c:v", "gif"])
            .silent()
            .tone_mapped(),
        Case::new("alpha.mov", "ProRes 4444 with transparency").format("yuva444p10le").encode(&[
            "-c:v",
            "prores_ks",
            "-profile:v",
            "4444",
        ]),
    ]
}

fn matrices() -> Vec<Case> {
    vec![
        Case::new("untagged-180.mp4", "180 lines, no tag: BT.601"),
        Case::new("untagged-720.mp4", "720 lines, no tag: BT.709")
            .picture(|picture| (picture.size, picture.matrix) = ((1280, 720), "bt709")),
        Case::new("tagged-709.mp4", "180 lines tagged BT.709")
            .picture(|picture| (picture.matrix, picture.tags) = ("bt709", BT709)),
        Case::new("tagged-601.mp4", "720 lines tagged BT.601")
            .picture(|picture| (picture.size, picture.tags) = ((1280, 720), BT601)),
        Case::new("full-range.mp4", "H.264 tagged full range")
            .picture(|picture| (picture.range, picture.format) = ("pc", "yuvj420p")),
        Case::new("bt2020.mkv", "BT.2020 matrix and primaries of standard dynamic range, 10 bit")
            .picture(|picture| {
                picture.stored_by = "zscale=tin=709:pin=709:t=2020_10:p=2020,format=gbrp16le";
                (picture.matrix, picture.format) = ("bt2020", "yuv420p10le");
                picture.tags = BT2020;
            })
            .encode(HEVC)
            .colour_within(24.0),
        Case::new("smpte240m.mkv", "SMPTE 240M matrix").picture(|picture| {
            (picture.matrix, picture.tags) = ("smpte240m", SMPTE240M);
        }),
    ]
}

fn high_dynamic_range() -> Vec<Case> {
    let mapped = |file, what, by, tags| {
        Case::new(file, what)
            .picture(|picture| {
                (picture.stored_by, picture.tags) = (by, tags);
                (picture.matrix, picture.format) = ("bt2020", "yuv420p10le");
            })
            .encode(HEVC)
            .tone_mapped()
    };
    vec![
        mapped("hdr-pq.mp4", "HDR10: HEVC, PQ, BT.2020", PQ, PQ_TAGS),
        mapped("hdr-hlg.mov", "HEVC, HLG, BT.2020, as phones film", HLG, HLG_TAGS),
        mapped("hdr-hlg.mkv", "VP9 profile 2, HLG", HLG, HLG_TAGS).encode(&[
            "-c:v",
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-b:v",
            "2M",
        ]),
        mapped("hdr-pq-av1.mp4", "AV1 10 bit, PQ", PQ, PQ_TAGS).encode(&[
            "-c:v",
            "libsvtav1",
            "-preset",
            "12",
            "-crf",
            "20",
        ]),
    ]
}
