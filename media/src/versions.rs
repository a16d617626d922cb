//! Which libraries decode, scale and encode: part of what fixes an export's bytes.

use ffmpeg_next as ffmpeg;

/// Names and versions of the FFmpeg libraries in use, such as `libavcodec 59.37.100, …`.
pub fn library_versions() -> String {
    let libraries = [
        ("libavcodec", ffmpeg::codec::version()),
        ("libavformat", ffmpeg::format::version()),
        ("libavfilter", ffmpeg::filter::version()),
        ("libswscale", ffmpeg::software::scaling::version()),
        ("libswresample", ffmpeg::software::resampling::version()),
    ];
    let named = libraries.map(|(name, version)| {
        let (major, minor, micro) = (version >> 16, version >> 8 & 0xff, version & 0xff);
        format!("{name} {major}.{minor}.{micro}")
    });
    named.join(", ")
}
