//! MP4 and QuickTime (ISO/IEC 14496-12): boxes, sample tables and fragments.
//!
//! libav matches boxes by name at any depth and takes tables for the latest track, so the walk does the same.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::bytes::{Bytes, Result, Stop};
use super::{MAX_EXTRADATA, MAX_FRAMES, MAX_TRACKS};

/// Levels of boxes; a sample table is on the fifth, libav stops at the tenth.
const MAX_DEPTH: u32 = 10;

/// Entries of the demuxer's index that edits may add up to: each edit may repeat all frames of its track.
const MAX_EDITED: u64 = 40_000_000;

/// Bytes of a `meta` box in which its handler is searched for.
const META_SEARCH: u64 = 1024;

/// Samples of uncompressed sound that libav makes one index entry of, where the track does not say otherwise.
const SOUND_SAMPLES: u64 = 1024;

/// Samples of a fragment that the end of the file may cut off: an interrupted recording.
const CUT_SAMPLES: u64 = 100_000;

/// Tables whose name must not be found inside a sample description, where libav would read them as the track's.
const TABLES: [&[u8; 4]; 11] =
    [b"stsz", b"stz2", b"stts", b"ctts", b"stsc", b"stco", b"co64", b"stss", b"elst", b"trun", b"cmov"];

/// Boxes that hold nothing but boxes.
const CONTAINERS: [&[u8; 4]; 18] = [
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"mvex", b"moof", b"traf", b"tref", b"udta",
    b"ilst", b"wave", b"sinf", b"schi", b"wide", b"gmhd",
];

/// Checks all boxes of a file, fragments too, but not the media data.
pub(super) fn check(bytes: &mut Bytes<'_, impl Read + Seek>) -> Result<()> {
    let size = bytes.size();
    let mut walk = Walk { bytes, tracks: 0, track: None, fragments: HashMap::new(), fragment: 0, unsized_samples: 0 };
    walk.boxes(0, size, 0)?;
    walk.end_of_track()
}

struct Walk<'a, 'b, R> {
    bytes: &'a mut Bytes<'b, R>,
    tracks: u64,
    track: Option<Track>,
    /// Samples in fragments, by track id.
    fragments: HashMap<u32, u64>,
    /// Track id of the fragment that is read.
    fragment: u32,
    /// Samples in fragments that have no size of their own: no byte of the table stands for them.
    unsized_samples: u64,
}

/// What the tables of a track claim.
#[derive(Default)]
struct Track {
    is_sound: bool,
    samples: u64,
    /// Size of every sample; 0: a table has them.
    sample_size: u32,
    /// Entries of the table of durations, and the duration of the first.
    durations: (u64, u32),
    chunks: u64,
    /// Where the runs of chunks lie, and how many there are.
    runs: Option<(u64, u64)>,
    /// Samples of a packet of sound, as QuickTime's second version of sound descriptions says.
    samples_per_packet: u64,
    edits: u64,
    refers_elsewhere: bool,
}

