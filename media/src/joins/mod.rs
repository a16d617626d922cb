//! Time stamps that restart or leap: recordings put one behind the other, recorders whose clock was set, 33-bit wraps.
//!
//! Found while the index is read ([`Finder`]), kept with it ([`Joins`]), and followed by whoever reads the file
//! ([`crate::source::Source`]): what is added to a packet's stamps depends on where it lies in the file.
//!
//! The picture decides where pieces begin: the later one where the earlier one ended. Sound that leaps near such a place, to
//! a time near the picture's, goes with it. Sound that goes on meanwhile stays as it is; then a leap of the picture ahead
//! is a frame that is held.

mod clock;
mod stamps;

use clock::{Clock, Kind, Leap, is_near};
use stamps::fold;
pub(crate) use stamps::{Stamps, Ticks, moved, rescale};

/// Whether stamps of this container (libav's name) can restart: those of MP4 and AVI are sums of durations.
pub(crate) fn are_possible(container: &str) -> bool {
    ["mpegts", "mpeg", "flv"].contains(&container) || container.contains("matroska")
}

/// The pieces of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joins {
    /// The picture's stream first.
    pub tracks: Vec<Track>,
    /// Ticks of the picture at which each piece begins, after the first.
    pub starts: Vec<i64>,
    /// Decoding time and position of each packet at which decoding can start, in order.
    pub keys: Vec<(i64, i64)>,
}

/// What is added to the stamps of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    pub stream: usize,
    pub wrap_bits: u32,
    /// In rising order of positions; before the first, nothing is added.
    pub points: Vec<Point>,
}

/// From `position` on, `offset` ticks of the stream are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub position: i64,
    pub offset: i64,
    /// Ticks of the picture at which the piece begins that this belongs to, and the next one: what lies outside is not
    /// shown or heard. The least and the greatest number where there is no such bound.
    pub span: (i64, i64),
}

/// No bound.
pub(crate) const WHOLE: (i64, i64) = (i64::MIN, i64::MAX);

impl Track {
    /// The point that counts at a position; `None` before the first.
    pub fn at(&self, position: i64) -> Option<Point> {
        self.points[..self.points.partition_point(|point| point.position <= position)].last().copied()
    }
}

/// Follows the stamps of a file's picture and sounds.
pub(crate) struct Finder {
    picture: (usize, Clock),
    sounds: Vec<(usize, Clock)>,
    keys: Vec<(i64, i64)>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub joins: Joins,
    /// Places at which the picture's stamps restart or leap.
    pub restarts: usize,
    /// Single frames with a stamp far from those around them.
    pub strays: usize,
}

impl Finder {
    pub fn new(picture: (usize, Ticks), sounds: impl IntoIterator<Item = (usize, Ticks)>) -> Self {
        let clock = |(stream, ticks)| (stream, Clock::new(ticks));
        Self { picture: clock(picture), sounds: sounds.into_iter().map(clock).collect(), keys: Vec::new() }
    }

    /// Takes the next packet of the file, of whatever stream.
    pub fn see(&mut self, stream: usize, stamps: &Stamps) {
        if stream == self.picture.0 {
            if let Some(decoded) = stamps.dts.or(stamps.pts).filter(|_| stamps.key && stamps.position >= 0) {
                self.keys.push((decoded, stamps.position));
            }
            self.picture.1.see(stamps);
        } else if let Some((_, clock)) = self.sounds.iter_mut().find(|(sound, _)| *sound == stream) {
            clock.see(stamps);
        }
    }

