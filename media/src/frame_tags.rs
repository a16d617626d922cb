//! Colour tags of decoded frames: some decoders (MPEG-2, MPEG-4) copy any number from the stream, which the binding's
//! enumerations must not hold.
#![expect(unsafe_code, reason = "numbers that are no value of their enumeration cannot be read by safe accessors")]

use std::ptr::addr_of_mut;

use ffmpeg_next::{ffi, frame};

/// ITU-T H.273 says of these numbers of primaries that they are reserved.
const RESERVED_PRIMARIES: std::ops::RangeInclusive<i32> = 13..=21;

/// Makes tags that mean nothing unspecified. To be called with each frame that leaves a decoder, before anything else reads
/// its tags.
pub(crate) fn check(frame: &mut frame::Video) {
    // SAFETY: the frame is alive. Its tags are C enumerations, which have the size of an i32; they are read and written as
    // such, and never as a value of the Rust enumeration before they are known to be one.
    unsafe {
        let raw = frame.as_mut_ptr();
        let (unknown, nothing) = (ffi::AVColorSpace::AVCOL_SPC_UNSPECIFIED as i32, 0);
        keep(addr_of_mut!((*raw).colorspace).cast(), ffi::AVColorSpace::AVCOL_SPC_NB as i32, unknown);
        keep(addr_of_mut!((*raw).color_range).cast(), ffi::AVColorRange::AVCOL_RANGE_NB as i32, nothing);
        keep(addr_of_mut!((*raw).color_trc).cast(), ffi::AVColorTransferCharacteristic::AVCOL_TRC_NB as i32, unknown);
        keep(addr_of_mut!((*raw).chroma_location).cast(), ffi::AVChromaLocation::AVCHROMA_LOC_NB as i32, nothing);
        let primaries = addr_of_mut!((*raw).color_primaries).cast();
        keep(primaries, ffi::AVColorPrimaries::AVCOL_PRI_NB as i32, unknown);
        if RESERVED_PRIMARIES.contains(&*primaries) {
            *primaries = unknown;
        }
    }
}

/// Sets a tag to `otherwise` unless it lies in `0..end`.
///
/// # Safety
/// `tag` points to an i32 that can be read and written.
unsafe fn keep(tag: *mut i32, end: i32, otherwise: i32) {
    // SAFETY: as the caller promises.
    unsafe {
        if !(0..end).contains(&*tag) {
            *tag = otherwise;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg_next::color;

    #[test]
    fn tags_that_mean_nothing_are_unspecified_and_others_stay() {
        let mut frame = frame::Video::empty();
        let set = |frame: &mut frame::Video, [space, range, transfer, primaries, location]: [i32; 5]| {
            // SAFETY: as in `check`.
            unsafe {
                let raw = frame.as_mut_ptr();
                *addr_of_mut!((*raw).colorspace).cast() = space;
                *addr_of_mut!((*raw).color_range).cast() = range;
                *addr_of_mut!((*raw).color_trc).cast() = transfer;
                *addr_of_mut!((*raw).color_primaries).cast() = primaries;
                *addr_of_mut!((*raw).chroma_location).cast() = location;
            }
            check(frame);
            let of_frame = (frame.color_space(), frame.color_range());
            (of_frame, frame.color_transfer_characteristic(), frame.color_primaries())
        };
        let unspecified = (
            (color::Space::Unspecified, color::Range::Unspecified),
            color::TransferCharacteristic::Unspecified,
            color::Primaries::Unspecified,
        );
        assert_eq!(set(&mut frame, [15, 3, 19, 23, 7]), unspecified);
        assert_eq!(set(&mut frame, [-1, -1, i32::MIN, 13, -1]), unspecified);
        assert_eq!(set(&mut frame, [255, 255, 255, 21, 255]), unspecified);
        let bt709 =
            ((color::Space::BT709, color::Range::MPEG), color::TransferCharacteristic::BT709, color::Primaries::BT709);
        assert_eq!(set(&mut frame, [1, 1, 1, 1, 1]), bt709);
        assert_eq!(set(&mut frame, [1, 1, 1, 22, 1]).2, color::Primaries::EBU3213);
    }
}
