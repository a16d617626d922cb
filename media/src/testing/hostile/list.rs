//! The files.

use super::mp4::{Film, boxed, full, numbers, track, with_handler};
use super::{Answer, HostileFile, avi, matroska, mp4, mpegts};

/// A claim of the headers that is checked before libav opens the file.
const CLAIM: Answer = Answer::Refused(&["unreadable"]);
/// No container that is read.
const NO_VIDEO: Answer = Answer::Refused(&["not_a_video"]);
/// A codec that is not on the list.
const CODEC: Answer = Answer::Refused(&["unsupported_codec"]);

/// Every file of the list, in the order of the containers.
pub fn files() -> Vec<HostileFile> {
    let groups = [mp4_tables(), mp4_structure(), films(), matroska_files(), avi_files(), streams(), references()];
    groups.into_iter().flatten().collect()
}

fn file(name: &'static str, what: &'static str, answer: Answer, bytes: Vec<u8>) -> HostileFile {
    HostileFile { name, what, bytes, answer }
}

/// A table of `entries` that holds two.
fn claims(name: &[u8; 4], entries: u32) -> Vec<u8> {
    mp4::file(&track(&full(name, &[numbers(&[entries]), vec![0; 40]].concat())))
}

fn mp4_tables() -> Vec<HostileFile> {
    let sizes = |size: u32, samples: u32| full(b"stsz", &numbers(&[size, samples]));
    let edits = [vec![2_000], [1, 0, 0x1_0000].repeat(2_000)].concat();
    let repeated =
        [full(b"stsz", &numbers(&[vec![0, 50_000], vec![1; 50_000]].concat())), full(b"elst", &numbers(&edits))];
    let sound = [
        sizes(4, u32::MAX),
        full(b"stts", &numbers(&[1, u32::MAX, 1])),
        full(b"stsc", &numbers(&[1, 1, u32::MAX, 1])),
        full(b"stco", &numbers(&[1, 40])),
    ];
    let run = |flags: u32, samples: u32| {
        let fragment = boxed(b"traf", &boxed(b"trun", &numbers(&[flags, samples, 0, 0])));
        [mp4::file(b""), boxed(b"moof", &fragment)].concat()
    };
    vec![
        file(
            "one-byte-samples.mp4",
            "100 million samples of one size",
            CLAIM,
            mp4::file(&track(&sizes(1, 100_000_000))),
        ),
        file("most-samples.mp4", "2^32 - 1 samples of one size", CLAIM, mp4::file(&track(&sizes(9, u32::MAX)))),
        file(
            "sample-sizes.mp4",
            "a billion sample sizes that are not there",
            CLAIM,
            mp4::file(&track(&sizes(0, 1 << 30))),
        ),
        file(
            "compact-sizes.mp4",
            "a billion compact sample sizes that are not there",
            CLAIM,
            mp4::file(&track(&full(b"stz2", &numbers(&[8, 1 << 30])))),
        ),
        file("durations.mp4", "a billion durations that are not there", CLAIM, claims(b"stts", 1 << 30)),
        file("offsets-of-time.mp4", "a billion composition offsets", CLAIM, claims(b"ctts", 1 << 30)),
        file("chunk-runs.mp4", "a billion runs of chunks", CLAIM, claims(b"stsc", 1 << 30)),
        file("chunks.mp4", "a billion chunks", CLAIM, claims(b"stco", 1 << 30)),
        file("wide-chunks.mp4", "half a billion chunks at 64-bit places", CLAIM, claims(b"co64", 1 << 29)),
        file("key-frames.mp4", "a billion key frames", CLAIM, claims(b"stss", 1 << 30)),
        file("edit-list.mp4", "a billion edits", CLAIM, claims(b"elst", 1 << 30)),
        file("edits.mp4", "2000 edits that repeat 50000 frames each", CLAIM, mp4::file(&track(&repeated.concat()))),
        file(
            "chunk-of-sound.mp4",
            "one chunk of 2^32 samples",
            CLAIM,
            mp4::file(&with_handler(b"soun", &sound.concat())),
        ),
        file("fragment.mp4", "a fragment of 2^31 samples without sizes", CLAIM, run(0, 1 << 31)),
        file("fragment-sizes.mp4", "a fragment of 2^28 samples with sizes", CLAIM, run(0x200, 1 << 28)),
        file("keys.mp4", "a billion keys of metadata", CLAIM, {
            mp4::file(&boxed(b"udta", &full(b"keys", &[numbers(&[1 << 30]), vec![0; 40]].concat())))
        }),
    ]
}