    /// `None` where stamps go on throughout.
    pub fn finish(self) -> Option<Found> {
        let (stream, clock) = &self.picture;
        if clock.means_nothing() || self.sounds.iter().any(|(_, sound)| sound.means_nothing()) {
            return None;
        }
        let sounds: Vec<_> = self.sounds.iter().map(|(stream, clock)| (*stream, clock, clock.leaps())).collect();
        let mut leaps = clock.leaps();
        // While some sound goes on, a picture that is ahead is one that was held.
        for leap in leaps.iter_mut().filter(|leap| leap.kind == Kind::Ahead) {
            let goes_on = |(_, sound, theirs): &(usize, &Clock, Vec<Leap>)| {
                let leapt = || theirs.iter().any(|other| other.is_restart() && is_near(leap, clock, other, sound));
                sound.goes_on_beyond(leap, clock) && !leapt()
            };
            if sounds.iter().any(goes_on) {
                leap.goes_on();
            }
        }
        let (points, starts) = pieces(&leaps);
        let untouched = |leap: &Leap| matches!(leap.kind, Kind::Ahead | Kind::Small) && leap.turn == 0;
        if points.is_empty() && sounds.iter().all(|(.., leaps)| leaps.iter().all(untouched)) {
            return None;
        }
        let picture = Track { stream: *stream, wrap_bits: clock.ticks.wrap_bits, points };
        let keys = self.keys.iter().map(|&(decoded, position)| {
            (decoded.wrapping_add(picture.at(position).map_or(0, |point| point.offset)), position)
        });
        let keys = keys.collect();
        let restarts: Vec<_> = leaps.iter().filter(|leap| leap.is_restart()).collect();
        let mut tracks = vec![picture];
        for (stream, sound, theirs) in sounds {
            let points = sound_points(sound, &theirs, clock, &restarts, &tracks[0]);
            tracks.push(Track { stream, wrap_bits: sound.ticks.wrap_bits, points });
        }
        let (restarts, strays) = (restarts.len(), leaps.iter().filter(|leap| leap.kind == Kind::Stray).count());
        Some(Found { joins: Joins { tracks, starts, keys }, restarts, strays })
    }
}

/// For each leap of a sound, the number of the picture's restart that it goes with: in order where there are as many, else
/// the one at the nearest position, and none twice.
fn partners(sound: &Clock, leaps: &[Leap], picture: &Clock, restarts: &[&Leap]) -> Vec<Option<usize>> {
    let mut partners = vec![None; leaps.len()];
    let near = |number: usize, place: usize| is_near(restarts[number], picture, &leaps[place], sound);
    let large: Vec<_> = (0..leaps.len()).filter(|&place| leaps[place].is_restart()).collect();
    if large.len() == restarts.len() && large.iter().enumerate().all(|(number, &place)| near(number, place)) {
        large.iter().enumerate().for_each(|(number, &place)| partners[place] = Some(number));
        return partners;
    }
    let mut free = 0;
    for (number, restart) in restarts.iter().enumerate() {
        let concerned = |place: &usize| leaps[*place].is_restart() || leaps[*place].kind == Kind::Small;
        let candidates = (free..leaps.len()).filter(concerned).filter(|&place| near(number, place));
        let distance = |place: &usize| leaps[*place].position.abs_diff(restart.position);
        if let Some(place) = candidates.min_by_key(distance) {
            partners[place] = Some(number);
            free = place + 1;
        }
    }
    partners
}

/// What is added to the picture's stamps, and where its pieces begin.
fn pieces(leaps: &[Leap]) -> (Vec<Point>, Vec<i64>) {
    let (mut points, mut starts) = (Vec::<Point>::new(), Vec::new());
    let (mut offset, mut begins) = (0, WHOLE.0);
    for leap in leaps {
        let next = leap.after(offset);
        let here = match leap.kind {
            Kind::Small => continue,
            Kind::Wrap if leap.turn == 0 => continue,
            Kind::Stray => next,
            Kind::Return => offset,
            Kind::Wrap | Kind::Back | Kind::Ahead => {
                offset = next;
                if leap.is_restart() {
                    begins = leap.start.wrapping_add(next);
                    starts.push(begins);
                }
                offset
            }
        };
        points.push(Point { position: leap.position, offset: here, span: (begins, WHOLE.1) });
    }
    bound(&mut points);
    (points, starts)
}

