//! The formats that are read: an upload reaches no other demuxer or decoder of libav.
//!
//! Each of them is one that `docs/inputs.md` promises, or a sibling of one (Windows Media 7 and 9 beside 8, DV tapes,
//! H.263). The list of the names is printed there.

use crate::error::{MediaError, Result};

/// Containers that hold one self-contained video, by libav's names. Playlists (HLS, DASH, concat) are left out on
/// purpose: they name other files and addresses, which an untrusted upload must not make this process open. Still
/// images are no videos. Those of sound alone are opened to refuse them for what they are.
pub const CONTAINERS: &[&str] = &[
    "mov",
    "mp4",
    "matroska",
    "webm",
    "mpegts",
    "mpeg",
    "mpegvideo",
    "avi",
    "flv",
    "asf",
    "ogg",
    "mxf",
    "h264",
    "hevc",
    "m4v",
    "mjpeg",
    "dv",
    "nut",
    "gif",
    "wav",
    "mp3",
    "aac",
    "flac",
];

/// Decoders of pictures, by libav's names.
pub const VIDEO_DECODERS: &[&str] = &[
    "h264",
    "hevc",
    "libdav1d",
    "libaom-av1",
    "av1",
    "vp8",
    "vp9",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "h263",
    "flv",
    "msmpeg4",
    "msmpeg4v2",
    "wmv1",
    "wmv2",
    "wmv3",
    "vc1",
    "theora",
    "mjpeg",
    "prores",
    "dnxhd",
    "dvvideo",
    "ffv1",
    "huffyuv",
    "ffvhuff",
    "qtrle",
    "rawvideo",
    "gif",
];

/// Decoders of sound, by libav's names.
pub const SOUND_DECODERS: &[&str] = &[
    "aac",
    "aac_latm",
    "ac3",
    "eac3",
    "dca",
    "mp1float",
    "mp2",
    "mp2float",
    "mp3",
    "mp3float",
    "opus",
    "libopus",
    "vorbis",
    "libvorbis",
    "flac",
    "alac",
    "amrnb",
    "amrwb",
    "wmav1",
    "wmav2",
    "adpcm_ms",
    "adpcm_ima_wav",
    "adpcm_ima_qt",
    "adpcm_swf",
    "pcm_alaw",
    "pcm_mulaw",
    "pcm_u8",
    "pcm_s8",
    "pcm_s16le",
    "pcm_s16be",
    "pcm_s24le",
    "pcm_s24be",
    "pcm_s32le",
    "pcm_s32be",
    "pcm_f32le",
    "pcm_f32be",
    "pcm_f64le",
    "pcm_f64be",
    "pcm_bluray",
    "pcm_dvd",
];

/// All decoders, as libav's options take them.
pub(crate) fn decoders() -> String {
    [VIDEO_DECODERS, SOUND_DECODERS].concat().join(",")
}

/// Refuses a codec whose decoder is not on the list; `decoder` is the one that libav would choose.
pub(crate) fn check_decoder(decoder: Option<&str>, codec: &str) -> Result<()> {
    match decoder {
        Some(name) if VIDEO_DECODERS.contains(&name) || SOUND_DECODERS.contains(&name) => Ok(()),
        _ => Err(MediaError::refused("unsupported_codec", format!("the codec {codec} is none that can be read"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_decoder_that_libav_may_have() {
        crate::init();
        let names = [VIDEO_DECODERS, SOUND_DECODERS].concat();
        let known = names.iter().filter(|name| ffmpeg_next::codec::decoder::find_by_name(name).is_some()).count();
        // A build may lack a library of several for one codec, such as libaom beside libdav1d.
        assert!(known + 3 >= names.len(), "{known} of {}", names.len());
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        assert!(check_decoder(Some("h264"), "h264").is_ok());
        for decoder in [Some("png"), Some("tdsc"), Some("libopenjpeg"), None] {
            let refused = check_decoder(decoder, "png").unwrap_err();
            assert!(matches!(refused, MediaError::Refused { code: "unsupported_codec", .. }), "{refused}");
        }
    }
}
