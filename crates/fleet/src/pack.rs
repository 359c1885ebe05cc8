//! Packs parts of catalogs and content for the transfer: compressed if that saves enough.
//!
//! SSH itself does not compress, because that would cost two thirds of its throughput for all data. LZ4 shrinks
//! catalogs and text to a fraction at several hundred megabytes per second. It detects incompressible data even
//! faster.

use converge_model::wire::{LZ4, PART, PLAIN};

/// A frame of fewer bytes fits one packet anyway.
const WORTHWHILE: usize = 512;

/// Returns `part`, at most [`PART`] bytes, packed.
pub(crate) fn packed(part: &[u8]) -> Vec<u8> {
    debug_assert!(part.len() <= PART);
    if part.len() >= WORTHWHILE {
        let block = lz4_flex::block::compress(part);
        if block.len() < part.len() / 8 * 7 {
            return [&[LZ4], &(part.len() as u32).to_le_bytes()[..], &block].concat();
        }
    }
    [&[PLAIN], part].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shrinks_is_compressed() {
        let text = "listen 80;\n".repeat(1000);
        assert_eq!(packed(text.as_bytes())[0], LZ4);
        assert!(packed(text.as_bytes()).len() < text.len() / 50);
        assert_eq!(packed(b"listen 80;"), [&[PLAIN][..], b"listen 80;"].concat());
        // Random bytes, which LZ4 cannot compress.
        let noise: Vec<u8> =
            (0..4096u32).flat_map(|n| *converge_model::Digest::of(&n.to_le_bytes()).as_bytes()).collect();
        assert_eq!((packed(&noise)[0], packed(&noise).len()), (PLAIN, noise.len() + 1));
    }
}