/// What is added to a sound's stamps.
fn sound_points(sound: &Clock, leaps: &[Leap], picture: &Clock, restarts: &[&Leap], track: &Track) -> Vec<Point> {
    // Sound that begins in a later piece.
    let begun = sound.first.and_then(|(_, position)| track.at(position));
    let to_sound = |ticks| rescale(ticks, picture.ticks.base, sound.ticks.base);
    let (mut offset, mut begins) = begun.map_or((0, WHOLE.0), |point| (to_sound(point.offset), point.span.0));
    let mut points = vec![Point { position: i64::MIN, offset, span: (begins, WHOLE.1) }];
    for (leap, partner) in leaps.iter().zip(partners(sound, leaps, picture, restarts)) {
        let next = leap.after(offset);
        let here = match (leap.kind, partner.map(|number| restarts[number])) {
            (Kind::Stray, _) => next,
            (Kind::Return, _) => offset,
            (_, Some(restart)) => {
                let theirs = track.at(restart.position).map_or(0, |point| point.offset);
                begins = restart.start.wrapping_add(theirs);
                let behind = fold(leap.start.wrapping_sub(to_sound(restart.start)), sound.ticks.wrap_bits);
                offset = to_sound(begins).wrapping_add(behind).wrapping_sub(leap.start);
                offset
            }
            (Kind::Small, None) => continue,
            // A hole, which is silence.
            (Kind::Ahead, None) => {
                offset = offset.wrapping_add(leap.turn);
                offset
            }
            (Kind::Back | Kind::Wrap, None) => {
                offset = next;
                offset
            }
        };
        points.push(Point { position: leap.position, offset: here, span: (begins, WHOLE.1) });
    }
    bound(&mut points);
    points
}

/// Lets each piece end where the next one begins.
fn bound(points: &mut [Point]) {
    for place in (1..points.len()).rev() {
        let (next, here) = (points[place].span, points[place - 1].span);
        points[place - 1].span.1 = if next.0 == here.0 { next.1 } else { next.0 };
    }
}

#[cfg(test)]
mod tests {
    use ffmpeg_next as av;

    use super::*;

    const TICKS: Ticks =
        Ticks { base: av::Rational(1, 90_000), wrap_bits: 33, frame: 3600, reordered: false, is_sound: false };
    const SOUND: Ticks = Ticks { frame: 1920, is_sound: true, ..TICKS };

    /// A file of pieces: first stamp and seconds of each, and by how many seconds the sound leads there.
    fn file(pieces: &[(i64, i64, f64)]) -> Option<Found> {
        let mut finder = Finder::new((0, TICKS), [(1, SOUND)]);
        let mut position = 0;
        for &(first, seconds, lead) in pieces {
            let mut heard = first - (lead * 90_000.0) as i64;
            let wrapped = |stamp: i64| stamp.rem_euclid(1 << 33);
            for n in 0..seconds * 25 {
                let (dts, pts) = (first + n * 3600, first + n * 3600 + 7200);
                let stamps = Stamps {
                    dts: Some(wrapped(dts)),
                    pts: Some(wrapped(pts)),
                    duration: 0,
                    key: n % 25 == 0,
                    position,
                };
                finder.see(0, &stamps);
                position += 1;
                while heard <= dts {
                    let stamp = Some(wrapped(heard));
                    finder.see(1, &Stamps { dts: stamp, pts: stamp, duration: 1920, key: true, position });
                    position += 1;
                    heard += 1920;
                }
            }
        }
        finder.finish()
    }

    /// What is added to picture and sound in the middle of each piece, in seconds.
    fn offsets(found: &Found) -> Vec<(f64, f64)> {
        let seconds = |point: &Point| point.offset as f64 / 90_000.0;
        let of = |track: &Track| track.points.iter().map(seconds).collect::<Vec<_>>();
        let [picture, sound] = &found.joins.tracks[..] else { panic!("two tracks") };
        of(picture).into_iter().zip(of(sound).into_iter().skip(1)).collect()
    }

    #[test]
    fn stamps_that_go_on_need_nothing() {
        assert_eq!(file(&[(90_000, 4, 0.02)]), None);
        // Nine seconds without anything are a hole.
        assert_eq!(file(&[(0, 2, 0.0), (11 * 90_000, 2, 0.0)]), None);
    }

