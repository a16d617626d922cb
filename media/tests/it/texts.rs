//! Texts and cards: where their ink is, in which order, and that nothing else is touched.

use edits::{Card, CardText, Paint, PixelBox, PlacedText, Rgb};
use media::{Canvas, CanvasFormat, Painter, Sprite, TextShaper, YuvFrame};

const SIZE: (u32, u32) = (640, 360);
const GRASS: [u8; 3] = [90, 110, 115];

fn grass() -> YuvFrame {
    let mut frame = YuvFrame::new(SIZE.0, SIZE.1);
    frame.y.fill(GRASS[0]);
    frame.u.fill(GRASS[1]);
    frame.v.fill(GRASS[2]);
    frame
}

fn format() -> CanvasFormat {
    Canvas::from(&mut grass()).format()
}

fn drawn(sprite: &Sprite) -> YuvFrame {
    let mut frame = grass();
    Painter::new().sprite(&mut Canvas::from(&mut frame), sprite);
    frame
}

fn text(text: &str, cx: f64, size: f64) -> YuvFrame {
    let placed = PlacedText { text: text.into(), cx, cy: 180.0, size, color: Rgb::WHITE };
    drawn(&TextShaper::new().unwrap().text(&placed, format()))
}

/// Left, top, right and bottom of the luma samples a condition holds for.
fn bounds(frame: &YuvFrame, holds: impl Fn(u8) -> bool) -> Option<[usize; 4]> {
    let width = frame.width as usize;
    let places = frame.y.iter().enumerate().filter(|(_, sample)| holds(**sample)).map(|(i, _)| (i % width, i / width));
    places.fold(None, |found, (x, y)| {
        let [left, top, right, bottom] = found.unwrap_or([x, y, x + 1, y + 1]);
        Some([left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)])
    })
}

fn ink(frame: &YuvFrame) -> [usize; 4] {
    bounds(frame, |sample| sample > 170).expect("something white was drawn")
}

fn card(title: &str, notes: Option<&str>) -> (YuvFrame, Card) {
    let line = |text: &str, center_y: f64, size: f64, color: Rgb| CardText { text: text.into(), center_y, size, color };
    let card = Card {
        area: PixelBox { x: 64.0, y: 10.5, width: 512.0, height: 80.0 },
        border: 3.5,
        border_color: Rgb::new(0x66, 0xBB, 0x6A),
        background: Paint { color: Rgb::WHITE, opacity: 0.95 },
        title: line(title, 36.0, 24.0, Rgb::BLACK),
        notes: notes.map(|notes| line(notes, 66.0, 16.0, Rgb::new(0x33, 0x33, 0x33))),
        max_text_width: 480.0,
    };
    (drawn(&TextShaper::new().unwrap().card(&card, format())), card)
}

#[test]
fn ink_is_centred_and_the_rest_untouched() {
    let placed = PlacedText { text: "HNH".into(), cx: 301.0, cy: 180.0, size: 48.0, color: Rgb::WHITE };
    let sprite = TextShaper::new().unwrap().text(&placed, format());
    let frame = drawn(&sprite);
    let [left, top, right, bottom] = ink(&frame);
    assert!((left + right).abs_diff(602) <= 2, "{left}..{right}");
    assert!((top + bottom).abs_diff(360) <= 2, "{top}..{bottom}");
    assert!((34..=37).contains(&(bottom - top)), "capitals are 0.73 of the size");
    let (x, y, width, height) = sprite.area();
    assert!(x < left && y < top && x + width > right && y + height > bottom, "an outline is around the ink");
    for (index, &sample) in frame.y.iter().enumerate() {
        let (column, row) = (index % SIZE.0 as usize, index / SIZE.0 as usize);
        let inside = (x..x + width).contains(&column) && (y..y + height).contains(&row);
        assert!(inside || sample == GRASS[0], "{column},{row}");
    }
    assert!(frame.y.iter().any(|&sample| sample < 75), "the outline is dark");
}

