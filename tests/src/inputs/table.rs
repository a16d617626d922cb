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

/// The page; `outcome` gives the outcome of each file in the order of the groups.
pub fn page(groups: &[Group], mut outcome: impl FnMut(&str) -> String) -> String {
    let mut page = HEAD.to_owned();
    for group in groups {
        page.push_str(&format!("\n## {}\n\n| file | what it is | outcome |\n| --- | --- | --- |\n", group.title));
        for case in &group.cases {
            page.push_str(&format!("| `{}` | {} | {} |\n", case.file, case.what, outcome(case.file)));
        }
    }
    page
}