    #[test]
    fn pieces_follow_each_other_with_their_sound() {
        let found = file(&[(90_000, 2, 0.02), (90_000, 3, 0.5), (45_000, 2, -0.7)]).unwrap();
        assert_eq!((found.restarts, found.strays), (2, 0));
        assert_eq!(offsets(&found), [(2.0, 2.0), (5.5, 5.5)]);
        assert_eq!(found.joins.starts, [3 * 90_000 + 7200, 6 * 90_000 + 7200]);
        let hours = file(&[(0, 2, 0.0), (9 * 3600 * 90_000, 2, 0.0)]).unwrap();
        assert_eq!((hours.restarts, offsets(&hours)), (1, vec![(-32398.0, -32398.0)]));
    }

    #[test]
    fn a_counter_that_wraps_is_no_restart() {
        let found = file(&[((1 << 33) - 90_000, 3, 0.1)]).unwrap();
        assert_eq!((found.restarts, found.strays), (0, 0));
        let round = (1i64 << 33) as f64 / 90_000.0;
        assert_eq!(offsets(&found), [(round, round)]);
    }

    #[test]
    fn keys_are_found_on_the_joined_time_line() {
        let found = file(&[(0, 2, 0.0), (0, 2, 0.0)]).unwrap();
        let times: Vec<_> = found.joins.keys.iter().map(|key| key.0).collect();
        assert_eq!(times, [0, 90_000, 180_000, 270_000]);
        assert!(found.joins.keys.is_sorted_by_key(|key| key.1));
    }

    /// Picture and sound in ticks, one after the other by position: `(stream, stamp)`.
    fn of(packets: impl IntoIterator<Item = (usize, i64)>) -> Option<Found> {
        let mut finder = Finder::new((0, TICKS), [(1, SOUND)]);
        for (position, (stream, stamp)) in (0..).zip(packets) {
            let (key, stamp) = (position % 25 == 0, Some(stamp));
            finder.see(stream, &Stamps { dts: stamp, pts: stamp, duration: 0, key, position });
        }
        finder.finish()
    }

    #[test]
    fn sound_that_goes_on_while_the_picture_goes_back_stays_whole() {
        let packets = (0..200).flat_map(|n| [(0, n * 3600 - if n < 100 { 0 } else { 45_000 }), (1, n * 3600)]);
        let found = of(packets).unwrap();
        assert_eq!(found.restarts, 1);
        assert!(found.joins.tracks[1].points.iter().all(|point| (point.offset, point.span) == (0, WHOLE)), "{found:?}");
    }

    #[test]
    fn sound_that_steps_back_a_little_goes_with_its_picture() {
        let behind = |n: i64, by: i64| n * 3600 - if n < 100 { 0 } else { by };
        let found = of((0..200).flat_map(|n| [(0, behind(n, 30_000)), (1, behind(n, 20_000))])).unwrap();
        let points = &found.joins.tracks[1].points;
        assert_eq!((found.restarts, points.len(), points[1].offset), (1, 2, 30_000));
        assert_eq!((points[0].span.1, points[1].span.0), (360_000, 360_000));
    }

    #[test]
    fn a_few_packets_that_are_far_off_move_no_other() {
        for off in [-3_600_000, 9_000_000] {
            let off = |n: i64| n * 3600 + if (50..52).contains(&n) { 20_000_000 + off } else { 20_000_000 };
            let found = of((0..200).flat_map(|n| [(0, off(n)), (1, 20_000_000 + n * 3600)])).unwrap();
            assert_eq!((found.restarts, found.strays), (0, 1));
            assert_eq!(found.joins.tracks[0].points.last().map(|point| point.offset), Some(0), "{found:?}");
            let found = of((0..200).flat_map(|n| [(0, 20_000_000 + n * 3600), (1, off(n))])).unwrap();
            assert_eq!(found.joins.tracks[1].points.last().map(|point| point.offset), Some(0), "{found:?}");
        }
    }