#[test]
fn hebrew_runs_from_right_to_left() {
    // The first letter of "אבג" is the rightmost: without it, the same ink is missing on the right.
    let columns = |string: &str| {
        let frame = text(string, 320.0, 48.0);
        let [left, _, right, _] = ink(&frame);
        let width = SIZE.0 as usize;
        let column = |x: usize| frame.y.iter().skip(x).step_by(width).map(|&s| u32::from(s)).collect::<Vec<_>>();
        (left..right).map(column).collect::<Vec<_>>()
    };
    let (word, aleph, gimel) = (columns("אבג"), columns("א"), columns("ג"));
    let differs = |a: &[Vec<u32>], b: &[Vec<u32>]| {
        let pixels = a.iter().flatten().zip(b.iter().flatten());
        pixels.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
    };
    let (right, left) = (&word[word.len() - aleph.len()..], &word[..aleph.len()]);
    assert!(differs(right, &aleph) < differs(left, &aleph) / 2.0, "aleph is on the right");
    let (right, left) = (&word[word.len() - gimel.len()..], &word[..gimel.len()]);
    assert!(differs(left, &gimel) < differs(right, &gimel) / 2.0, "gimel is on the left");
}

#[test]
fn emoji_have_their_colours() {
    let plain = text("Goal", 320.0, 48.0);
    assert!(plain.u.iter().all(|&sample| (GRASS[1]..=130).contains(&sample)), "letters have the text's colour");
    for emoji in ["😀", "🏆", "🇩🇪"] {
        let frame = text(emoji, 320.0, 48.0);
        let yellow = frame.u.iter().filter(|&&sample| sample < 90).count();
        assert!(yellow > 60, "{emoji}: apt-get install fonts-noto-color-emoji");
    }
}

#[test]
fn every_character_is_literal() {
    let hostile = "'; rm -rf $HOME %{pts} \\n `id` $(rm)";
    let wide = ink(&text(hostile, 320.0, 16.0));
    assert!(wide[2] - wide[0] > 200, "drawn as it is written: {wide:?}");
    assert_eq!(text("a\nb\tc\u{2028}d\u{0}e", 320.0, 24.0), text("a b c d e", 320.0, 24.0));
    assert_eq!(text("Zoe\u{301}", 320.0, 24.0), text("Zoé", 320.0, 24.0), "accents are combined");
    assert_eq!(text("", 320.0, 24.0), grass());
    assert_eq!(text(" \n ", 320.0, 24.0), grass());
}

#[test]
fn texts_over_the_edge_are_cut() {
    let frame = text(&"Wide ".repeat(100), 320.0, 96.0);
    let [left, _, right, _] = ink(&frame);
    assert!(left < 20 && right > 620);
    assert_eq!(text("far away", -5000.0, 24.0), grass());
}

#[test]
fn a_card_has_its_box_border_and_texts() {
    let (frame, card) = card("!!  Brilliant Goal", Some("a note"));
    let row = |y: usize| &frame.y[y * SIZE.0 as usize..][..SIZE.0 as usize];
    // 95 % white over grass, and #66BB6A in BT.709.
    assert!(row(55)[80].abs_diff(228) <= 1, "{}", row(55)[80]);
    assert!(row(55)[65].abs_diff(156) <= 1, "{}", row(55)[65]);
    assert_eq!(row(55)[63], GRASS[0]);
    assert_eq!(row(9)[300], GRASS[0]);
    assert_eq!(row(91)[300], GRASS[0]);
    let inner = (card.area.y as usize + 8)..(card.area.y + card.area.height) as usize - 8;
    let dark = bounds(&frame, |sample| sample < 80).unwrap();
    assert!(inner.contains(&dark[1]) && inner.contains(&dark[3]), "texts are within the border: {dark:?}");
    assert!((dark[0] + dark[2]).abs_diff(640) <= 2, "{dark:?}");
}

#[test]
fn long_card_texts_end_in_an_ellipsis() {
    for title in ["A title that goes on ".repeat(9), "שם ארוך מאוד ".repeat(12), "👩🏽‍🚀⚽".repeat(30)]
    {
        let (frame, card) = card(&title, None);
        let dark = bounds(&frame, |sample| sample < 80).unwrap();
        let width = dark[2] - dark[0];
        assert!(width as f64 <= card.max_text_width + 1.0 && width > 430, "{title}: {width}");
    }
    // Right to left, the ellipsis is on the left.
    let (long, _) = card(&"שם ארוך מאוד ".repeat(12), None);
    let dark = bounds(&long, |sample| sample < 80).unwrap();
    let start = |from: usize| {
        let rows = long.y.chunks_exact(SIZE.0 as usize).take(80);
        rows.enumerate().filter(|(_, row)| row[from..from + 8].iter().any(|&s| s < 80)).map(|(y, _)| y).min()
    };
    assert!(start(dark[0]) > start(dark[2] - 8).map(|top| top + 6), "dots stand on the baseline");
    let (short, _) = card("short", None);
    assert_eq!(short, card("short", Some("")).0, "empty notes draw nothing");
}
