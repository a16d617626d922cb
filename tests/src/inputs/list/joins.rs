//! Recordings put one behind the other, recorders whose clock was set, counters that wrap.

use crate::inputs::case::Case;
use crate::inputs::change::Change;

/// Ten hours more from second 1.2 on, in all streams.
const TEN_HOURS: Change = Change::Copy(
    &[],
    &[
        "-map",
        "0",
        "-c",
        "copy",
        "-bsf",
        "setts=pts=PTS+gte((PTS-STARTPTS)*TB\\,1.199)*36000/TB:dts=DTS+gte((PTS-STARTPTS)*TB\\,1.199)*36000/TB",
    ],
);

pub fn cases() -> Vec<Case> {
    [restarts(), leaps(), wraps()].into_iter().flatten().collect()
}

/// 3.6 s with groups that begin at 1.2 and 2.4 s.
fn whole(file: &'static str, what: &'static str) -> Case {
    Case::new(file, what)
        .also(&["-force_key_frames", "1.2,2.4"])
        .picture(|picture| picture.seconds = 3.6)
        .shows(0, 89)
        .by_number()
}

fn restarts() -> Vec<Case> {
    let joined = |case: Case| case.change(Change::Restart("1.2,2.4", &[])).warns("restart or leap in 2 places");
    vec![
        joined(whole("restarts.ts", "three pieces in a transport stream, each from 0 on")),
        joined(whole("restarts.flv", "three pieces in FLV, each from 0 on")),
        whole("restarts.mkv", "two pieces in Matroska, each from 0 on")
            .change(Change::Restart("1.2", &[]))
            .warns("restart or leap in one place"),
        joined(
            whole("restarts-mpeg2.ts", "three pieces of MPEG-2, each from 0 on")
                .encode(&[
                    "-c:v",
                    "mpeg2video",
                    "-q:v",
                    "3",
                    "-bf",
                    "2",
                    "-g",
                    "12",
                    "-flags",
                    "+cgop",
                    "-sc_threshold",
                    "1000000000",
                    "-force_key_frames",
                    "1.2,2.4",
                ])
                .sound(&["-c:a", "mp2"]),
        ),
        joined(
            whole("restarts-hevc.ts", "three pieces of HEVC, each from 0 on")
                .encode(&[
                    "-c:v",
                    "libx265",
                    "-preset",
                    "ultrafast",
                    "-x265-params",
                    "log-level=error:open-gop=0:pools=1",
                    "-g",
                    "12",
                    "-force_key_frames",
                    "1.2,2.4",
                ])
                .sound(&["-c:a", "ac3"]),
        ),
        joined(whole("restarts-silent.ts", "three pieces without sound, each from 0 on").silent()),
        whole("restarts-often.ts", "seven pieces of half a second, each from 0 on")
            .also(&["-force_key_frames", "0.48,0.96,1.44,1.92,2.4,2.88"])
            .change(Change::Restart("0.48,0.96,1.44,1.92,2.4,2.88", &[]))
            .warns("restart or leap in 6 places"),
    ]
}

fn leaps() -> Vec<Case> {
    let leapt = |case: Case| case.change(TEN_HOURS).warns("restart or leap in one place");
    vec![
        leapt(whole("leap.ts", "the clock of a transport stream is set ten hours ahead")),
        leapt(whole("leap.flv", "the clock of FLV is set ten hours ahead")),
        leapt(whole("leap.mkv", "the clock of Matroska is set ten hours ahead")),
    ]
}

fn wraps() -> Vec<Case> {
    // The counter has 33 bits: 95443.7 s.
    const NEAR: Change =
        Change::Copy(&[], &["-map", "0", "-c", "copy", "-muxdelay", "0", "-output_ts_offset", "95442"]);
    vec![
        whole("wraps-and-restarts.ts", "the counter wraps in the first of three pieces")
            .change(NEAR)
            .change(Change::Restart("1.2,2.4", &["-initial_offset", "95442"]))
            .warns("restart or leap in 2 places"),
    ]
}
