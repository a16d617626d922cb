//! The fonts texts are drawn in: those of two Debian packages, and no others, so that a text is rendered alike on every
//! machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{fs, io, iter};

use cosmic_text::{Family, FontSystem, fontdb};

use crate::error::{MediaError, Result};

/// Letters: Latin with accents, Cyrillic, Greek, Arabic, Hebrew and more.
pub(super) const LETTERS: Family = Family::Name("DejaVu Sans");
/// Emoji in colour.
pub(super) const EMOJI: Family = Family::Name("Noto Color Emoji");

const FOLDER: &str = "/usr/share/fonts";

/// A font as the bytes of its file.
type Font = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The fonts that were found.
pub(super) struct Files {
    letters: Font,
    emoji: Option<Font>,
}

/// Why the fonts could not be read.
pub(super) enum Missing {
    NotFound,
    Unreadable(PathBuf, io::Error),
}

impl Missing {
    fn error(&self) -> MediaError {
        match self {
            Self::NotFound => {
                let detail =
                    format!("DejaVuSans.ttf is not under {FOLDER}; install the Debian package fonts-dejavu-core");
                MediaError::codec("loading the fonts", detail)
            }
            Self::Unreadable(path, error) => {
                let again = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                MediaError::io("reading the font", path, again)
            }
        }
    }
}

/// The files of the fonts, read once a process.
pub(super) fn files() -> &'static Result<Files, Missing> {
    static FILES: OnceLock<Result<Files, Missing>> = OnceLock::new();
    FILES.get_or_init(|| {
        let letters = read(&find(Path::new(FOLDER), "DejaVuSans.ttf").ok_or(Missing::NotFound)?)?;
        let emoji = find(Path::new(FOLDER), "NotoColorEmoji.ttf");
        Ok(Files { letters, emoji: emoji.map(|path| read(&path)).transpose()? })
    })
}

fn read(path: &Path) -> Result<Font, Missing> {
    let bytes = fs::read(path).map_err(|error| Missing::Unreadable(path.to_owned(), error))?;
    Ok(Arc::new(bytes))
}

/// The fonts, ready to be shaped.
pub(super) fn system() -> Result<FontSystem> {
    let files = files().as_ref().map_err(Missing::error)?;
    if files.emoji.is_none() {
        // Not where they are read, which is before a process has a log.
        tracing::warn!("emoji are drawn without colour: the Debian package fonts-noto-color-emoji is missing");
    }
    let mut fonts = fontdb::Database::new();
    for font in iter::once(&files.letters).chain(&files.emoji) {
        fonts.load_font_source(fontdb::Source::Binary(Arc::clone(font)));
    }
    Ok(FontSystem::new_with_locale_and_db("en-US".to_owned(), fonts))
}

/// The first file of a name in a folder or below.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    let here = entries.iter().find(|path| path.is_file() && path.file_name().is_some_and(|file| file == name));
    here.cloned().or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
