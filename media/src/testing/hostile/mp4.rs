//! MP4 files byte by byte.

/// A box.
pub fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = 8 + body.len() as u32;
    [&size.to_be_bytes()[..], name, body].concat()
}

/// A box with a version and flags, both 0.
pub fn full(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    boxed(name, &[&[0; 4], body].concat())
}

/// Big-endian numbers.
pub fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A track of pictures with these sample tables.
pub fn track(tables: &[u8]) -> Vec<u8> {
    with_handler(b"vide", tables)
}

/// A track of `kind` (`vide`, `soun`) with these sample tables.
pub fn with_handler(kind: &[u8; 4], tables: &[u8]) -> Vec<u8> {
    let handler = full(b"hdlr", &[&[0; 4], &kind[..], &[0; 13]].concat());
    boxed(b"trak", &boxed(b"mdia", &[handler, boxed(b"minf", &boxed(b"stbl", tables))].concat()))
}

/// A file whose index holds `tracks`.
pub fn file(tracks: &[u8]) -> Vec<u8> {
    [boxed(b"ftyp", b"isom\0\0\x02\0isomiso2"), boxed(b"moov", tracks)].concat()
}

/// A whole film of one picture track: each sample is a frame of 64x64 pixels at 25 a second.
pub struct Film<'a> {
    /// Name of the codec in the sample description.
    pub codec: &'a [u8; 4],
    /// Boxes of the sample description.
    pub set_up: Vec<u8>,
    pub samples: Vec<Vec<u8>>,
}

impl Film<'_> {
    /// The bytes of the file, with its index behind its data.
    pub fn bytes(&self) -> Vec<u8> {
        let head = boxed(b"ftyp", b"isom\0\0\x02\0isomiso2");
        let count = self.samples.len() as u32;
        let sizes: Vec<u32> = self.samples.iter().map(|sample| sample.len() as u32).collect();
        let mut entry = [0u8; 78];
        entry[7] = 1;
        for (place, value) in [(24, 64u16), (26, 64), (40, 1), (74, 24), (76, 0xffff)] {
            entry[place..place + 2].copy_from_slice(&value.to_be_bytes());
        }
        let description = boxed(self.codec, &[&entry[..], &self.set_up].concat());
        let tables = [
            full(b"stsd", &[numbers(&[1]), description].concat()),
            full(b"stts", &numbers(&[1, count, 512])),
            full(b"stsc", &numbers(&[1, 1, count, 1])),
            full(b"stsz", &numbers(&[&[0, count], &sizes[..]].concat())),
            full(b"stco", &numbers(&[1, head.len() as u32 + 8])),
        ];
        let media_header = full(b"mdhd", &numbers(&[0, 0, 12_800, 512 * count, 0x55c4_0000]));
        let reference = full(b"dref", &[numbers(&[1]), boxed(b"url ", &[0, 0, 0, 1])].concat());
        let information = [boxed(b"dinf", &reference), boxed(b"stbl", &tables.concat())].concat();
        let handler = full(b"hdlr", &[&[0; 4], &b"vide"[..], &[0; 13]].concat());
        let media = boxed(b"mdia", &[media_header, handler, boxed(b"minf", &information)].concat());
        let mut track_header = numbers(&[0, 0, 1, 0, 512 * count]);
        track_header.resize(80, 0);
        let track = boxed(b"trak", &[full(b"tkhd", &track_header), media].concat());
        let mut movie_header = numbers(&[0, 0, 12_800, 512 * count, 0x1_0000]);
        movie_header.resize(96, 0);
        let index = boxed(b"moov", &[full(b"mvhd", &movie_header), track].concat());
        [head, boxed(b"mdat", &self.samples.concat()), index].concat()
    }
}