impl<R: Read + Seek> Walk<'_, '_, R> {
    fn boxes(&mut self, mut at: u64, end: u64, depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return Stop::refused(format!("its boxes are nested more than {MAX_DEPTH} levels deep"));
        }
        while end.saturating_sub(at) >= 8 {
            self.bytes.step()?;
            let Some([s0, s1, s2, s3, name @ ..]) = self.bytes.get::<8>(at)? else { return Ok(()) };
            let mut body = at + 8;
            let claimed = match u32::from_be_bytes([s0, s1, s2, s3]) {
                0 => end - at,
                1 => {
                    body += 8;
                    self.bytes.get(at + 8)?.map_or(0, u64::from_be_bytes)
                }
                size => u64::from(size),
            };
            if claimed < body - at {
                // No box, so whatever follows is not of this container.
                return Ok(());
            }
            let until = at.saturating_add(claimed).min(end);
            self.one(&name, body, until, depth)?;
            at = until;
        }
        Ok(())
    }

    fn one(&mut self, name: &[u8; 4], body: u64, end: u64, depth: u32) -> Result<()> {
        match name {
            b"trak" => {
                self.end_of_track()?;
                self.tracks += 1;
                if self.tracks > MAX_TRACKS {
                    return Stop::refused(format!("the file has more than {MAX_TRACKS} tracks"));
                }
                self.track = Some(Track::default());
            }
            b"cmov" => return Stop::refused("its index is compressed, which is not supported"),
            b"meta" => {
                let start = self.meta(body, end)?;
                return self.boxes(start, end, depth + 1);
            }
            b"keys" => {
                self.table(name, body, end, 8)?;
            }
            b"tfhd" => self.fragment = self.bytes.u32(body + 4)?.unwrap_or(0),
            b"trun" => self.fragment_run(body, end)?,
            _ => self.of_track(name, body, end)?,
        }
        if CONTAINERS.contains(&name) || self.is_hidden_index(name, body)? {
            return self.boxes(body, end, depth + 1);
        }
        Ok(())
    }

    /// Whether libav takes a box of free space for the index: when an index's header is in it.
    fn is_hidden_index(&mut self, name: &[u8; 4], body: u64) -> Result<bool> {
        let header = self.bytes.get::<4>(body + 4)?;
        let free = [b"free", b"hoov"].contains(&name);
        Ok(free && header.is_some_and(|header| [*b"mvhd", *b"cmov"].contains(&header)))
    }

    /// Where the boxes within a `meta` box begin: with its handler, before which QuickTime and MP4 differ.
    fn meta(&mut self, body: u64, end: u64) -> Result<u64> {
        let last = end.min(body.saturating_add(META_SEARCH));
        let mut at = body;
        while at + 8 <= last {
            if self.bytes.get::<4>(at + 4)? == Some(*b"hdlr") {
                return Ok(at);
            }
            at += 4;
        }
        Ok(end)
    }

    fn of_track(&mut self, name: &[u8; 4], body: u64, end: u64) -> Result<()> {
        let Some(mut track) = self.track.take() else { return Ok(()) };
        match name {
            b"hdlr" => {
                if let Some(kind) = self.bytes.get::<4>(body + 8)? {
                    // A handler of data ("dhlr") may follow that of media.
                    track.is_sound |= kind == *b"soun";
                }
            }
            b"stsd" => self.descriptions(&mut track, body, end)?,
            b"stsz" | b"stz2" => {
                let (samples, size) = self.sizes(name, body, end)?;
                track.samples = track.samples.max(samples);
                track.sample_size = size;
            }
            b"stts" => {
                let entries = self.table(name, body, end, 8)?;
                track.durations = (entries, self.bytes.u32(body + 12)?.unwrap_or(0));
            }
            b"ctts" => {
                self.table(name, body, end, 8)?;
            }
            b"stss" | b"stps" => {
                self.table(name, body, end, 4)?;
            }
            b"stco" => track.chunks = self.table(name, body, end, 4)?,
            b"co64" => track.chunks = self.table(name, body, end, 8)?,
            b"stsc" => track.runs = Some((body + 8, self.table(name, body, end, 12)?)),
            b"elst" => {
                let wide = self.bytes.get::<1>(body)? == Some([1]);
                track.edits = self.table(name, body, end, if wide { 20 } else { 12 })?;
            }
            b"dref" => track.refers_elsewhere |= self.refers_elsewhere(body, end)?,
            _ => {}
        }
        self.track = Some(track);
        Ok(())
    }

    /// The number of entries of a table of fixed entries, which must all be inside its box.
    fn table(&mut self, name: &[u8; 4], body: u64, end: u64, entry: u64) -> Result<u64> {
        let entries = match self.bytes.u32(body + 4)? {
            Some(entries) if body + 8 <= end => u64::from(entries),
            _ => return short(name, 0, end.saturating_sub(body)),
        };
        if entries > (end - body - 8) / entry {
            return short(name, entries, end - body);
        }
        Ok(entries)
    }

    /// How many samples there are, and the size of each where all have one.
    fn sizes(&mut self, name: &[u8; 4], body: u64, end: u64) -> Result<(u64, u32)> {
        let (Some(size), Some(samples), true) =
            (self.bytes.u32(body + 4)?, self.bytes.u32(body + 8)?, body + 12 <= end)
        else {
            return short(name, 0, end.saturating_sub(body));
        };
        let samples = u64::from(samples);
        let compact = name == b"stz2";
        if !compact && size != 0 {
            return Ok((samples, size));
        }
        let bits = if compact { u64::from(size & 0xff) } else { 32 };
        if samples.saturating_mul(bits).div_ceil(8) > end - body - 12 {
            return short(name, samples, end - body);
        }
        Ok((samples, 0))
    }

    fn descriptions(&mut self, track: &mut Track, body: u64, end: u64) -> Result<()> {
        let size = end.saturating_sub(body);
        if size > MAX_EXTRADATA {
            return Stop::refused(format!(
                "a track's codec description has {size} bytes; {MAX_EXTRADATA} are the most"
            ));
        }
        // Of the first entry: 8 bytes of box, 8 of reference, then the version.
        let entry = body + 8;
        if self.bytes.get(entry + 16)?.map(u16::from_be_bytes) == Some(1) {
            track.samples_per_packet = u64::from(self.bytes.u32(entry + 36)?.unwrap_or(0));
        }
        let mut at = entry;
        while at + 4 <= end {
            let Some(chunk) = self.bytes.get::<4>(at)? else { break };
            if TABLES.contains(&&chunk) {
                return Stop::refused("a sample table hides in a track's codec description");
            }
            at += 1;
        }
        Ok(())
    }

    /// Whether the track's data lies in another file, by name.
    fn refers_elsewhere(&mut self, body: u64, end: u64) -> Result<bool> {
        let mut at = body + 8;
        while at + 12 <= end {
            self.bytes.step()?;
            let (Some(size), Some(kind), Some(flags)) =
                (self.bytes.u32(at)?, self.bytes.get::<4>(at + 4)?, self.bytes.u32(at + 8)?)
            else {
                break;
            };
            let by_name = [*b"alis", *b"url ", *b"urn ", *b"rsrc"].contains(&kind) && size > 13;
            if by_name && flags & 1 == 0 {
                return Ok(true);
            }
            at += u64::from(size.max(12));
        }
        Ok(false)
    }

    fn fragment_run(&mut self, body: u64, end: u64) -> Result<()> {
        let (Some(flags), Some(samples), true) = (self.bytes.u32(body)?, self.bytes.u32(body + 4)?, body + 8 <= end)
        else {
            return short(b"trun", 0, end.saturating_sub(body));
        };
        let samples = u64::from(samples);
        let has = |bit: u32| u64::from(flags & bit != 0);
        let head = 8 + 4 * (has(0x1) + has(0x4));
        let entry = 4 * (has(0x100) + has(0x200) + has(0x400) + has(0x800));
        let is_cut = end == self.bytes.size() && samples <= CUT_SAMPLES;
        if samples * entry + head > end - body && !is_cut {
            return short(b"trun", samples, end - body);
        }
        if entry == 0 {
            self.unsized_samples += samples;
            holds(self.unsized_samples, self.bytes.size())?;
        }
        let of_track = self.fragments.entry(self.fragment).or_default();
        *of_track += samples;
        let of_track = *of_track;
        if self.fragments.len() as u64 > MAX_TRACKS {
            return Stop::refused(format!("the file has fragments of more than {MAX_TRACKS} tracks"));
        }
        few_enough(of_track)
    }

    /// Weighs up what the tables of the latest track claim together.
    fn end_of_track(&mut self) -> Result<()> {
        let Some(track) = self.track.take() else { return Ok(()) };
        if track.refers_elsewhere {
            return Stop::refused("the data of a track is in another file");
        }
        let in_chunks = track.is_sound && track.durations == (1, 1);
        let entries = if in_chunks { self.entries_of_sound(&track)? } else { track.samples };
        few_enough(entries)?;
        if in_chunks || track.sample_size > 0 {
            holds(entries, self.bytes.size())?;
        }
        if track.edits.saturating_mul(entries) > MAX_EDITED {
            return Stop::refused(format!(
                "{} edits of {entries} frames are more than can be indexed ({MAX_EDITED} together)",
                track.edits
            ));
        }
        Ok(())
    }

    /// Index entries of sound without packets of its own: each chunk is split into pieces of some samples.
    fn entries_of_sound(&mut self, track: &Track) -> Result<u64> {
        let piece = match track.samples_per_packet {
            0 | 1 => SOUND_SAMPLES,
            few @ 2..160 => SOUND_SAMPLES / few * few,
            many => many,
        };
        let Some((start, runs)) = track.runs else { return Ok(0) };
        let mut entries = 0u64;
        for run in 0..runs {
            self.bytes.step()?;
            let at = start + run * 12;
            let first = u64::from(self.bytes.u32(at)?.unwrap_or(1));
            let samples = u64::from(self.bytes.u32(at + 4)?.unwrap_or(0));
            let next = if run + 1 < runs {
                u64::from(self.bytes.u32(at + 12)?.unwrap_or(1)).min(track.chunks + 1)
            } else {
                track.chunks + 1
            };
            entries = entries.saturating_add(next.saturating_sub(first).saturating_mul(samples.div_ceil(piece)));
        }
        Ok(entries)
    }
}

