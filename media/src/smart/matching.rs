//! Making x264 go on in the manner of another encoder's stream.

use serde::{Deserialize, Serialize};

use crate::h264::{self, AvcRecord, Sps};
use crate::shape::StreamShape;
use crate::timed::{Matched, TimedSettings};

/// Parameter sets are numbered below this; picture parameter sets could go on to 255, but x264 gives both one number.
const NUMBERS: u32 = 32;

/// What rendered stretches must have in common with the stream, or must not exceed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manner {
    #[serde(with = "crate::wire::profile")]
    profile: crate::wire::Profile,
    level: u8,
    cabac: bool,
    references: u32,
    buffering: u32,
    pub size: (u32, u32),
    /// Frames by which decoding may run ahead of display.
    pub reorder: Option<usize>,
    /// The stream's clock: a tick's seconds, and whether every frame lasts one.
    pub tick: Option<(u32, u32, bool)>,
}

impl Manner {
    /// Reads the manner of a stream; with several parameter sets, the most cautious of theirs.
    pub fn of(record: &AvcRecord) -> Result<Self, String> {
        let sets: Option<Vec<Sps>> = record.sps.iter().map(|set| Sps::parse(set)).collect();
        let sets = sets.filter(|sets| !sets.is_empty()).ok_or("its parameter sets cannot be read")?;
        let first = &sets[0];
        for set in &sets {
            if set.chroma_format != 1 || set.bit_depth != (8, 8) {
                return Err("the pictures are not 8-bit 4:2:0".to_owned());
            }
            if !set.progressive {
                return Err("the stream may be interlaced".to_owned());
            }
            if (set.size, set.crop_start, set.profile) != (first.size, (0, 0), first.profile) {
                return Err("the stream changes its size or profile".to_owned());
            }
        }
        let profile = match first.profile {
            66 => "baseline",
            77 => "main",
            100 => "high",
            other => return Err(format!("H.264 profile {other} has no match")),
        };
        let pps = record.pps.first().and_then(|set| h264::pps_ids(set)).ok_or("its parameter sets cannot be read")?;
        let references = sets.iter().map(|set| set.references).min().unwrap_or(0).max(1);
        let buffering = sets.iter().filter_map(|set| set.buffering).min().unwrap_or(references);
        Ok(Self {
            profile,
            level: sets.iter().map(|set| set.level).max().unwrap_or(first.level),
            cabac: pps.2,
            references,
            buffering: buffering.max(references),
            size: first.size,
            reorder: sets.iter().map(|set| set.reorder).min().flatten().map(|depth| depth as usize),
            tick: first.tick.and_then(|(units, scale, fixed)| {
                (units > 0 && scale > 1 && scale.is_multiple_of(2)).then_some((units, scale / 2, fixed))
            }),
        })
    }

    /// See [`super::SmartLayout::settings`].
    pub fn settings(
        &self,
        record: &AvcRecord,
        shape: &StreamShape,
        crf: u8,
        preset: &str,
    ) -> Result<TimedSettings, String> {
        let mut settings = TimedSettings::of(shape, crf, preset);
        let mut matched = self.matched();
        let taken: Vec<u32> = record.sps.iter().filter_map(|set| Sps::parse(set)).map(|set| set.id).collect();
        for &id in &taken {
            settings.matched = Some(Matched { sps_id: id as u8, ..matched.clone() });
            let (sps, pps) = own_sets(&settings)?;
            if record.sps.contains(&sps) && record.pps.contains(&pps) {
                return Ok(settings);
            }
        }
        let pictures: Vec<u32> = record.pps.iter().filter_map(|set| h264::pps_ids(set)).map(|ids| ids.0).collect();
        let free = (0..NUMBERS).find(|id| !taken.contains(id) && !pictures.contains(id));
        matched.sps_id = free.ok_or("all numbers of parameter sets are taken")? as u8;
        for reorder in (0..=matched.reorder).rev() {
            for references in [None, Some(self.references.min(16) as u8)] {
                settings.matched = Some(Matched { reorder, references, ..matched.clone() });
                let (sps, _) = own_sets(&settings)?;
                let sps = Sps::parse(&sps).ok_or("x264's parameter sets cannot be read")?;
                let fits = sps.references <= self.references && sps.buffering.unwrap_or(0) <= self.buffering;
                if fits && sps.reorder.unwrap_or(0) <= u32::from(matched.reorder) {
                    return Ok(settings);
                }
            }
        }
        Err(format!("x264 needs more than {} reference frames", self.references))
    }

    fn matched(&self) -> Matched {
        let reorder = if self.profile == "baseline" { 0 } else { self.reorder.unwrap_or(0).min(2) };
        Matched {
            profile: self.profile,
            level: self.level,
            sps_id: 0,
            references: None,
            reorder: reorder as u8,
            cabac: self.cabac,
            tick: self.tick.map(|(num, den, _)| (num as i32, den as i32)),
            fixed_rate: self.tick.is_some_and(|(_, _, fixed)| fixed),
        }
    }
}

/// The parameter sets x264 gives with some settings.
fn own_sets(settings: &TimedSettings) -> Result<(Vec<u8>, Vec<u8>), String> {
    let sets = settings.parameter_sets().map_err(|error| error.to_string())?;
    let find = |kind| sets.iter().find(|set| h264::kind(set) == kind).cloned();
    find(h264::SPS).zip(find(h264::PPS)).ok_or_else(|| "x264 gave no parameter sets".to_owned())
}
