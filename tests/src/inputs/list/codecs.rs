//! Codecs and containers.

use crate::inputs::case::Case;
use crate::inputs::change::Change;

const HEVC: &str = "log-level=none:pools=1:keyint=12:bframes=3";
const PCM: &[&str] = &["-c:a", "pcm_s16le"];
const MP2: &[&str] = &["-c:a", "mp2"];

pub fn cases() -> Vec<Case> {
    [delivered(), produced(), old(), wrapped()].into_iter().flatten().collect()
}

fn delivered() -> Vec<Case> {
    vec![
        Case::new("hevc-hvc1.mp4", "HEVC, parameter sets in the header").encode(&[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            HEVC,
            "-tag:v",
            "hvc1",
        ]),
        Case::new("hevc-hev1.mp4", "HEVC, tagged hev1").encode(&[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            HEVC,
            "-tag:v",
            "hev1",
        ]),
        Case::new("hevc.ts", "HEVC in a transport stream").encode(&[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            HEVC,
        ]),
        Case::new("vp8.webm", "VP8")
            .encode(&["-c:v", "libvpx", "-deadline", "realtime", "-b:v", "2M"])
            .sound(&["-c:a", "libvorbis"]),
        Case::new("vp9.webm", "VP9 with hidden frames that others refer to")
            .encode(&[
                "-c:v",
                "libvpx-vp9",
                "-deadline",
                "good",
                "-cpu-used",
                "5",
                "-b:v",
                "1M",
                "-lag-in-frames",
                "16",
                "-auto-alt-ref",
                "1",
            ])
            .opus(),
        Case::new("vp9.mp4", "VP9 in MP4").encode(&[
            "-c:v",
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-b:v",
            "1M",
        ]),
        Case::new("av1.mp4", "AV1").encode(&["-c:v", "libsvtav1", "-preset", "12", "-crf", "25"]),
        Case::new("av1.webm", "AV1 in WebM").encode(&["-c:v", "libsvtav1", "-preset", "12", "-crf", "25"]).opus(),
    ]
}

fn produced() -> Vec<Case> {
    vec![
        Case::new("prores.mov", "ProRes 422 HQ")
            .format("yuv422p10le")
            .encode(&["-c:v", "prores_ks", "-profile:v", "3"])
            .sound(PCM),
        Case::new("dnxhr.mov", "DNxHR SQ")
            .picture(|picture| (picture.format, picture.matrix) = ("yuv422p", "bt709"))
            .encode(&["-c:v", "dnxhd", "-profile:v", "dnxhr_sq"])
            .sound(PCM),
        Case::new("mjpeg.avi", "motion JPEG, full range")
            .picture(|picture| (picture.format, picture.range) = ("yuvj422p", "pc"))
            .encode(&["-c:v", "mjpeg", "-q:v", "3"])
            .sound(PCM),
        Case::new("ffv1.mkv", "FFV1, lossless").encode(&["-c:v", "ffv1"]).sound(&["-c:a", "flac"]),
        Case::new("huffyuv.avi", "HuffYUV").format("yuv422p").encode(&["-c:v", "huffyuv"]).sound(PCM),
        Case::new("raw.avi", "uncompressed").encode(&["-c:v", "rawvideo"]).sound(PCM),
        Case::new("mpeg2.mxf", "MPEG-2 in MXF")
            .encode(&["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-g", "12"])
            .sound(PCM),
    ]
}

fn old() -> Vec<Case> {
    vec![
        Case::new("asp.mp4", "MPEG-4 ASP with B-frames").encode(&["-c:v", "mpeg4", "-q:v", "3", "-bf", "2"]),
        Case::new("asp.avi", "MPEG-4 ASP with B-frames in a container of decoding times only")
            .encode(&["-c:v", "mpeg4", "-q:v", "3", "-bf", "2"])
            .sound(PCM),
        Case::new("mpeg2.ts", "MPEG-2, open groups")
            .encode(&["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-g", "12"])
            .sound(MP2),
        Case::new("mpeg2.mpg", "MPEG-2 in a program stream")
            .encode(&["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-g", "12"])
            .sound(MP2),
        Case::new("mpeg1.mpg", "MPEG-1").encode(&["-c:v", "mpeg1video", "-q:v", "3", "-bf", "2"]).sound(MP2),
        Case::new("theora.ogv", "Theora in Ogg")
            .encode(&["-c:v", "libtheora", "-q:v", "9"])
            .sound(&["-c:a", "libvorbis"]),
        Case::new("sorenson.flv", "Sorenson H.263 in Flash video").encode(&["-c:v", "flv", "-q:v", "3"]).sound(&[
            "-c:a",
            "pcm_s16le",
            "-ar",
            "44100",
        ]),
        Case::new("wmv.wmv", "Windows Media 8").encode(&["-c:v", "wmv2", "-q:v", "3"]).sound(&["-c:a", "pcm_s16le"]),
    ]
}

fn wrapped() -> Vec<Case> {
    vec![
        Case::new("h264.avi", "H.264 with B-frames in AVI, decoding times only").sound(PCM),
        Case::new("h264.flv", "H.264 in Flash video"),
        Case::new("faststart.mp4", "its index in front").also(&["-movflags", "+faststart"]),
        Case::new("fragmented.mp4", "fragments, as streaming cameras write")
            .also(&["-movflags", "+frag_keyframe+empty_moov"]),
        Case::new("fragmented-dash.mp4", "fragments with default bases and a segment index")
            .also(&["-movflags", "+frag_keyframe+empty_moov+default_base_moof+dash"]),
        Case::new("camera.m2ts", "a Blu-ray transport stream of 192-byte packets").also(&[
            "-f",
            "mpegts",
            "-mpegts_m2ts_mode",
            "1",
        ]),
        Case::new("live.mkv", "Matroska of unknown length, without an index").also(&["-f", "matroska", "-live", "1"]),
        Case::new("annexb.h264", "a bare H.264 stream without times").silent(),
        Case::new("wrong-name.avi", "an MP4 whose name says AVI").also(&["-f", "mp4"]),
        Case::new("cover.mp4", "a film with a cover picture").change(Change::Copy(
            &["-f", "lavfi", "-i", "color=red:size=64x64:duration=0.04"],
            &[
                "-map",
                "1:v",
                "-map",
                "1:a",
                "-map",
                "0",
                "-c",
                "copy",
                "-c:v:1",
                "mjpeg",
                "-disposition:v:1",
                "attached_pic",
            ],
        )),
    ]
}
