//! One file: how it is made and what is expected.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::change::Change;
use super::picture::Picture;
use crate::ffmpeg::ffmpeg;

/// H.264 in short groups with B-frames. One thread and no instructions that only some processors have: the same bytes
/// everywhere, so that damage hits the same frames.
pub const H264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-g", "12", "-bf", "2", "-threads"];
/// Seconds of every source that does not say otherwise.
pub const SECONDS: f64 = 1.6;
/// Where the sound clicks, in seconds; the list repeats each second.
const CLICKS: [f64; 2] = [0.3, 0.8];

/// A file of the list.
pub struct Case {
    /// Its name; the container follows from it.
    pub file: &'static str,
    /// What it is, for the table.
    pub what: &'static str,
    pub origin: Origin,
    /// Done to the file afterwards, in order.
    pub changes: Vec<Change>,
    pub expect: Expect,
}

/// Where the bytes come from.
pub enum Origin {
    /// Footage of [`Picture`], with sound or without, encoded by ffmpeg.
    Footage(Footage),
    /// Whatever ffmpeg makes of these arguments.
    Arguments(&'static [&'static str]),
    /// These bytes, repeated.
    Bytes(&'static [u8], usize),
    /// A folder of that name.
    Folder,
    /// There is no such file.
    Nothing,
}

/// Stamped footage and how it is stored.
pub struct Footage {
    pub picture: Picture,
    /// Arguments of the sound: its codec, channels and rate; `None` for no sound.
    pub sound: Option<&'static [&'static str]>,
    /// Seconds by which the sound is stored late (or the picture, where negative).
    pub sound_delay: f64,
    pub encode: Vec<&'static str>,
}

/// What Touchline is to do.
pub enum Expect {
    Accepted(Accepted),
    /// Refused with this exit code, and these words in the reason.
    Refused(i32, &'static str),
}

/// What is to come out of an accepted file.
pub struct Accepted {
    /// Displayed size in pixels.
    pub size: (u32, u32),
    /// Numbers of the first and the last frame; `None` where that is the encoder's choice.
    pub shown: Option<(u32, u32)>,
    /// Frames a second of the rendered file: enough to show every frame.
    pub fps: u32,
    /// Words that warnings must have, one warning each.
    pub warnings: Vec<&'static str>,
    /// Frames that damage makes unreadable, at most.
    pub unreadable: usize,
    /// Levels by which colours may be off; `None`: high dynamic range is mapped, so only hues are compared.
    pub colour_within: Option<f64>,
    /// Seconds by which the muxer stores sound late, beside what it was asked for.
    pub muxed_late: f64,
    /// Whether clicks are listened to.
    pub heard: bool,
    /// Whether a frame is due at its number divided by the rate, whatever time stamps ffmpeg reads.
    pub by_number: bool,
}

impl Case {
    /// Footage of 1.6 s at 25 frames a second, 320x180, H.264 and AAC, to be accepted without a warning.
    pub fn new(file: &'static str, what: &'static str) -> Self {
        let encode = H264.iter().copied().chain(["1", "-x264-params", "cpu-independent=1"]).collect();
        let footage = Footage { picture: Picture::default(), sound: Some(&["-c:a", "aac"]), sound_delay: 0.0, encode };
        let accepted = Accepted {
            size: (320, 180),
            shown: Some((0, 39)),
            fps: 30,
            warnings: Vec::new(),
            unreadable: 0,
            colour_within: Some(12.0),
            muxed_late: 0.0,
            heard: true,
            by_number: false,
        };
        Self { file, what, origin: Origin::Footage(footage), changes: Vec::new(), expect: Expect::Accepted(accepted) }
    }

    /// A file that is to be refused with exit code 3.
    pub fn refused(file: &'static str, what: &'static str, origin: Origin, says: &'static str) -> Self {
        Self { file, what, origin, changes: Vec::new(), expect: Expect::Refused(3, says) }
    }

    fn footage(&mut self) -> &mut Footage {
        match &mut self.origin {
            Origin::Footage(footage) => footage,
            _ => panic!("{} is no footage", self.file),
        }
    }

    fn accepted(&mut self) -> &mut Accepted {
        match &mut self.expect {
            Expect::Accepted(accepted) => accepted,
            Expect::Refused(..) => panic!("{} is refused", self.file),
        }
    }