fn few_enough(frames: u64) -> Result<()> {
    if frames > MAX_FRAMES {
        return Stop::refused(format!("a track claims {frames} frames; {MAX_FRAMES} are the most"));
    }
    Ok(())
}

/// A frame has at least one byte.
fn holds(frames: u64, size: u64) -> Result<()> {
    if frames > size {
        return Stop::refused(format!("a track claims {frames} frames, which a file of {size} bytes cannot hold"));
    }
    Ok(())
}

fn short<T>(name: &[u8; 4], entries: u64, bytes: u64) -> Result<T> {
    let name = String::from_utf8_lossy(name);
    Stop::refused(format!("the table '{name}' claims {entries} entries, which its {bytes} bytes cannot hold"))
}

#[cfg(test)]
mod tests {
    use super::super::Container;
    use crate::testing::hostile::mp4::{boxed, file, full, numbers, track, with_handler};

    fn refusal(bytes: &[u8]) -> Option<String> {
        super::super::refusal(Container::Mp4, bytes)
    }

    fn sizes(sample_size: u32, samples: u32) -> Vec<u8> {
        full(b"stsz", &numbers(&[sample_size, samples]))
    }

    #[test]
    fn honest_tables_pass() {
        let tables = [
            full(b"stsz", &numbers(&[0, 3, 10, 20, 30])),
            full(b"stts", &numbers(&[1, 3, 512])),
            full(b"stsc", &numbers(&[1, 1, 3, 1])),
            full(b"stco", &numbers(&[1, 40])),
        ]
        .concat();
        assert_eq!(refusal(&file(&track(&tables))), None);
        assert_eq!(refusal(&boxed(b"ftyp", b"isom")), None);
    }

