//! Parts of catalogs and content as they travel: compressed where it pays.
//!
//! SSH itself does not compress: that would cost two thirds of its throughput on everything. Catalogs and text shrink
//! to a fraction with LZ4 at several hundred megabytes a second, and what does not shrink is recognised faster still.

use converge_model::wire::{LZ4, PART, PLAIN};

/// Below this many bytes a frame is a packet anyway.
const WORTHWHILE: usize = 512;

/// `part`, at most [`PART`] bytes, packed.
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
        // Every byte different from the last in no order that LZ4 could see.
        let noise: Vec<u8> =
            (0..4096u32).flat_map(|n| *converge_model::Digest::of(&n.to_le_bytes()).as_bytes()).collect();
        assert_eq!((packed(&noise)[0], packed(&noise).len()), (PLAIN, noise.len() + 1));
    }
}
