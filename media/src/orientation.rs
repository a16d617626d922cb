//! How a stored picture must be turned to stand upright (the display matrix of ISO 14496-12, as phones write it).

/// One of the eight ways to lay a rectangle on a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Orientation {
    #[default]
    Upright,
    Clockwise,
    UpsideDown,
    CounterClockwise,
    FlippedHorizontally,
    FlippedVertically,
    /// Rows become columns.
    Transposed,
    /// Rows become columns, both reversed.
    AntiTransposed,
}

impl Orientation {
    /// Reads a display matrix: nine native-endian 32-bit numbers; angles between right ones go to the nearest.
    pub fn from_display_matrix(bytes: &[u8]) -> Self {
        let entry = |index: usize| {
            bytes.get(index * 4..index * 4 + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes)
        };
        // Stored (x, y) is shown at (a x + c y, b x + d y).
        let (a, b, c, d) = (entry(0), entry(1), entry(3), entry(4));
        let straight = i64::from(a).abs() + i64::from(d).abs() >= i64::from(b).abs() + i64::from(c).abs();
        if straight {
            match (a < 0, d < 0) {
                (false, false) => Self::Upright,
                (true, true) => Self::UpsideDown,
                (true, false) => Self::FlippedHorizontally,
                (false, true) => Self::FlippedVertically,
            }
        } else {
            match (b < 0, c < 0) {
                (false, true) => Self::Clockwise,
                (true, false) => Self::CounterClockwise,
                (false, false) => Self::Transposed,
                (true, true) => Self::AntiTransposed,
            }
        }
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        matches!(self, Self::Clockwise | Self::CounterClockwise | Self::Transposed | Self::AntiTransposed)
    }

    /// Degrees clockwise by which players turn the stored picture.
    pub fn degrees(self) -> u32 {
        match self {
            Self::Upright | Self::FlippedHorizontally | Self::FlippedVertically => 0,
            Self::Clockwise | Self::AntiTransposed => 90,
            Self::UpsideDown => 180,
            Self::CounterClockwise | Self::Transposed => 270,
        }
    }

    /// Whether the picture is also shown as in a mirror.
    pub fn is_mirrored(self) -> bool {
        matches!(self, Self::FlippedHorizontally | Self::FlippedVertically | Self::Transposed | Self::AntiTransposed)
    }

    /// libavfilter's steps. A vertical flip only negates the row stride, so a copy straightens it out.
    pub fn filters(self) -> &'static [&'static str] {
        match self {
            Self::Upright => &[],
            Self::Clockwise => &["transpose=clock"],
            Self::UpsideDown => &["hflip", "vflip", "copy"],
            Self::CounterClockwise => &["transpose=cclock"],
            Self::FlippedHorizontally => &["hflip"],
            Self::FlippedVertically => &["vflip", "copy"],
            Self::Transposed => &["transpose=cclock_flip"],
            Self::AntiTransposed => &["transpose=clock_flip"],
        }
    }

    /// Where a chroma sample's offset ends up when the picture is turned.
    pub fn turn_offset(self, (x, y): (f64, f64)) -> (f64, f64) {
        match self {
            Self::Upright => (x, y),
            Self::Clockwise => (-y, x),
            Self::UpsideDown => (-x, -y),
            Self::CounterClockwise => (y, -x),
            Self::FlippedHorizontally => (-x, y),
            Self::FlippedVertically => (x, -y),
            Self::Transposed => (y, x),
            Self::AntiTransposed => (-y, -x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Vec<u8> {
        let one = 1 << 16;
        [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30].iter().flat_map(|entry| entry.to_ne_bytes()).collect()
    }

    #[test]
    fn display_matrices_name_their_orientation() {
        let of = |a, b, c, d| Orientation::from_display_matrix(&matrix(a, b, c, d));
        assert_eq!(of(1, 0, 0, 1), Orientation::Upright);
        assert_eq!(of(0, 1, -1, 0), Orientation::Clockwise);
        assert_eq!(of(-1, 0, 0, -1), Orientation::UpsideDown);
        assert_eq!(of(0, -1, 1, 0), Orientation::CounterClockwise);
        assert_eq!(of(-1, 0, 0, 1), Orientation::FlippedHorizontally);
        assert_eq!(Orientation::from_display_matrix(&[]), Orientation::Upright);
    }
}
