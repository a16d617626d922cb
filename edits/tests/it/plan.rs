//! Plans: which frame, which crop, which samples.

use crate::common::{framing, plan, rate, source, upscaled, variable_source};
use edits::{FrameRate, FrameTimes, FramingPlan, Quality, Rat, SourceFacts, Stretch, TimeMap};
use proptest::prelude::*;
use serde_json::{Value, json};

fn request(clips: Value) -> Value {
    json!({"kind": "framing", "clips": clips})
}

fn source_frames(plan: &FramingPlan) -> Vec<usize> {
    (0..plan.frames).map(|n| plan.shown(n).source_frame).collect()
}

#[test]
fn frames_follow_the_source_at_common_rates() {
    let expected: [(FrameRate, [usize; 10]); 5] = [
        (rate(24, 1), [0, 0, 1, 2, 3, 4, 4, 5, 6, 7]),
        (rate(25, 1), [0, 0, 1, 2, 3, 4, 5, 5, 6, 7]),
        (rate(30000, 1001), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (rate(50, 1), [0, 1, 3, 5, 6, 8, 10, 11, 13, 15]),
        (rate(60, 1), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]),
    ];
    for (rate, frames) in expected {
        let plan = plan(&request(json!([{"start": 0, "end": 2}])), &source(rate, 500));
        assert_eq!(plan.frames, 60);
        assert_eq!(source_frames(&plan)[..10], frames, "{rate}");
    }
}

#[test]
fn where_a_tick_is_a_frame_none_is_shown_early() {
    let times = FrameTimes::new((1, 24), (0..48).collect(), 48).expect("rising times");
    let source = SourceFacts { frames: times.into(), ..source(rate(24, 1), 48) };
    let plan = plan(&request(json!([{"start": 0, "end": 1}])), &source);
    assert_eq!(source_frames(&plan)[..6], [0, 0, 1, 2, 3, 4]);
}

#[test]
fn variable_frame_rate_keeps_its_timing() {
    let source = variable_source(vec![5, 38, 72, 305, 338, 600]);
    let plan = plan(&request(json!([{"start": 0, "end": 0.6}])), &source);
    let expected = [0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4];
    assert_eq!(source_frames(&plan), expected);
}

#[test]
fn a_clip_has_its_rounded_number_of_frames_and_at_least_one() {
    let frames =
        |start: f64, end: f64| plan(&request(json!([{"start": start, "end": end}])), &source(rate(25, 1), 250)).frames;
    assert_eq!(frames(0.0, 0.001), 1);
    assert_eq!(frames(12.05 - 12.0, 0.1), 2);
    assert_eq!(frames(0.1, 0.2 - 0.05), 2);
    assert_eq!(frames(1.0, 1.049), 1);
    assert_eq!(frames(9.0, 10.04), 30);
}

#[test]
fn slow_motion_shows_frames_twice() {
    let segments = json!([{"start": 0, "end": 0.2, "speed": 1}, {"start": 0.2, "end": 0.4, "speed": 0.5},
                          {"start": 0.4, "end": 0.8, "speed": 2}]);
    let clips = json!([{"start": 1, "end": 1.8, "segments": segments}]);
    let plan = plan(&request(clips), &source(rate(30, 1), 300));
    let expected = [30, 31, 32, 33, 34, 35, 36, 36, 37, 37, 38, 38, 39, 39, 40, 40, 41, 41, 42, 44, 46, 48, 50, 52];
    assert_eq!(source_frames(&plan), expected);
}

#[test]
fn the_trim_cuts_and_the_crop_keeps_the_clips_time() {
    let crop = json!([{"time": 0, "x": 0, "y": 0, "width": 540, "height": 960},
                      {"time": 4, "x": 400, "y": 0, "width": 540, "height": 960}]);
    let clips = json!([{"start": 1, "end": 5, "trim": {"start": 2, "end": 3}, "crop": crop}]);
    let plan = plan(&request(clips), &source(rate(25, 1), 250));
    assert_eq!(plan.frames, 30);
    let shown = plan.shown(0);
    assert_eq!((shown.source_frame, shown.feed), (75, Some((540, 960))));
    assert!((shown.crop.x - 200.0).abs() < 1e-9, "{:?}", shown.crop);
    // Output frame 1 shows the same source frame, so it shows the same crop.
    assert_eq!(plan.shown(1), shown);
}

