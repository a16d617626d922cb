//! Files through the public surface of the crate, against the ffmpeg programs and other references.

mod clip;
mod colour;
mod common;
mod crop;
mod finish;
mod frames;
mod hostile;
mod refusals;
mod segments;
mod smart;
mod sound;
mod spotlight;
mod tempo;
mod texts;
mod timed;