    #[test]
    fn a_table_longer_than_its_box_is_refused() {
        for (name, entry) in [(b"stts", 2), (b"ctts", 2), (b"stss", 1), (b"stco", 1), (b"co64", 2), (b"stsc", 3)] {
            let good = full(name, &numbers(&[&[2u32][..], &vec![1; 2 * entry]].concat()));
            assert_eq!(refusal(&file(&track(&good))), None, "{}", String::from_utf8_lossy(name));
            let bad = full(name, &numbers(&[&[3u32][..], &vec![1; 2 * entry]].concat()));
            let reason = refusal(&file(&track(&bad))).unwrap();
            assert!(reason.contains("claims 3 entries"), "{reason}");
        }
        assert!(refusal(&file(&track(&sizes(0, 1)))).unwrap().contains("'stsz' claims 1 entries"));
        assert!(refusal(&file(&track(&boxed(b"stsz", b"")))).is_some(), "a table without its head");
    }

    #[test]
    fn more_frames_than_bytes_are_refused() {
        assert!(refusal(&file(&track(&sizes(1, 100_000)))).unwrap().contains("cannot hold"));
        assert!(refusal(&file(&track(&sizes(1, 10_000_001)))).unwrap().contains("10000000 are the most"));
        assert_eq!(refusal(&file(&track(&sizes(1, 100)))), None);
    }

