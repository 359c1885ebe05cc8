//! Unpacks the received parts of catalogs and contents.

use converge_model::wire::{LZ4, PART, PLAIN, WireError};

/// Returns the bytes of a part. Its length is checked before memory is allocated.
pub(crate) fn unpacked(mut part: Vec<u8>) -> Result<Vec<u8>, WireError> {
    let malformed = || WireError::Malformed(part.len());
    match part.first().copied() {
        Some(PLAIN) => {
            part.remove(0);
            Ok(part)
        }
        Some(LZ4) => {
            let (length, block) = part[1..].split_first_chunk::<4>().ok_or_else(malformed)?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > PART {
                return Err(WireError::TooLarge(length));
            }
            let bytes = lz4_flex::block::decompress(block, length).map_err(|_| malformed())?;
            if bytes.len() == length { Ok(bytes) } else { Err(malformed()) }
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(length: u32, bytes: &[u8]) -> Vec<u8> {
        [&[LZ4], &length.to_le_bytes()[..], &lz4_flex::block::compress(bytes)].concat()
    }

    #[test]
    fn parts_come_back_and_lies_do_not() {
        let text = b"listen 80;".repeat(100);
        assert_eq!(unpacked(block(1000, &text)).unwrap(), text);
        assert_eq!(unpacked(vec![PLAIN, 7]).unwrap(), [7]);
        assert!(matches!(unpacked(block(u32::MAX, &text)), Err(WireError::TooLarge(_))));
        for lie in [block(999, &text), block(1001, &text), vec![LZ4, 1], vec![9], Vec::new()] {
            assert!(matches!(unpacked(lie), Err(WireError::Malformed(_))));
        }
    }
}
