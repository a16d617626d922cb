//! Files with random damage, the same each time: file `n` depends on `n` and on its seeds alone.

use crate::random::Random;

/// Bytes at the start in which containers describe themselves.
const HEADER: usize = 4096;

/// File `number`: one of the seeds, damaged. Returns what was done, which seed it was, and the bytes.
pub fn damaged(seeds: &[Vec<u8>], number: u64) -> (String, usize, Vec<u8>) {
    let mut random = Random::new(number);
    let seed = random.below(seeds.len());
    let mut bytes = seeds[seed].clone();
    let done = match random.below(7) {
        0 => {
            let all = bytes.len();
            flip_bits(&mut bytes, &mut random, all)
        }
        1 => flip_bits(&mut bytes, &mut random, HEADER),
        2 => {
            // Where MP4 keeps its index by default.
            let end = bytes.len();
            let from = end.saturating_sub(HEADER);
            flip_bits(&mut bytes[from..], &mut random, HEADER) + " of the end"
        }
        3 => overwrite(&mut bytes, &mut random),
        4 => {
            let length = random.below(bytes.len());
            bytes.truncate(length);
            format!("cut at {length}")
        }
        5 => {
            let start = random.below(bytes.len());
            bytes.drain(..start);
            format!("cut before {start}")
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let (end, start) = (random.below(bytes.len()), random.below(other.len()));
            bytes.truncate(end);
            bytes.extend(&other[start..]);
            format!("spliced at {end} with another from {start}")
        }
    };
    (done, seed, bytes)
}

fn flip_bits(bytes: &mut [u8], random: &mut Random, within: usize) -> String {
    let count = 1 + random.below(200);
    for _ in 0..count {
        let at = random.below(within.min(bytes.len()));
        let bit = random.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
    format!("{count} bits flipped within {within} bytes")
}

fn overwrite(bytes: &mut [u8], random: &mut Random) -> String {
    let pieces = 1 + random.below(8);
    for _ in 0..pieces {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(600)).min(bytes.len());
        // Zeros and ones break lengths and counters in other ways than noise does.
        let kind = random.below(3);
        for byte in &mut bytes[at..end] {
            *byte = match kind {
                0 => 0,
                1 => 0xFF,
                _ => random.draw() as u8,
            };
        }
    }
    format!("{pieces} pieces overwritten")
}
