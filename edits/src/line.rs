//! Texts made fit for one drawn line.

/// Joins emoji to one; at a line's end it would join to nothing.
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// The text on one line: line breaks, tabs and other control characters become spaces, and of spaces that follow
/// each other one is left. Every other character stays as it is.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// The text if it has at most `most` characters (Unicode scalar values), else its beginning with an ellipsis, together
/// at most that long.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end().trim_end_matches(ZERO_WIDTH_JOINER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_breaks_and_keeps_every_other_character() {
        assert_eq!(one_line("  a\r\n\tb\u{0}c  d "), "a b c d");
        assert_eq!(one_line("$(rm -rf /) 'x' %{pts} \\: é"), "$(rm -rf /) 'x' %{pts} \\: é");
        assert_eq!(one_line("\n\t "), "");
        assert_eq!(one_line("שלום 👨‍👩‍👧"), "שלום 👨‍👩‍👧");
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis_within_its_length() {
        assert_eq!(shortened("12345", 5), "12345");
        assert_eq!(shortened("éèàùâê", 5), "éèàù…");
        assert_eq!(shortened("ab cdefgh", 4), "ab…");
        assert_eq!(shortened("👨‍👩‍👧👧", 5), "👨‍👩…");
    }
}