    /// How pictures and file are encoded, in place of the usual H.264.
    pub fn encode(mut self, arguments: &[&'static str]) -> Self {
        self.footage().encode = arguments.to_vec();
        self
    }

    /// More arguments for the usual H.264.
    pub fn also(mut self, arguments: &[&'static str]) -> Self {
        self.footage().encode.extend(arguments);
        self
    }

    /// More of x264's own settings.
    pub fn x264(mut self, settings: &'static str) -> Self {
        let encode = &mut self.footage().encode;
        let at = encode.iter().position(|&argument| argument == "-x264-params").expect("the usual H.264");
        encode[at + 1] = settings;
        self
    }

    pub fn sound(mut self, arguments: &'static [&'static str]) -> Self {
        self.footage().sound = Some(arguments);
        self
    }

    pub fn silent(mut self) -> Self {
        self.footage().sound = None;
        self.unheard()
    }

    /// With sound that is not compared: what is stored does not say when it is heard to within milliseconds.
    pub fn unheard(mut self) -> Self {
        self.accepted().heard = false;
        self
    }

    /// The sound is stored this late, in seconds; negative: the picture is.
    pub fn sound_delay(mut self, seconds: f64) -> Self {
        self.footage().sound_delay = seconds;
        self
    }

    /// Frames a second of the source as ffmpeg writes it, the number of the last frame, and of the rendered file.
    pub fn rate(mut self, rate: &'static str, last: u32, fps: u32) -> Self {
        self.footage().picture.rate = rate;
        (self.accepted().shown, self.accepted().fps) = (Some((0, last)), fps);
        self
    }

    /// Changes the picture.
    pub fn picture(mut self, change: impl FnOnce(&mut Picture)) -> Self {
        let picture = &mut self.footage().picture;
        change(picture);
        let size = picture.size;
        self.accepted().size = size;
        self
    }

    /// The pixel format.
    pub fn format(self, format: &'static str) -> Self {
        self.picture(|picture| picture.format = format)
    }

    /// A filter between the displayed picture and the stored one.
    pub fn filter(self, filter: &'static str) -> Self {
        self.picture(|picture| picture.stored_by = filter)
    }

    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    pub fn shows(mut self, first: u32, last: u32) -> Self {
        self.accepted().shown = Some((first, last));
        self
    }

    /// Which frames are there depends on the encoder.
    pub fn shows_some(mut self) -> Self {
        self.accepted().shown = None;
        self
    }

    pub fn warns(mut self, words: &'static str) -> Self {
        self.accepted().warnings.push(words);
        self
    }

    /// ffmpeg makes nothing of the time stamps: each frame is due at its number divided by the rate.
    pub fn by_number(mut self) -> Self {
        self.accepted().by_number = true;
        self
    }

    /// At most so many frames may be too damaged to be read.
    pub fn unreadable(mut self, most: usize) -> Self {
        self.accepted().unreadable = most;
        self
    }

    /// High dynamic range: hues are compared, levels are the tone mapping's.
    pub fn tone_mapped(mut self) -> Self {
        self.accepted().colour_within = None;
        self
    }

    /// Levels by which colours may be off.
    pub fn colour_within(mut self, levels: f64) -> Self {
        self.accepted().colour_within = Some(levels);
        self
    }

    /// Opus in Matroska: this muxer forgets that decoders leave out the first 6.5 ms, rounded to a millisecond.
    pub fn opus(mut self) -> Self {
        self.accepted().muxed_late = -0.007;
        self.sound(&["-c:a", "libopus"])
    }

    /// Makes the file in a folder and returns its path.
    ///
    /// # Errors
    /// With ffmpeg's own words when it fails.
    pub fn make(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(self.file);
        match &self.origin {
            Origin::Footage(footage) => footage.make(&path)?,
            Origin::Arguments(arguments) => {
                ffmpeg(arguments.iter().map(OsStr::new).chain([path.as_os_str()]))?;
            }
            Origin::Bytes(bytes, times) => std::fs::write(&path, bytes.repeat(*times))?,
            Origin::Folder => std::fs::create_dir(&path)?,
            Origin::Nothing => {}
        }
        for change in &self.changes {
            change.apply(&path).with_context(|| format!("changing {}", self.file))?;
        }
        Ok(path)
    }
}

impl Footage {
    fn make(&self, path: &Path) -> Result<()> {
        let graph = self.picture.graph();
        let clicks = path.with_extension("clicks.wav");
        let seconds = self.picture.seconds;
        media::testing::write_clicks(&clicks, seconds, &click_times(seconds))?;
        let offset = |seconds: f64| format!("{}", seconds.max(0.0));
        let (late_picture, late_sound) = (offset(-self.sound_delay), offset(self.sound_delay));
        let clicks_name = clicks.to_string_lossy();
        let mut arguments = vec!["-itsoffset", &late_picture, "-f", "lavfi", "-i", &graph];
        if let Some(sound) = self.sound {
            arguments.extend(["-itsoffset", &late_sound, "-i", &clicks_name]);
            arguments.extend(sound);
        }
        arguments.extend(["-fps_mode", "passthrough"]);
        arguments.extend(self.picture.tags);
        arguments.extend(&self.encode);
        let made = ffmpeg(arguments.into_iter().map(OsStr::new).chain([path.as_os_str()]));
        std::fs::remove_file(&clicks)?;
        made
    }
}

/// Seconds of the clicks in a source of this length.
pub fn click_times(seconds: f64) -> Vec<f64> {
    let whole = seconds.ceil() as u32;
    let times = (0..whole).flat_map(|second| CLICKS.map(|click| f64::from(second) + click));
    times.filter(|time| time + 0.05 < seconds).collect()
}
