//! Sound: channels, rates, codecs, tracks.

use crate::inputs::case::Case;
use crate::inputs::change::Change;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("silent.mp4", "no sound").silent(),
        Case::new("mono.mp4", "mono").sound(&["-c:a", "aac", "-ac", "1"]),
        Case::new("5.1.mp4", "5.1 channels, AAC").sound(&["-c:a", "aac", "-ac", "6"]),
        Case::new("5.1.ts", "5.1 channels, AC-3").sound(&["-c:a", "ac3", "-ac", "6"]),
        Case::new("7.1.mkv", "7.1 channels, FLAC").sound(&["-c:a", "flac", "-ac", "8"]),
        Case::new("44100.mp4", "44.1 kHz").sound(&["-c:a", "aac", "-ar", "44100"]),
        Case::new("22050.mov", "22.05 kHz, mono, PCM").sound(&["-c:a", "pcm_s16le", "-ar", "22050", "-ac", "1"]),
        Case::new("8000.mov", "8 kHz, A-law").sound(&["-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"]),
        Case::new("96000.mkv", "96 kHz, 24 bit").sound(&["-c:a", "flac", "-ar", "96000", "-sample_fmt", "s32"]),
        Case::new("opus.mkv", "Opus, whose first samples are to be left out").opus(),
        Case::new("vorbis.mkv", "Vorbis").sound(&["-c:a", "libvorbis"]),
        Case::new("mp3.mp4", "MP3").sound(&["-c:a", "libmp3lame"]),
        Case::new("two-tracks.mp4", "two sound tracks, the first the default").change(Change::Copy(
            &["-f", "lavfi", "-i", "sine=frequency=200:duration=1.6"],
            &["-map", "1:v", "-map", "1:a", "-map", "0:a", "-c", "copy", "-c:a:1", "aac"],
        )),
        Case::new("two-tracks.mkv", "two sound tracks, the second the default").change(Change::Copy(
            &["-f", "lavfi", "-i", "sine=frequency=200:duration=1.6"],
            &[
                "-map",
                "1:v",
                "-map",
                "0:a",
                "-map",
                "1:a",
                "-c",
                "copy",
                "-c:a:0",
                "aac",
                "-disposition:a:0",
                "0",
                "-disposition:a:1",
                "default",
            ],
        )),
        Case::new("sound-first.mp4", "the sound is the first stream")
            .change(Change::Copy(&[], &["-map", "0:a", "-map", "0:v", "-c", "copy"])),
        Case::new("late-sound.ts", "the first sound comes after more than 7 s")
            .picture(|picture| picture.seconds = 9.6)
            .sound_delay(8.2)
            .shows(0, 239),
        Case::new("late-sound.mkv", "the first sound comes after more than 7 s, in Matroska")
            .picture(|picture| picture.seconds = 9.6)
            .sound_delay(8.2)
            .shows(0, 239),
        Case::new("sound-changes.ts", "48 kHz stereo, then 44.1 kHz mono, then 48 kHz stereo")
            .also(&["-force_key_frames", "1.2,2.4"])
            .picture(|picture| picture.seconds = 3.6)
            .change(Change::SoundOfPieces("1.2,2.4", &[&[], &["-ar", "44100", "-ac", "1"], &[]]))
            .shows(0, 89)
            .warns("damaged in"),
        Case::new("pcm.mkv", "H.264 with PCM").sound(&["-c:a", "pcm_s16le"]),
        Case::new("pcm-second.mkv", "two sound tracks, the second one PCM").change(Change::Copy(
            &["-f", "lavfi", "-i", "sine=frequency=200:duration=1.6"],
            &["-map", "1:v", "-map", "1:a", "-map", "0:a", "-c", "copy", "-c:a:1", "pcm_s16le"],
        )),
        Case::new("short-sound.mp4", "the sound ends after half a second")
            .sound(&["-c:a", "aac", "-af", "atrim=end=0.55"])
            .unheard(),
    ]
}