fn mp4_structure() -> Vec<HostileFile> {
    let external = |kind: &[u8; 4]| {
        let entry = boxed(kind, &[&[0; 4], &b"file:///etc/passwd\0"[..], &[0; 200]].concat());
        mp4::file(&track(&full(b"dref", &[numbers(&[1]), entry].concat())))
    };
    let nested = (0..500).fold(Vec::new(), |inside, _| boxed(b"udta", &inside));
    let hidden_table = boxed(b"stsd", &[&[0; 16][..], &full(b"stsz", &numbers(&[1, 1 << 30]))].concat());
    let hidden_index = [full(b"mvhd", &[0; 96]), track(&full(b"stsz", &numbers(&[1, 1 << 30])))].concat();
    let head = boxed(b"ftyp", b"isom\0\0\x02\0isomiso2");
    vec![
        file("tracks.mp4", "65 tracks", CLAIM, mp4::file(&track(b"").repeat(65))),
        file("many-tracks.mp4", "5000 tracks", CLAIM, mp4::file(&track(b"").repeat(5_000))),
        file("nested.mp4", "boxes in boxes, 500 deep", CLAIM, mp4::file(&nested)),
        file("compressed-index.mov", "a compressed index", CLAIM, mp4::file(&boxed(b"cmov", &[0; 64]))),
        file("address.mov", "data at an address", CLAIM, external(b"url ")),
        file("alias.mov", "data in another file", CLAIM, external(b"alis")),
        file("set-up.mp4", "2 MiB of codec set-up data", CLAIM, mp4::file(&track(&boxed(b"stsd", &vec![0; 2 << 20])))),
        file("hidden-table.mp4", "a table in a codec's description", CLAIM, mp4::file(&track(&hidden_table))),
        file("hidden-index.mp4", "an index in free space", CLAIM, [&head[..], &boxed(b"free", &hidden_index)].concat()),
        file("tagged.mp4", "an ID3 tag before the header", CLAIM, {
            [&b"ID3\x04\0\0\0\0\0\0"[..], &mp4::file(&track(b""))].concat()
        }),
    ]
}

/// A picture that claims 16384x16384 pixels: its head and nothing else.
fn png() -> Vec<u8> {
    let size = 16_384u32.to_be_bytes();
    let head = [&b"IHDR"[..], &size, &size, &[8, 2, 0, 0, 0], &[0; 4]].concat();
    [&b"\x89PNG\r\n\x1a\n\0\0\0\x0d"[..], &head, b"\0\0\0\0IEND\xae\x42\x60\x82"].concat()
}

/// A picture that claims 16384x16384 pixels in its head, followed by a start of scan.
fn jpeg() -> Vec<u8> {
    let frame = [0xff, 0xc0, 0, 17, 8, 0x40, 0, 0x40, 0, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
    let scan = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0];
    [&[0xff, 0xd8][..], &frame, &scan, &[0; 64], &[0xff, 0xd9]].concat()
}

fn films() -> Vec<HostileFile> {
    let film =
        |codec: &[u8; 4], set_up: Vec<u8>, sample: Vec<u8>| Film { codec, set_up, samples: vec![sample; 4] }.bytes();
    // Set-up data of H.264 without parameter sets, units behind lengths of four bytes.
    let avc = || boxed(b"avcC", &[1, 66, 0, 30, 0xff, 0xe0, 0]);
    let hevc = || {
        let mut data = [0u8; 23];
        (data[0], data[21]) = (1, 0x03);
        boxed(b"hvcC", &data)
    };
    let flood = |unit: &[u8]| [&(unit.len() as u32).to_be_bytes()[..], unit].concat().repeat(100_000);
    vec![
        file("png-track.mov", "pictures in PNG that claim 805 MB", CODEC, film(b"png ", Vec::new(), png())),
        file("tiff-track.mov", "pictures in TIFF", CODEC, film(b"tiff", Vec::new(), vec![0; 64])),
        file("jpeg2000-track.mov", "pictures in JPEG 2000", CODEC, film(b"mjp2", Vec::new(), vec![0; 64])),
        file("cinepak-track.mov", "pictures in Cinepak", CODEC, film(b"cvid", Vec::new(), vec![0; 64])),
        file(
            "jpeg-track.mov",
            "pictures in JPEG that outgrow their header",
            Answer::Refused(&["undecodable", "too_large"]),
            film(b"jpeg", Vec::new(), jpeg()),
        ),
        file("sei-flood.mp4", "packets of 100000 units of H.264", CLAIM, film(b"avc1", avc(), flood(&[6]))),
        file("sei-flood-hevc.mp4", "packets of 100000 units of HEVC", CLAIM, film(b"hvc1", hevc(), flood(&[0x4e, 1]))),
    ]
}

