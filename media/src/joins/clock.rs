//! Leaps of one stream's time stamps.

use super::stamps::{Stamps, Ticks, beside, fold, rescale};

/// Seconds ahead from which on time stamps have leapt; less is a hole.
const AHEAD: f64 = 10.0;
/// Seconds back from which on decoding times have; less is jitter.
const BACK: f64 = 0.2;
/// The same of display times, which reordered frames have out of order.
const BACK_REORDERED: f64 = 1.0;
/// Seconds between the stamps of picture and sound where a piece begins.
const APART: f64 = 5.0;

/// Frames by which display times may be out of order, at any rate: as many as H.264 and HEVC reorder, and one.
const REORDERED: i64 = 17;
/// Seconds back from which on a step of sound may belong to a leap of the picture.
const SMALL_STEP: f64 = 0.015;
/// Packets of a stream that may be far off, before those behind them go on where it was.
const MOST_STRAYS: u64 = 50;
/// Seconds for which the last frame but one may be held.
const LONGEST_HOLD: f64 = 3600.0;
/// Seconds by which sound must go on beyond a frame that is held.
const GOES_ON: f64 = 1.0;
/// Leaps of a stream from which on its stamps mean nothing, and those of the file are left as they are.
const MOST_LEAPS: usize = 500;

/// A place at which a stream's stamps do not go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leap {
    /// Number of the packet.
    packet: u64,
    pub position: i64,
    /// Where what came before ended, in ticks of then.
    pub end: i64,
    /// Where this begins, in ticks of now.
    pub start: i64,
    /// Ticks of the turns of the counter that lie between: to be added wherever it is no leap after all.
    pub turn: i64,
    pub kind: Kind,
}

impl Leap {
    /// What is to be added behind it so that this begins where what came before ended, which had this added.
    pub fn after(&self, offset: i64) -> i64 {
        offset.wrapping_add(self.end).wrapping_sub(self.start)
    }

    pub fn is_restart(&self) -> bool {
        matches!(self.kind, Kind::Back | Kind::Ahead)
    }

    /// Makes it none: time goes on, for longer than usual.
    pub fn goes_on(&mut self) {
        (self.kind, self.end, self.start) = (Kind::Wrap, self.turn, 0);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The counter has started at 0 again; time goes on.
    Wrap,
    Back,
    Ahead,
    /// Sound that goes back by less.
    Small,
    /// A few packets, behind which stamps go on as if there had been none.
    Stray,
    /// What goes on behind them.
    Return,
}

/// Follows the stamps of one stream.
pub(super) struct Clock {
    pub ticks: Ticks,
    last: Option<i64>,
    /// Ticks of the newest packet.
    length: i64,
    /// The latest end of a frame since the last leap.
    end: i64,
    pub first: Option<(i64, i64)>,
    /// Where the newest packet lies: of several from one place, only the first says so.
    position: i64,
    packets: u64,
    leaps: Vec<Leap>,
}

impl Clock {
    pub fn new(ticks: Ticks) -> Self {
        Self { ticks, last: None, length: 0, end: i64::MIN, first: None, position: 0, packets: 0, leaps: Vec::new() }
    }

    fn ticks(&self, seconds: f64) -> i64 {
        (seconds / f64::from(self.ticks.base)).round() as i64
    }