    #[test]
    fn a_piece_without_sound_is_joined_as_well() {
        let hour = 3600 * 90_000;
        let heard = (0..100).flat_map(|n| [(0, n * 3600), (1, n * 3600)]);
        let found = of(heard.chain((0..100).map(|n| (0, hour + n * 3600)))).unwrap();
        assert_eq!((found.restarts, found.joins.starts), (1, vec![360_000]));
    }

    #[test]
    fn reordered_frames_of_a_slow_film_have_not_leapt() {
        let slow = Ticks { base: av::Rational(1, 1000), wrap_bits: 64, frame: 1000, reordered: true, is_sound: false };
        let mut finder = Finder::new((0, slow), []);
        for n in 0..40 {
            let pts = Some(([0, 4, 2, 1, 3][n as usize % 5] + n / 5 * 5) * 1000);
            finder.see(0, &Stamps { dts: pts, pts, duration: 1000, key: n == 0, position: n });
        }
        assert_eq!(finder.finish(), None);
        // A frame every twenty seconds, and one that is held for a minute at the end.
        let slow = Ticks { frame: 20_000, ..slow };
        let mut finder = Finder::new((0, slow), []);
        for n in 0..20 {
            let pts = Some(n * 20_000 + if n == 19 { 40_000 } else { 0 });
            finder.see(0, &Stamps { dts: pts, pts, duration: 20_000, key: true, position: n });
        }
        assert_eq!(finder.finish(), None);
    }

    #[test]
    fn stamps_that_leap_all_the_time_are_left_as_they_are() {
        let mut finder = Finder::new((0, TICKS), []);
        for n in 0..50_000 {
            let stamp = Some([i64::MIN + 1, 0, i64::MAX, 3_000_000][n as usize % 4]);
            finder.see(0, &Stamps { dts: stamp, pts: stamp, duration: i64::MAX, key: n % 2 == 0, position: n });
        }
        assert_eq!(finder.finish(), None);
    }

    #[test]
    fn absurd_stamps_do_no_harm() {
        for key in [false, true] {
            let mut finder = Finder::new((0, Ticks { wrap_bits: 64, ..TICKS }), [(1, SOUND)]);
            for n in 0..1000 {
                let stamp = Some([i64::MIN + 1, 0, i64::MAX, 3_000_000][n as usize % 4]);
                let stamps = Stamps { dts: stamp, pts: stamp, duration: i64::MAX, key, position: n };
                finder.see(n as usize / 2 % 2, &stamps);
            }
            finder.finish();
        }
    }

    #[test]
    fn one_packet_alone_moves_no_other() {
        let mut finder = Finder::new((0, TICKS), []);
        for n in 0..100 {
            let stamp = Some(if n == 40 { 5_000_000 } else { n * 3600 });
            finder.see(0, &Stamps { dts: stamp, pts: stamp, duration: 3600, key: n % 25 == 0, position: n });
        }
        let found = finder.finish().unwrap();
        assert_eq!((found.restarts, found.strays), (0, 1));
        let points = &found.joins.tracks[0].points;
        assert_eq!(points[0], Point { position: 40, offset: 40 * 3600 - 5_000_000, span: WHOLE });
        assert_eq!(points[1], Point { position: 41, offset: 0, span: WHOLE });
    }

    #[test]
    fn a_picture_that_is_held_while_sound_goes_on_has_not_leapt() {
        let mut finder = Finder::new((0, TICKS), [(1, SOUND)]);
        let sees = |finder: &mut Finder, stream, stamp, position| {
            let stamp = Some(stamp);
            finder.see(stream, &Stamps { dts: stamp, pts: stamp, duration: 0, key: true, position });
        };
        for n in 0..1000 {
            sees(&mut finder, 1, n * 1920, 2 * n);
            if !(100..900).contains(&n) {
                sees(&mut finder, 0, n * 1920, 2 * n + 1);
            }
        }
        assert_eq!(finder.finish(), None);
    }
}