fn matroska_files() -> Vec<HostileFile> {
    use matroska::{claiming, element, file as mkv};
    const TRACKS: u64 = 0x1654_ae6b;
    const TRACK: u64 = 0xae;
    const PRIVATE: u64 = 0x63a2;
    let tracks = |inside: &[u8]| mkv(&element(TRACKS, inside));
    let nest = |id: u64| (0..100).fold(Vec::new(), |inside, _| element(id, &inside));
    let block = |body: &[u8]| mkv(&element(0x1f43_b675, &[element(0xa3, body), element(0xec, &[0; 16])].concat()));
    vec![
        file("tracks.mkv", "65 tracks", CLAIM, tracks(&element(TRACK, &[]).repeat(65))),
        file("many-tracks.webm", "5000 tracks", CLAIM, tracks(&element(TRACK, &[]).repeat(5_000))),
        file("set-up.mkv", "2 MiB of codec set-up data", CLAIM, {
            tracks(&element(TRACK, &element(PRIVATE, &vec![0; 2 << 20])))
        }),
        file("claimed-set-up.mkv", "200 MB of set-up data that are not there", CLAIM, {
            tracks(&element(TRACK, &claiming(PRIVATE, 200_000_000, &[0; 9])))
        }),
        file("claimed-track.mkv", "a track of 2^40 bytes", CLAIM, tracks(&claiming(TRACK, 1 << 40, &[0; 9]))),
        file("nested-tags.mkv", "tags in tags, 100 deep", CLAIM, {
            mkv(&element(0x1254_c367, &element(0x7373, &nest(0x67c8))))
        }),
        file("nested-chapters.mkv", "chapters in chapters, 100 deep", CLAIM, {
            mkv(&element(0x1043_a770, &element(0x45b9, &nest(0xb6))))
        }),
        file("laces.mkv", "256 frames in two bytes", CLAIM, block(&[0x81, 0, 0, 0x02, 255, 0, 0])),
    ]
}

fn avi_files() -> Vec<HostileFile> {
    let itself = avi::index(0, 4, 1, &[24u64.to_le_bytes(), [0; 8]].concat());
    vec![
        file("tracks.avi", "65 streams", CLAIM, avi::file(&avi::stream(b"vids", 10).repeat(65))),
        file("frames.avi", "4 billion frames", CLAIM, avi::file(&avi::stream(b"vids", u32::MAX))),
        file("set-up.avi", "2 MiB of codec set-up data", CLAIM, avi::file(&avi::chunk(b"strf", &vec![0; 2 << 20]))),
        file("index.avi", "an index of 4 billion entries", CLAIM, avi::file(&avi::index(1, 2, u32::MAX, &[0; 16]))),
        file("index-of-itself.avi", "an index of indexes that names itself", CLAIM, avi::file(&itself)),
    ]
}

fn streams() -> Vec<HostileFile> {
    let programs: Vec<_> = (0..70).map(|n| mpegts::programs(&[(n + 1, 0x100 + n)])).collect();
    let tracks = (0..3).flat_map(|n| {
        let pids: Vec<u16> = (0..30).map(|id| 0x400 + n * 30 + id).collect();
        [mpegts::programs(&[(n + 1, 0x20 + n)]), mpegts::tracks(0x20 + n, &pids)]
    });
    let spread: Vec<_> = (0x20..0x1f00).map(mpegts::padding).collect();
    vec![
        file("programs.ts", "70 programs", CLAIM, programs.concat()),
        file("tracks.ts", "90 tracks", CLAIM, tracks.collect::<Vec<_>>().concat().repeat(20)),
        file(
            "identifiers.ts",
            "7904 packet identifiers",
            Answer::Refused(&["unreadable", "not_a_video"]),
            spread.concat(),
        ),
        file("flood.h264", "a bare stream of a million tiny units", Answer::Either, {
            let head = [&b"\0\0\x01\x67\x42\x00\x1e\xab\x40\x50\x1e\xd0"[..], b"\0\0\x01\x68\xce\x38\x80"].concat();
            [head, b"\0\0\x01\x65\x88\x84".to_vec(), b"\0\0\x01\x06".repeat(1_000_000)].concat()
        }),
        file("growing.mjpeg", "bare JPEG pictures that claim 16384x16384", Answer::Either, jpeg().repeat(50)),
    ]
}

fn references() -> Vec<HostileFile> {
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n";
    let manifest = "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period>\
                    <AdaptationSet><BaseURL>file:///etc/passwd</BaseURL></AdaptationSet></Period></MPD>";
    let session = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n";
    vec![
        file("playlist.mp4", "a playlist of HLS", NO_VIDEO, playlist.into()),
        file("concat.mp4", "a list of files", NO_VIDEO, "ffconcat version 1.0\nfile /etc/passwd\n".into()),
        file("manifest.mp4", "a manifest of DASH", NO_VIDEO, manifest.into()),
        file("session.mp4", "a description of a network session", NO_VIDEO, session.into()),
        file("still.mp4", "a PNG that claims 805 MB", NO_VIDEO, png()),
    ]
}