    pub fn see(&mut self, stamps: &Stamps) {
        if self.means_nothing() {
            return;
        }
        let (first, other) = match self.ticks.reordered {
            true => (stamps.pts, stamps.dts),
            false => (stamps.dts, stamps.pts),
        };
        let Some(now) = first.or(other) else { return };
        self.position = if stamps.position >= 0 { stamps.position } else { self.position };
        let position = self.position;
        let length = if stamps.duration > 0 { stamps.duration } else { self.ticks.frame };
        let shown = stamps.pts.map_or(now, |pts| beside(now, pts, self.ticks.wrap_bits));
        if let Some(last) = self.last {
            let step = fold(now.wrapping_sub(last), self.ticks.wrap_bits);
            let turn = step.wrapping_sub(now.wrapping_sub(last));
            let kind = match step {
                step if step < -self.back() => Some(Kind::Back),
                step if step.saturating_sub(self.length) > self.ticks(AHEAD) => Some(Kind::Ahead),
                step if self.ticks.is_sound && step < -self.ticks(SMALL_STEP) => Some(Kind::Small),
                _ => (turn != 0).then_some(Kind::Wrap),
            };
            let packet = self.packets;
            match kind {
                Some(Kind::Wrap) => {
                    self.leaps.push(Leap { packet, position, end: turn, start: 0, turn, kind: Kind::Wrap });
                    self.end = self.end.wrapping_sub(turn);
                }
                Some(kind) => {
                    // A group that begins is shown behind all of the one before; what goes on within one is decoded
                    // behind it.
                    let (end, start) =
                        if stamps.key { (self.end, shown) } else { (last.saturating_add(self.length), now) };
                    self.leaps.push(Leap { packet, position, end, start, turn, kind });
                    self.end = i64::MIN;
                }
                None => {}
            }
        }
        self.first.get_or_insert((now, position));
        self.last = Some(now);
        self.length = length;
        self.end = self.end.max(shown.saturating_add(length));
        self.packets += 1;
    }

    /// Ticks back from which on stamps have leapt.
    fn back(&self) -> i64 {
        match self.ticks.reordered {
            true => self.ticks(BACK_REORDERED).max(self.ticks.frame.saturating_mul(REORDERED)),
            false => self.ticks(BACK),
        }
    }

    /// Whether its stamps mean nothing.
    pub fn means_nothing(&self) -> bool {
        self.leaps.len() >= MOST_LEAPS
    }

    /// The leaps; those of a few packets, which the next one takes back, are told apart.
    pub fn leaps(&self) -> Vec<Leap> {
        let mut leaps = self.leaps.clone();
        for place in 0..leaps.len() {
            let here = leaps[place];
            if !here.is_restart() {
                continue;
            }
            let bits = self.ticks.wrap_bits;
            let returns = |next: &Leap| {
                let lasted = next.end.wrapping_sub(here.start);
                let off = fold(next.start.wrapping_sub(here.end.wrapping_add(lasted)), bits);
                let few = next.packet - here.packet <= MOST_STRAYS;
                next.is_restart() && few && (-self.back()..=self.ticks(AHEAD)).contains(&off)
            };
            if here.packet + 1 == self.packets {
                let held = here.kind == Kind::Ahead
                    && fold(here.start.wrapping_sub(here.end), bits) <= self.ticks(LONGEST_HOLD);
                if held { leaps[place].goes_on() } else { leaps[place].kind = Kind::Stray }
            } else if leaps.get(place + 1).is_some_and(returns) {
                leaps[place].kind = Kind::Stray;
                leaps[place + 1].kind = Kind::Return;
            }
        }
        leaps
    }

    /// Whether this sound goes on while the picture leaps ahead.
    pub fn goes_on_beyond(&self, leap: &Leap, picture: &Clock) -> bool {
        let (Some((_, first)), Some(last)) = (self.first, self.last) else { return false };
        let held_from = rescale(leap.end, picture.ticks.base, self.ticks.base);
        let beyond = fold(last.wrapping_sub(held_from), self.ticks.wrap_bits);
        first <= leap.position && self.position > leap.position && beyond > self.ticks(GOES_ON)
    }
}

/// Whether a sound leaps to a time near that of a picture's leap.
pub(super) fn is_near(leap: &Leap, picture: &Clock, other: &Leap, sound: &Clock) -> bool {
    let start = rescale(leap.start, picture.ticks.base, sound.ticks.base);
    let apart = fold(other.start.wrapping_sub(start), sound.ticks.wrap_bits);
    apart.unsigned_abs() <= sound.ticks(APART).unsigned_abs()
}
