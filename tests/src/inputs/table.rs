//! The outcomes as `docs/inputs.md`.

use super::list::Group;

const HEAD: &str = "\
# Supported inputs

Every file of these tables is made with real encoders by `tests/src/inputs` and goes through the program as users run
it: `touchline probe FILE`, then `touchline render framing` over the whole file. Each source frame carries its number
and a colour in every corner; the sound clicks at known times. A row says what was found, and `make test` fails when
anything else is:

* the displayed size, and the numbers of the first and the last frame;
* *all right*: each rendered frame shows the source frame with the greatest time stamp at or before its own time (as
  the ffmpeg programs report stamps and pictures), upright, in its colours within 12 of 255 levels (high dynamic range:
  in its hues), with no trace of interlacing, as progressive 8-bit 4:2:0 H.264 tagged BT.709;
* *sound in time*: each click is heard within 3 ms of the moment that the picture shows;
* warnings, which `probe` prints and a render reports (N: a number that depends on the encoder);
* refusals: the exit code and the reason, the same from `probe` and `render`, with nothing left behind.

`make inputs` writes this page anew.
";

const FORMATS: &str = "
## Formats

An upload reaches these demuxers and decoders of libav (by its names) and no others. Whatever else a file holds is not
opened: covers and subtitles are not decoded, and references to other files or addresses are not followed. Headers that
claim what the file cannot hold are refused before it is opened (`unreadable`): more than 10 million frames or 64
tracks, tables longer than their boxes, boxes nested without end. A video of another codec is refused
(`unsupported_codec`).

";

/// The lists of what is read.
fn formats() -> String {
    let row = |title: &str, names: &[&str]| format!("| {title} | {} |\n", names.join(", "));
    let rows = [
        row("containers", media::CONTAINERS),
        row("pictures", media::VIDEO_DECODERS),
        row("sound", media::SOUND_DECODERS),
    ];
    format!("{FORMATS}| what | names |\n| --- | --- |\n{}", rows.concat())
}

/// The page; `outcome` gives the outcome of each file in the order of the groups.
pub fn page(groups: &[Group], mut outcome: impl FnMut(&str) -> String) -> String {
    let mut page = HEAD.to_owned();
    for group in groups {
        page.push_str(&format!("\n## {}\n\n| file | what it is | outcome |\n| --- | --- | --- |\n", group.title));
        for case in &group.cases {
            page.push_str(&format!("| `{}` | {} | {} |\n", case.file, case.what, outcome(case.file)));
        }
    }
    page.push_str(&formats());
    page
}
