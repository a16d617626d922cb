//! Reels with transitions between clips: pictures, sound, chapters, segments.

use crate::common::{plan, rate, source, upscaled};
use edits::{AudioPiece, FramingPlan};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A reel at 30 fps of clips of a 25 fps source.
fn reel(kind: &str, duration: f64, clips: Value) -> FramingPlan {
    let request = json!({"kind": "framing", "clips": clips, "transition": {"kind": kind, "duration": duration}});
    plan(&request, &source(rate(25, 1), 500))
}

fn two_clips() -> Value {
    json!([{"start": 0, "end": 2, "name": "Goal"}, {"start": 5, "end": 6}])
}

fn firsts(plan: &FramingPlan) -> Vec<(u64, u64)> {
    plan.clips.iter().map(|clip| (clip.first_frame, clip.frames)).collect()
}

#[test]
fn a_cut_takes_no_time() {
    let plan = reel("cut", 5.0, two_clips());
    assert_eq!((firsts(&plan), plan.frames), (vec![(0, 60), (60, 30)], 90));
    assert!((0..90).all(|n| plan.composition(n).level == 1.0 && plan.composition(n).incoming.is_none()));
    assert!(plan.audio(48_000).iter().all(|piece| piece.fade_in == 0 && piece.fade_out == 0));
}

#[test]
fn a_fade_goes_through_black_and_overlaps_nothing() {
    let plan = reel("fade", 0.4, two_clips());
    assert_eq!((firsts(&plan), plan.frames), (vec![(0, 60), (60, 30)], 90));
    let levels: Vec<f64> = (52..68).map(|n| (plan.composition(n).level * 6.0).round()).collect();
    assert_eq!(levels, [6.0, 6.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0]);
    assert_eq!((plan.composition(0).level, plan.composition(89).level, plan.composition(60).base.clip), (1.0, 1.0, 1));
    assert!((0..90).all(|n| plan.composition(n).incoming.is_none()));
    let fades: Vec<_> = plan.audio(48_000).iter().map(|p| (p.samples.clone(), p.fade_in, p.fade_out)).collect();
    assert_eq!(fades, [(0..96_000, 0, 9600), (96_000..144_000, 9600, 0)]);
}

#[test]
fn an_odd_fade_is_halved_between_frames() {
    let plan = reel("fade", 0.5, two_clips());
    assert!((plan.composition(53).level - 7.0 / 7.5).abs() < 1e-12);
    let fades: Vec<_> = plan.audio(48_000).iter().map(|piece| (piece.fade_in, piece.fade_out)).collect();
    assert_eq!(fades, [(0, 12_000), (12_000, 0)]);
}

#[test]
fn a_dissolve_shows_both_clips_and_shortens_the_reel() {
    let plan = reel("dissolve", 0.4, two_clips());
    assert_eq!((firsts(&plan), plan.frames), (vec![(0, 60), (48, 30)], 78));
    let weights: Vec<_> =
        (47..62).map(|n| plan.composition(n).incoming.map(|(_, weight)| (weight * 12.0).round())).collect();
    let mut expected = vec![None, None];
    expected.extend((1..12).map(|k| Some(f64::from(k))));
    expected.extend([None, None]);
    assert_eq!(weights, expected);
    let composition = plan.composition(54);
    let (over, weight) = composition.incoming.expect("a dissolve");
    assert_eq!((composition.base.clip, composition.base.source_frame, composition.level), (0, 45, 1.0));
    assert_eq!((over.clip, over.source_frame, weight), (1, 130, 0.5));
    assert_eq!(plan.composition(60).base.clip, 1);
    let fades: Vec<_> = plan.audio(48_000).iter().map(|p| (p.samples.clone(), p.fade_in, p.fade_out)).collect();
    assert_eq!(fades, [(0..96_000, 0, 19_200), (76_800..124_800, 19_200, 0)]);
}

#[test]
fn a_transition_is_at_most_half_the_shorter_neighbour() {
    let clips = json!([{"start": 0, "end": 2}, {"start": 5, "end": 5.5}, {"start": 7, "end": 8}]);
    let plan = reel("dissolve", 3.0, clips);
    assert_eq!((firsts(&plan), plan.frames), (vec![(0, 60), (53, 15), (61, 30)], 91));
    let one = reel("dissolve", 3.0, json!([{"start": 0, "end": 0.03}, {"start": 5, "end": 6}]));
    assert_eq!(firsts(&one), [(0, 1), (1, 30)]);
}

#[test]
fn detection_follows_the_shifted_clips() {
    let plan = reel("dissolve", 0.4, two_clips());
    assert_eq!(plan.detection_frames(), [0, 20, 40, 48, 58, 59, 68, 77]);
}

#[test]
fn chapters_are_the_clips_of_a_reel() {
    let plan = reel("dissolve", 0.4, two_clips());
    let chapters: Vec<_> = plan.chapters().into_iter().map(|c| (c.name, c.start_frame, c.end_frame)).collect();
    assert_eq!(chapters, [("Goal".to_owned(), 0, 48), ("Clip 2".to_owned(), 48, 78)]);
    assert!(reel("cut", 0.0, json!([{"start": 0, "end": 1, "name": "Goal"}])).chapters().is_empty());
}

