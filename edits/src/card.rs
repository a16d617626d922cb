//! The card over a clip of an annotated compilation: its words, its colours and where they are.

use crate::color::Rgb;
use crate::drawing::{Card, CardText, Paint, PixelBox};
use crate::line::{one_line, shortened};
use crate::spec::annotated::NotedClip;

/// The lines that all sizes below are written for; they scale with the picture's height.
const NOMINAL_HEIGHT: f64 = 1080.0;
/// Share of the picture's width that the box takes.
const WIDTH: f64 = 0.8;
const TOP: f64 = 10.0;
const HEIGHT: f64 = 50.0;
const HEIGHT_WITH_NOTES: f64 = 80.0;
const BORDER: f64 = 4.0;
/// Between border and text, on either side.
const PADDING: f64 = 8.0;
const BACKGROUND_OPACITY: f64 = 0.95;
/// The box of a line of text starts so far from the picture's top, and is as high as its letters are large.
const TITLE_TOP: f64 = 20.0;
const TITLE_SIZE: f64 = 24.0;
const NOTES_TOP: f64 = 50.0;
const NOTES_SIZE: f64 = 16.0;
const NOTES_COLOR: Rgb = Rgb::new(0x33, 0x33, 0x33);
/// Most characters of the notes that are shown.
const MAX_NOTES: usize = 100;

/// The symbol, colour and name of a rating.
struct Rating {
    /// As chess players annotate moves.
    notation: &'static str,
    word: &'static str,
    color: Rgb,
}

fn rating(rating: u8) -> Rating {
    let (notation, word, color) = match rating {
        0 | 1 => ("??", "Mental lapse", Rgb::new(0xC6, 0x28, 0x28)),
        2 => ("?", "Technical lapse", Rgb::new(0xF9, 0xA8, 0x25)),
        3 => ("!?", "Interesting", Rgb::new(0x15, 0x65, 0xC0)),
        4 => ("!", "Good", Rgb::new(0x2E, 0x7D, 0x32)),
        _ => ("!!", "Brilliant", Rgb::new(0x66, 0xBB, 0x6A)),
    };
    Rating { notation, word, color }
}

/// What clip `number` (from 1) is called: its name; without one, its rating and its first two tags; without tags
/// either, `Clip` and its number.
pub(crate) fn name(number: usize, clip: &NotedClip) -> String {
    let name = one_line(&clip.name);
    if !name.is_empty() {
        return name;
    }
    let word = rating(clip.rating).word;
    let mut tags = clip.tags.iter().map(|tag| one_line(tag)).filter(|tag| !tag.is_empty());
    match (tags.next(), tags.next()) {
        (Some(first), Some(second)) => format!("{word} {first} and {second}"),
        (Some(first), None) => format!("{word} {first}"),
        (None, _) => format!("Clip {number}"),
    }
}

/// The card of clip `number` (from 1) on a picture of (width, height) pixels.
pub(crate) fn card(number: usize, clip: &NotedClip, size: (u32, u32)) -> Card {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let scale = height / NOMINAL_HEIGHT;
    let Rating { notation, color, .. } = rating(clip.rating);
    let line = |text: String, top: f64, size: f64, color: Rgb| CardText {
        text,
        center_y: (top + size / 2.0) * scale,
        size: size * scale,
        color,
    };
    let title = format!("{notation}  {}", name(number, clip));
    let notes = shortened(&one_line(&clip.notes), MAX_NOTES);
    let notes = (!notes.is_empty()).then(|| line(notes, NOTES_TOP, NOTES_SIZE, NOTES_COLOR));
    let box_height = if notes.is_some() { HEIGHT_WITH_NOTES } else { HEIGHT };
    let area =
        PixelBox { x: width * (1.0 - WIDTH) / 2.0, y: TOP * scale, width: width * WIDTH, height: box_height * scale };
    Card {
        area,
        border: BORDER * scale,
        border_color: color,
        background: Paint { color: Rgb::WHITE, opacity: BACKGROUND_OPACITY },
        title: line(title, TITLE_TOP, TITLE_SIZE, Rgb::BLACK),
        notes,
        max_text_width: (area.width - 2.0 * (BORDER + PADDING) * scale).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(name: &str, notes: &str, rating: u8, tags: &[&str]) -> NotedClip {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        NotedClip { name: name.to_owned(), notes: notes.to_owned(), rating, tags, ..NotedClip::default() }
    }

    #[test]
    fn a_clip_without_a_name_is_named_by_rating_and_tags() {
        assert_eq!(name(1, &clip(" Free\nkick ", "", 5, &["Goal"])), "Free kick");
        assert_eq!(name(1, &clip("", "", 5, &["Goal", "Dribble", "Left foot"])), "Brilliant Goal and Dribble");
        assert_eq!(name(1, &clip("", "", 5, &["Goal"])), "Brilliant Goal");
        assert_eq!(name(1, &clip("  ", "", 2, &["", "Pass"])), "Technical lapse Pass");
        assert_eq!(name(7, &clip("", "", 1, &[])), "Clip 7");
    }

    #[test]
    fn ratings_have_their_notation_and_colour() {
        let titles = [1, 2, 3, 4, 5].map(|rating| card(1, &clip("A", "", rating, &[]), (1920, 1080)));
        assert_eq!(titles.each_ref().map(|card| card.title.text.as_str()), ["??  A", "?  A", "!?  A", "!  A", "!!  A"]);
        let colors = titles.each_ref().map(|card| card.border_color.to_string());
        assert_eq!(colors, ["#C62828", "#F9A825", "#1565C0", "#2E7D32", "#66BB6A"]);
    }

    #[test]
    fn sizes_scale_with_the_height() {
        let full = card(1, &clip("A", "b", 3, &[]), (1920, 1080));
        assert_eq!(full.area, PixelBox { x: 1920.0 * (1.0 - WIDTH) / 2.0, y: 10.0, width: 1536.0, height: 80.0 });
        assert_eq!((full.border, full.max_text_width), (4.0, 1512.0));
        assert_eq!((full.title.center_y, full.title.size), (32.0, 24.0));
        let notes = full.notes.expect("notes");
        assert_eq!((notes.center_y, notes.size, notes.color.to_string()), (58.0, 16.0, "#333333".to_owned()));
        let half = card(1, &clip("A", " \n", 3, &[]), (400, 540));
        assert_eq!((half.area.y, half.area.width, half.area.height, half.border), (5.0, 320.0, 25.0, 2.0));
        assert_eq!((half.title.center_y, half.notes), (16.0, None));
    }

    #[test]
    fn long_notes_are_cut_to_a_hundred_characters() {
        let card = card(1, &clip("A", &"é".repeat(101), 3, &[]), (1920, 1080));
        let notes = card.notes.expect("notes").text;
        assert_eq!(notes, format!("{}…", "é".repeat(99)));
    }
}