#[test]
fn clips_join_without_a_gap() {
    let clips = json!([{"start": 0, "end": 1.02}, {"start": 5, "end": 5.01}, {"start": 2, "end": 3}]);
    let plan = plan(&request(clips), &source(rate(25, 1), 250));
    let firsts: Vec<_> = plan.clips.iter().map(|clip| (clip.first_frame, clip.frames)).collect();
    assert_eq!(firsts, [(0, 31), (31, 1), (32, 30)]);
    assert_eq!([30, 31, 32].map(|n| (plan.shown(n).clip, plan.shown(n).source_frame)), [(0, 25), (1, 125), (2, 50)]);
    assert_eq!(plan.segments(0.9), [0..27, 27..54, 54..62]);
    // Output frame 39 shows what 38 shows, so the cut that is due there comes a frame later.
    assert_eq!(plan.segments(1.3), [0..40, 40..62]);
    // However short the segments: 26, 1 and 25 source frames are never parted.
    assert_eq!(plan.segments(0.0).len(), 52);
    assert_eq!(upscaled(&plan), 52);
    let samples: Vec<_> = plan.audio(48_000).into_iter().map(|piece| piece.samples).collect();
    assert_eq!(samples, [0..49_600, 49_600..51_200, 51_200..99_200]);
}

#[test]
fn sound_is_there_when_any_source_has_it() {
    let spec = framing(&request(json!([{"start": 0, "end": 1}, {"start": 2, "end": 3}])));
    let loud = source(rate(25, 1), 250);
    let mute = SourceFacts { has_audio: false, ..loud.clone() };
    let parts = |sources: [&SourceFacts; 2]| {
        let plan = FramingPlan::new(&spec, &sources.map(Clone::clone), Quality::Best).expect("a plan");
        plan.audio(48_000).into_iter().map(|piece| piece.parts.len()).collect::<Vec<_>>()
    };
    assert_eq!(parts([&loud, &mute]), [1, 0]);
    assert!(parts([&mute, &mute]).is_empty());
}

#[test]
fn the_opening_has_four_points_a_clip() {
    let frames = |clips: Value| plan(&request(clips), &source(rate(25, 1), 250)).detection_frames();
    assert_eq!(frames(json!([{"start": 0, "end": 5}])), [0, 20, 40, 60]);
    assert_eq!(frames(json!([{"start": 0, "end": 1}])), [0, 10, 20, 29]);
    assert_eq!(frames(json!([{"start": 0, "end": 0.05}])), [0, 1]);
    assert_eq!(frames(json!([{"start": 0, "end": 1}, {"start": 4, "end": 9}])), [0, 10, 20, 29, 30, 50, 70, 90]);
}

#[test]
fn detection_can_be_every_so_often_or_not_at_all() {
    let with = |rule: Value| {
        let mut request = request(json!([{"start": 0, "end": 1}]));
        request["detect"] = json!({"rule": rule});
        plan(&request, &source(rate(25, 1), 250)).detection_frames()
    };
    assert_eq!(with(json!({"every": 0.25})), [0, 8, 15, 23]);
    assert_eq!(with(json!({"every": 0.01})), (0..30).collect::<Vec<_>>());
    assert!(with(json!("none")).is_empty());
}

#[test]
fn lanczos_feeds_no_model() {
    let mut request = request(json!([{"start": 0, "end": 1}]));
    assert_eq!(plan(&request, &source(rate(25, 1), 250)).shown(0).feed, Some((608, 1080)));
    request["upscale"] = json!({"mode": "lanczos"});
    assert_eq!(plan(&request, &source(rate(25, 1), 250)).shown(0).feed, None);
}

#[test]
fn a_plan_is_refused_for_the_wrong_sources() {
    let spec = framing(&request(json!([{"start": 0, "end": 1}, {"start": 8, "end": 9}])));
    let short = source(rate(25, 1), 50);
    let errors = FramingPlan::new(&spec, &[short], Quality::Best).expect_err("one source is missing");
    assert_eq!(errors.iter().map(|error| error.pointer.as_str()).collect::<Vec<_>>(), ["/clips/1"]);
}

/// A constant source rate, an output rate, and clips of it.
fn reels() -> impl Strategy<Value = (FrameRate, f64, Vec<(f64, f64)>)> {
    let source = prop::sample::select(vec![(24, 1), (25, 1), (30000, 1001), (50, 1), (60, 1), (24000, 1001)]);
    let output = prop::sample::select(vec![24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 119.88]);
    let clip = (0_u32..7000, 1_u32..3000);
    let clips = prop::collection::vec(clip.prop_map(|(start, ms)| (f64::from(start) / 1e3, f64::from(ms) / 1e3)), 1..6);
    (source.prop_map(|(num, den)| rate(num, den)), output, clips)
}

fn reel_plan(source_rate: FrameRate, fps: f64, clips: &[(f64, f64)]) -> FramingPlan {
    let clips: Vec<Value> =
        clips.iter().map(|(start, length)| json!({"start": start, "end": start + length})).collect();
    let request = json!({"kind": "framing", "clips": clips, "output": {"fps": fps}});
    plan(&request, &source(source_rate, 600))
}