#[test]
fn default_spotlights_open_each_clip() {
    let regions = |plan: FramingPlan| -> Vec<(f64, f64)> {
        plan.spotlight_regions().iter().map(|region| (region.start, region.end)).collect()
    };
    let clips = |ends: [f64; 3]| ends.iter().map(|end| json!({"start": 1, "end": 1.0 + end})).collect::<Value>();
    assert_eq!(regions(reel("cut", 0.0, clips([5.0, 1.5, 3.0]))), [(0.0, 2.0), (5.0, 6.5), (6.5, 8.5)]);
    assert_eq!(regions(reel("dissolve", 0.5, clips([5.0, 1.5, 3.0]))), [(0.0, 2.0), (4.5, 5.5), (5.5, 7.5)]);
    assert_eq!(regions(reel("cut", 0.0, clips([0.2, 3.0, 0.1]))), [(0.0, 0.5), (0.5, 2.2), (3.2, 3.7)]);
    let region = reel("cut", 0.0, clips([5.0, 1.5, 3.0])).spotlight_regions().remove(0);
    let space = region.space.expect("the reel's size");
    assert_eq!((space.width, space.height, region.keyframes.len()), (810, 1440, 0));
}

#[test]
fn slow_motion_is_never_cut_within_a_picture() {
    let segments = json!([{"start": 0, "end": 2, "speed": 0.1}]);
    let plan = reel("cut", 0.0, json!([{"start": 0, "end": 2, "segments": segments}]));
    // A source frame lasts 12 output frames.
    assert_eq!((plan.frames, upscaled(&plan)), (600, 50));
    assert_eq!(plan.segments(1.0)[..3], [0..36, 36..60, 60..96]);
    let still =
        reel("cut", 0.0, json!([{"start": 0, "end": 0.04, "segments": [{"start": 0, "end": 0.04, "speed": 0.1}]}]));
    assert_eq!(still.segments(0.1).iter().map(|cut| cut.end).collect::<Vec<_>>(), [12]);
}

fn reels() -> impl Strategy<Value = (&'static str, f64, Vec<(u32, u32, f64)>, f64)> {
    let kind = prop::sample::select(vec!["cut", "fade", "dissolve"]);
    let clip = (0_u32..4000, 1_u32..2500, prop::sample::select(vec![0.1, 0.5, 1.0, 2.0, 8.0]));
    let fps = prop::sample::select(vec![24.0, 29.97, 30.0, 60.0]);
    (kind, 0.0..4.0, prop::collection::vec(clip, 1..6), fps)
}

fn any_reel((kind, duration, clips, fps): &(&str, f64, Vec<(u32, u32, f64)>, f64)) -> FramingPlan {
    let clips = clips.iter().map(|&(start, length, speed)| {
        let (start, end) = (f64::from(start) / 1e3, f64::from(start + length) / 1e3);
        let length = (end * 1e3 - start * 1e3).round() / 1e3;
        json!({"start": start, "end": end, "segments": [{"start": 0, "end": length, "speed": speed}]})
    });
    let request = json!({"kind": "framing", "clips": clips.collect::<Vec<_>>(), "output": {"fps": fps},
                         "transition": {"kind": kind, "duration": duration}});
    plan(&request, &source(rate(25, 1), 500))
}

/// How loud everything is together at a sample, were every source a constant 1.
fn loudness(pieces: &[AudioPiece], sample: u64) -> f64 {
    let gain = |piece: &AudioPiece| {
        let (before, after) = ((sample - piece.samples.start) as f64 + 0.5, (piece.samples.end - sample) as f64 - 0.5);
        let share = |distance: f64, fade: u64| if fade == 0 { 1.0 } else { (distance / fade as f64).min(1.0) };
        share(before, piece.fade_in) * share(after, piece.fade_out)
    };
    pieces.iter().filter(|piece| piece.samples.contains(&sample)).map(gain).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn at_most_two_clips_are_seen_and_every_frame_of_each(reel in reels()) {
        let plan = any_reel(&reel);
        for n in 0..plan.frames {
            let composition = plan.composition(n);
            let alive = plan.clips.iter().filter(|clip| clip.first_frame <= n && n < clip.first_frame + clip.frames);
            prop_assert!((1..=2).contains(&alive.count()));
            prop_assert!((0.0..=1.0).contains(&composition.level));
            if let Some((over, weight)) = composition.incoming {
                prop_assert!(over.clip == composition.base.clip + 1 && weight > 0.0 && weight < 1.0);
                prop_assert_eq!(reel.0, "dissolve");
            }
        }
        let total: u64 = plan.clips.iter().map(|clip| clip.frames).sum();
        prop_assert!(plan.frames <= total && (reel.0 == "dissolve" || plan.frames == total));
    }

    #[test]
    fn cuts_part_no_picture_and_count_all(reel in reels(), seconds in 0.0..2.0) {
        let plan = any_reel(&reel);
        let pictures = |n: u64| {
            let composition = plan.composition(n);
            [Some(composition.base), composition.incoming.map(|(shown, _)| shown)].into_iter().flatten().map(|s| (s.clip, s.source_frame))
        };
        let mut next = 0;
        let mut inferred = 0;
        for segment in plan.segments(seconds) {
            prop_assert!(segment.start == next && segment.end > next);
            next = segment.end;
            let seen: std::collections::HashSet<_> = segment.clone().flat_map(pictures).collect();
            inferred += seen.len() as u64;
        }
        prop_assert_eq!(next, plan.frames);
        // Each segment infers what it shows once; nothing is shown by two of them.
        prop_assert_eq!(inferred, upscaled(&plan));
    }

    #[test]
    fn sound_goes_with_the_pictures(reel in reels()) {
        let plan = any_reel(&reel);
        let pieces = plan.audio(48_000);
        for sample in (0..pieces[pieces.len() - 1].samples.end).step_by(997) {
            let loud = loudness(&pieces, sample);
            match reel.0 {
                "fade" => prop_assert!((0.0..=1.0).contains(&loud)),
                _ => prop_assert!((loud - 1.0).abs() < 1e-9, "{loud} at {sample}"),
            }
        }
        for piece in &pieces {
            prop_assert!(piece.fade_in + piece.fade_out <= piece.samples.end - piece.samples.start);
        }
    }
}
