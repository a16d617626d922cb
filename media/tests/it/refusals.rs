//! What is no video is refused with a code; nothing panics.

use std::path::Path;

use crate::common::{ffmpeg, rate, text};
use media::testing::StampedVideo;
use media::{MediaError, build_index, probe, read_image, scan, write_png};

fn code(path: &Path) -> &'static str {
    let by_scan = scan(path).map(|_| ());
    let by_index = build_index(path).map(|_| ());
    assert!(by_scan.is_err() && by_index.is_err(), "{}", path.display());
    match probe(path) {
        Err(MediaError::Refused { code, detail }) => {
            assert!(!detail.is_empty());
            code
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn files_that_are_no_videos() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    assert_eq!(code(&file("empty.mp4", b"")), "empty_file");
    assert_eq!(code(&file("text.mp4", b"Nothing but words, line after line.\n".repeat(200).as_slice())), "not_a_video");
    assert_eq!(code(&file("text.txt", b"Nothing but words.\n")), "not_a_video");
    assert_eq!(
        code(&file("noise.bin", &(0..50_000u32).map(|i| ((i * i) >> 7) as u8).collect::<Vec<_>>())),
        "not_a_video"
    );
    // A playlist must not make this process open what it names.
    let playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n";
    assert_eq!(code(&file("list.m3u8", playlist)), "not_a_video");
    assert_eq!(code(&file("concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n")), "not_a_video");
    assert!(matches!(probe(&folder.path().join("missing.mp4")), Err(MediaError::Io { .. })));
}

#[test]
fn files_without_a_picture_that_moves() {
    let folder = tempfile::tempdir().unwrap();
    let audio = folder.path().join("audio.m4a");
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", text(&audio)]);
    assert_eq!(code(&audio), "no_video_stream");
    let image = folder.path().join("cover.png");
    write_png(&image, &edits::RgbImage::new(64, 64)).unwrap();
    assert_eq!(code(&image), "not_a_video");
    let cover = folder.path().join("cover.mp4");
    ffmpeg(&[
        "-i",
        text(&audio),
        "-i",
        text(&image),
        "-map",
        "0",
        "-map",
        "1",
        "-c:a",
        "copy",
        "-c:v",
        "png",
        "-disposition:v:0",
        "attached_pic",
        text(&cover),
    ]);
    assert_eq!(code(&cover), "no_video_stream");
}

#[test]
fn truncated_and_oversized_videos() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.mp4");
    StampedVideo::new(256, 144, rate(25, 1), 100).write(&whole).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let cut = folder.path().join("cut.mp4");
    // The table of contents comes last and is gone.
    std::fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
    assert_eq!(code(&cut), "not_a_video");

    // With the table of contents first, what is there can be used, with a warning.
    let streamed = folder.path().join("streamed.mp4");
    ffmpeg(&["-i", text(&whole), "-c", "copy", "-movflags", "+faststart", text(&streamed)]);
    let bytes = std::fs::read(&streamed).unwrap();
    let tail = folder.path().join("tail.mp4");
    std::fs::write(&tail, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let report = scan(&tail).unwrap();
    assert!((30..100).contains(&report.frames), "{}", report.frames);
    assert!(!report.warnings.is_empty());

    let wide = folder.path().join("wide.mkv");
    ffmpeg(&["-f", "lavfi", "-i", "color=s=8704x64:r=1:d=1", "-c:v", "ffv1", text(&wide)]);
    assert_eq!(code(&wide), "too_large");
}

/// Cuts and flips all over a file: whatever comes back, it comes back.
#[test]
fn mangled_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 12_345u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for name in ["a.mp4", "a.mkv", "a.ts", "a.avi"] {
        let whole = folder.path().join(name);
        StampedVideo::new(64, 64, rate(25, 1), 30).write(&whole).unwrap();
        let bytes = std::fs::read(&whole).unwrap();
        for _ in 0..15 {
            let mut mangled = bytes.clone();
            for _ in 0..1 + random() % 20 {
                let at = random() % mangled.len();
                mangled[at] = random() as u8;
            }
            mangled.truncate(1 + random() % bytes.len() + bytes.len() / 3);
            let path = folder.path().join(format!("mangled-{name}"));
            std::fs::write(&path, &mangled).unwrap();
            // Either answer is right; a panic or a hang is not.
            let _ = scan(&path);
        }
    }
}

#[test]
fn images_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = edits::RgbImage::new(37, 21);
    image.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 7 % 251) as u8);
    let path = folder.path().join("image.png");
    write_png(&path, &image).unwrap();
    assert_eq!(read_image(&path).unwrap(), image);
    assert!(matches!(read_image(&folder.path().join("missing.png")), Err(MediaError::Io { .. })));
    let text = folder.path().join("text.png");
    std::fs::write(&text, "words").unwrap();
    assert!(matches!(read_image(&text), Err(MediaError::Refused { code: "not_an_image", .. })));
}
