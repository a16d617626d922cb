//! Damaged in the middle, joined late, cut short.

use crate::inputs::case::Case;
use crate::inputs::change::Change;

pub fn cases() -> Vec<Case> {
    [joined(), damaged(), cut()].into_iter().flatten().collect()
}

fn joined() -> Vec<Case> {
    vec![
        Case::new("joined.ts", "a transport stream joined in the middle of a group of pictures")
            .change(Change::CutHead(0.35))
            .shows_some()
            .warns("starts in the middle"),
        Case::new("joined-mpeg2.ts", "an MPEG-2 transport stream joined in the middle")
            .encode(&["-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-g", "12"])
            .sound(&["-c:a", "mp2"])
            .change(Change::CutHead(0.35))
            .shows_some()
            .warns("starts in the middle"),
    ]
}

fn damaged() -> Vec<Case> {
    vec![
        Case::new("damaged.mp4", "300 bytes in the middle overwritten")
            .change(Change::Overwrite(0.5, 300))
            .unreadable(12)
            .warns("concealed"),
        Case::new("damaged.ts", "1500 bytes in the middle overwritten")
            .change(Change::Overwrite(0.5, 1500))
            .unreadable(12)
            .warns("damaged in"),
        Case::new("damaged.mkv", "300 bytes in the middle overwritten")
            .also(&["-cluster_time_limit", "200"])
            .change(Change::Overwrite(0.5, 300))
            .unreadable(12)
            .warns("damaged in")
            .warns("concealed"),
        Case::new("damaged.avi", "300 bytes in the middle overwritten")
            .encode(&["-c:v", "mpeg4", "-q:v", "3", "-g", "12"])
            .silent()
            .change(Change::Overwrite(0.5, 300))
            .unreadable(12)
            .warns("concealed"),
    ]
}

fn cut() -> Vec<Case> {
    let cut = |file, what| Case::new(file, what).change(Change::CutTail(0.6)).shows_some().unheard().warns("cut short");
    vec![
        cut("cut-tail.mp4", "its index in front, the last 40 % missing")
            .also(&["-movflags", "+faststart"])
            .warns("concealed"),
        cut("cut-tail-fragmented.mp4", "fragments, the last 40 % missing")
            .also(&["-movflags", "+frag_keyframe+empty_moov"]),
        cut("cut-tail.mkv", "the last 40 % missing").warns("concealed"),
        cut("cut-tail.webm", "the last 40 % missing")
            .encode(&["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M"])
            .opus(),
        cut("cut-tail.ts", "the last 40 % missing").warns("concealed"),
        cut("cut-tail.avi", "the last 40 % and the index missing")
            .encode(&["-c:v", "mpeg4", "-q:v", "3", "-g", "12"])
            .sound(&["-c:a", "pcm_s16le"]),
    ]
}