fn stretches() -> impl Strategy<Value = Vec<Stretch>> {
    prop::collection::vec((1_i128..3_000_000, 100_i128..8000), 1..40).prop_map(|pieces| {
        let mut start = Rat::from(0);
        let pieces = pieces.into_iter().map(|(micros, milli_speed)| {
            let end = start + Rat::new(micros, 1_000_000);
            let stretch = Stretch { start, end, speed: Rat::new(milli_speed, 1000) };
            start = end;
            stretch
        });
        pieces.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// The definition, word by word, by a search over all frames.
    #[test]
    fn every_frame_is_the_naive_searchs((source_rate, fps, clips) in reels()) {
        let source = source(source_rate, 600);
        let plan = reel_plan(source_rate, fps, &clips);
        let output_rate = plan.output.rate.as_rat();
        let half_tick = source.frames.time_base() / Rat::from(2);
        let mut n = 0;
        for (i, &(start, length)) in clips.iter().enumerate() {
            let (start, length) = (millis(start), millis(length));
            let frames = (length * output_rate + Rat::new(1, 2)).floor().to_integer().max(1);
            for k in 0..frames {
                let time = start + Rat::from(k) / output_rate;
                let naive = (0..source.frames.len()).rev().find(|&f| source.frames.seconds(f) <= time + half_tick);
                let shown = plan.shown(n);
                prop_assert_eq!((shown.clip, shown.source_frame), (i, naive.unwrap_or(0)));
                n += 1;
            }
        }
        prop_assert_eq!(n, plan.frames);
    }

    #[test]
    fn segments_and_samples_have_no_gaps((source_rate, fps, clips) in reels(), seconds in 0.0..5.0, sr in 8000_u32..96_000) {
        let plan = reel_plan(source_rate, fps, &clips);
        let mut next = 0;
        for segment in plan.segments(seconds) {
            prop_assert!(segment.start == next && segment.end > next);
            next = segment.end;
        }
        prop_assert_eq!(next, plan.frames);
        let mut next = 0;
        for (piece, clip) in plan.audio(sr).into_iter().zip(&plan.clips) {
            prop_assert_eq!(piece.samples.start, next);
            next = piece.samples.end;
            let lasts: Rat = piece.parts.iter().map(|p| (p.source_end - p.source_start) / p.speed).sum();
            prop_assert_eq!(lasts, plan.output.rate.seconds(clip.frames));
        }
        let exact = plan.output.rate.seconds(plan.frames) * Rat::from(i128::from(sr));
        prop_assert_eq!(i128::from(next), (exact + Rat::new(1, 2)).floor().to_integer());
    }

    #[test]
    fn detection_frames_are_rising_frames_of_the_reel((source_rate, fps, clips) in reels()) {
        let plan = reel_plan(source_rate, fps, &clips);
        let frames = plan.detection_frames();
        prop_assert!(frames.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(*frames.last().expect("a clip has a point") < plan.frames);
        for clip in &plan.clips {
            prop_assert!(frames.contains(&clip.first_frame));
        }
    }

    /// Any speeds at all: forty unrelated ones would need denominators of hundreds of digits.
    #[test]
    fn the_map_rises_and_stays_in_its_stretches(stretches in stretches()) {
        let map = TimeMap::new(stretches.clone(), rate(30000, 1001)).expect("something is left");
        let nanosecond = Rat::new(1, 1_000_000_000) * Rat::from(100);
        let length: f64 = stretches.iter().map(|s| to_f64(s.end - s.start) / to_f64(s.speed)).sum();
        prop_assert!((to_f64(map.duration()) - length).abs() < 1e-6);
        prop_assert!((map.frames() as f64 - length * 30000.0 / 1001.0).abs() <= 1.0);
        let end = stretches[stretches.len() - 1].end;
        let mut before = Rat::from(-1);
        for n in 0..map.frames() {
            let time = map.source_time(n);
            prop_assert!(time + nanosecond > before && time >= Rat::from(0) && time < end + nanosecond);
            before = time;
        }
        let sound: f64 = map.stretches().iter().map(|s| to_f64(s.end - s.start) / to_f64(s.speed)).sum();
        prop_assert!((sound - map.frames() as f64 * 1001.0 / 30000.0).abs() < 1e-6);
    }

    #[test]
    fn picking_agrees_with_a_search_at_any_frame_times(
        steps in prop::collection::vec(1_i64..300, 1..60), first in -500_i64..500, at in -1.0..20.0,
    ) {
        let pts: Vec<i64> = steps.iter().scan(first, |pts, step| { *pts += step; Some(*pts) }).collect();
        let end = pts[pts.len() - 1] + 1;
        let times = FrameTimes::new((1, 1000), pts, end).expect("rising times");
        let time = edits::rational::seconds_from_f64(at);
        let naive = (0..times.len()).rev().find(|&i| times.seconds(i) <= time + Rat::new(1, 2000)).unwrap_or(0);
        prop_assert_eq!(times.at_or_before(time), naive);
        prop_assert_eq!(FrameTimes::from_bytes(&times.to_bytes()), Ok(times));
    }
}

fn millis(seconds: f64) -> Rat {
    Rat::new((seconds * 1000.0).round() as i128, 1000)
}

fn to_f64(value: Rat) -> f64 {
    edits::rational::to_f64(value)
}
