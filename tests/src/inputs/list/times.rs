//! Frame rates, variable rates, starts, edit lists, groups of pictures.

use crate::inputs::case::Case;
use crate::inputs::change::Change;

pub fn cases() -> Vec<Case> {
    [rates(), variable(), starts(), endings(), groups_of_pictures()].into_iter().flatten().collect()
}

fn rates() -> Vec<Case> {
    vec![
        Case::new("23.976.mp4", "24000/1001 frames a second").rate("24000/1001", 38, 30),
        Case::new("24.mkv", "24 frames a second in Matroska's milliseconds").rate("24", 38, 30),
        Case::new("25.mp4", "25 frames a second"),
        Case::new("29.97.mov", "30000/1001 frames a second").rate("30000/1001", 47, 30),
        Case::new("30.mp4", "30 frames a second").rate("30", 47, 30),
        Case::new("50.ts", "50 frames a second").rate("50", 79, 50),
        Case::new("59.94.mp4", "60000/1001 frames a second").rate("60000/1001", 95, 60),
        Case::new("60.mkv", "60 frames a second in Matroska's milliseconds").rate("60", 95, 60),
        Case::new("1.mkv", "a frame a second, with B-frames")
            .rate("1", 11, 30)
            .picture(|picture| picture.seconds = 12.0),
        Case::new("120.mp4", "120 frames a second").rate("120", 191, 120),
    ]
}

fn variable() -> Vec<Case> {
    const SOME: &str = "not(mod(n,7))+not(mod(n,5))+eq(mod(n,11),3)";
    vec![
        Case::new("variable.mp4", "variable rate: some frames of 60 a second")
            .rate("60", 35, 60)
            .picture(|picture| picture.select = Some(SOME))
            .also(&["-video_track_timescale", "60000"])
            .unheard(),
        Case::new("variable.mkv", "variable rate in Matroska")
            .rate("60", 35, 60)
            .picture(|picture| picture.select = Some(SOME))
            .unheard(),
        Case::new("variable.webm", "variable rate, VP9 in WebM")
            .rate("60", 35, 60)
            .picture(|picture| picture.select = Some(SOME))
            .encode(&["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M"])
            .opus()
            .unheard(),
    ]
}

fn endings() -> Vec<Case> {
    let held = |file, what| {
        Case::new(file, what)
            .x264("cpu-independent=1:bframes=0")
            .picture(|picture| (picture.seconds, picture.select) = (3.6, Some("lte(n,39)")))
            .by_number()
    };
    let lasts = |frames| Change::Copy(&[], frames);
    vec![
        held("held.mp4", "the last frame is held for 2 s while the sound goes on").change(lasts(&[
            "-map",
            "0",
            "-c",
            "copy",
            "-bsf:v",
            "setts=duration=DURATION*if(eq(N\\,39)\\,51\\,1)",
        ])),
        held("held-for-hours.mp4", "the last frame claims to last for forty hours").change(lasts(&[
            "-map",
            "0",
            "-c",
            "copy",
            "-bsf:v",
            "setts=duration=DURATION*if(eq(N\\,39)\\,3600000\\,1)",
        ])),
        Case::new("dropped.avi", "empty chunks stand for frames that are held")
            .rate("25", 26, 30)
            .picture(|picture| picture.select = Some("not(mod(n,3))+not(mod(n,2))"))
            .encode(&["-c:v", "mpeg4", "-q:v", "3", "-g", "12"])
            .unheard(),
    ]
}

fn starts() -> Vec<Case> {
    const SHIFTED: &[&str] = &["-output_ts_offset", "10"];
    vec![
        Case::new("late.mp4", "starts at 10 s by an edit list").also(SHIFTED),
        Case::new("late.mkv", "starts at 10 s").also(SHIFTED),
        Case::new("late.ts", "starts at one hour").also(&["-output_ts_offset", "3600"]),
        Case::new("wrap.ts", "its 33-bit time stamps wrap around in the middle")
            .also(&["-output_ts_offset", "95441.5"]),
        Case::new("cut.mp4", "an edit list hides the frames before 0.72 s")
            .change(Change::Copy(&["-ss", "0.72"], &["-c", "copy"]))
            .shows(18, 39),
        Case::new("cut.mkv", "cut between two keyframes by stream copy, without an edit list")
            .change(Change::Copy(&["-ss", "0.72"], &["-c", "copy"]))
            .shows_some(),
        Case::new("sound-late.mp4", "an edit list delays the sound by 0.2 s").sound_delay(0.2),
        Case::new("picture-late.mp4", "an edit list delays the picture by 0.2 s").sound_delay(-0.2),
        Case::new("picture-late.mkv", "the picture begins 0.2 s after the sound").sound_delay(-0.2),
        Case::new("no-edit-list.mp4", "B-frames without an edit list: the first frame is shown at 0.08 s")
            .also(&["-use_editlist", "0"]),
        Case::new("negative.mp4", "negative composition offsets in place of an edit list")
            .also(&["-movflags", "+negative_cts_offsets"]),
    ]
}

fn groups_of_pictures() -> Vec<Case> {
    vec![
        Case::new("open-gop.mkv", "open groups of pictures, H.264 with a pyramid of B-frames")
            .x264("cpu-independent=1:open-gop=1:keyint=12:min-keyint=12:bframes=3:b-pyramid=normal:scenecut=0"),
        Case::new("open-gop-hevc.mp4", "open groups of pictures, HEVC").encode(&[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=none:open-gop=1:keyint=12:bframes=3:pools=1",
            "-tag:v",
            "hvc1",
        ]),
        Case::new("long-gop.mp4", "one keyframe in 10 s")
            .picture(|picture| picture.seconds = 10.0)
            .x264("cpu-independent=1:keyint=infinite:scenecut=0")
            .shows(0, 249),
        Case::new("intra-only.mp4", "keyframes only").x264("cpu-independent=1:keyint=1:bframes=0"),
        Case::new("intra-refresh.ts", "one keyframe, then a moving column of refreshed blocks")
            .x264("cpu-independent=1:intra-refresh=1:keyint=12:bframes=0"),
        Case::new("many-b.mp4", "up to 8 B-frames in a row, 6 reference frames")
            .x264("cpu-independent=1:bframes=8:b-adapt=2:b-pyramid=normal:ref=6:keyint=40"),
    ]
}
