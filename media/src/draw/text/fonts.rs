//! The fonts texts are drawn in: those of two Debian packages, and no others, so that a text is rendered alike on every
//! machine.

use std::path::{Path, PathBuf};

use cosmic_text::{Family, FontSystem, fontdb};

use crate::error::{MediaError, Result};

/// Letters: Latin with accents, Cyrillic, Greek, Arabic, Hebrew and more.
pub(super) const LETTERS: Family = Family::Name("DejaVu Sans");
/// Emoji in colour.
pub(super) const EMOJI: Family = Family::Name("Noto Color Emoji");

const FOLDER: &str = "/usr/share/fonts";

/// The loaded fonts.
pub(super) fn load() -> Result<FontSystem> {
    let mut fonts = fontdb::Database::new();
    let letters = find(Path::new(FOLDER), "DejaVuSans.ttf").ok_or_else(|| {
        let detail = format!("DejaVuSans.ttf is not under {FOLDER}; install the Debian package fonts-dejavu-core");
        MediaError::codec("loading the fonts", detail)
    })?;
    add(&mut fonts, &letters)?;
    match find(Path::new(FOLDER), "NotoColorEmoji.ttf") {
        Some(emoji) => add(&mut fonts, &emoji)?,
        None => tracing::warn!("emoji are drawn without colour: the Debian package fonts-noto-color-emoji is missing"),
    }
    Ok(FontSystem::new_with_locale_and_db("en-US".to_owned(), fonts))
}

fn add(fonts: &mut fontdb::Database, path: &Path) -> Result<()> {
    fonts.load_font_file(path).map_err(|source| MediaError::io("reading the font", path, source))
}

/// The first file of a name in a folder or below.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    let here = entries.iter().find(|path| path.is_file() && path.file_name().is_some_and(|file| file == name));
    here.cloned().or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