    #[test]
    fn sound_without_packets_is_counted_by_its_chunks() {
        // Ten seconds of 48 kHz in one chunk: far more samples than bytes, and few index entries.
        let tables = |samples: u32| {
            let tables = [
                sizes(4, samples),
                full(b"stts", &numbers(&[1, samples, 1])),
                full(b"stsc", &numbers(&[1, 1, samples, 1])),
                full(b"stco", &numbers(&[1, 40])),
            ];
            file(&with_handler(b"soun", &tables.concat()))
        };
        assert_eq!(refusal(&tables(100_000)), None);
        assert!(refusal(&tables(u32::MAX)).unwrap().contains("cannot hold"));
    }

    #[test]
    fn fragments_without_sizes_are_bounded_by_the_file() {
        let run = |flags: u32, samples: u32, rest: &[u32]| {
            let body = [&[flags, samples], rest].concat();
            boxed(b"moof", &boxed(b"traf", &boxed(b"trun", &numbers(&body))))
        };
        assert_eq!(refusal(&run(0, 20, &[])), None);
        assert!(refusal(&run(0, 1_000_000, &[])).unwrap().contains("cannot hold"));
        assert_eq!(refusal(&run(0x200, 2, &[7, 7])), None);
        let followed = |samples| [run(0x200, samples, &[7, 7]), boxed(b"mdat", &[0; 9])].concat();
        assert_eq!(refusal(&followed(2)), None);
        assert!(refusal(&followed(3)).unwrap().contains("'trun' claims 3"));
        assert_eq!(refusal(&run(0x200, 3, &[7, 7])), None, "cut off by the end of the file");
        assert!(refusal(&run(0x200, 1_000_000, &[7, 7])).is_some());
    }

    #[test]
    fn tracks_depth_and_compression_are_bounded() {
        assert_eq!(refusal(&file(&track(b"").repeat(64))), None);
        assert!(refusal(&file(&track(b"").repeat(65))).unwrap().contains("more than 64 tracks"));
        let nested = (0..12).fold(Vec::new(), |inside, _| boxed(b"udta", &inside));
        assert!(refusal(&boxed(b"moov", &nested)).unwrap().contains("levels deep"));
        assert!(refusal(&file(&boxed(b"cmov", b"any"))).unwrap().contains("compressed"));
    }

    #[test]
    fn edits_that_repeat_a_long_track_are_refused() {
        let samples = 50_000u32;
        let edits = |count: u32| {
            let table = [vec![count], [1, 0, 0x1_0000].repeat(count as usize)].concat();
            let sizes = [vec![0, samples], vec![1; samples as usize]].concat();
            file(&track(&[full(b"stsz", &numbers(&sizes)), full(b"elst", &numbers(&table))].concat()))
        };
        assert_eq!(refusal(&edits(100)), None);
        assert!(refusal(&edits(1_000)).unwrap().contains("edits"));
    }

    #[test]
    fn data_in_another_file_is_refused() {
        let reference = |flags: u32| {
            let entry = boxed(b"url ", &[&flags.to_be_bytes()[..], b"file:///etc/passwd\0"].concat());
            file(&track(&full(b"dref", &[&1u32.to_be_bytes()[..], &entry].concat())))
        };
        assert_eq!(refusal(&reference(1)), None);
        assert!(refusal(&reference(0)).unwrap().contains("in another file"));
    }

    #[test]
    fn codec_descriptions_are_bounded_and_hold_no_tables() {
        assert!(refusal(&file(&track(&boxed(b"stsd", &vec![0; 2 << 20])))).unwrap().contains("codec description"));
        let hidden = boxed(b"stsd", &[&[0; 16][..], &sizes(1, 9)].concat());
        assert!(refusal(&file(&track(&hidden))).unwrap().contains("hides"));
    }
}
