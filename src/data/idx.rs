//! The IDX format of MNIST and Fashion-MNIST: big-endian sizes, then one byte a value.
//!
//! Layout: two zero bytes, `0x08` for unsigned bytes, the number of dimensions, each dimension as a `u32`,
//! the values. Nothing is allocated from what a header claims: the values are a slice of the input.

/// A decoded file; `values` has as many bytes as the product of `dims`.
#[derive(Debug, PartialEq)]
pub struct Idx<'bytes> {
    pub dims: Vec<usize>,
    pub values: &'bytes [u8],
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum IdxError {
    #[error("IDX header is cut short: {found} bytes, expected {expected}")]
    Header { expected: usize, found: usize },
    #[error(
        "not an IDX file of bytes: starts with {found:02x?}, expected [00, 00, 08] and 1 to 4 dimensions"
    )]
    Magic { found: [u8; 4] },
    #[error("IDX header claims {dims:?} values, which no file can hold")]
    Size { dims: Vec<usize> },
    #[error("IDX header claims {dims:?}, which takes {expected} bytes of values, found {found}")]
    Values { dims: Vec<usize>, expected: usize, found: usize },
}

pub fn decode(bytes: &[u8]) -> Result<Idx<'_>, IdxError> {
    let cut_short = |expected| IdxError::Header { expected, found: bytes.len() };
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| cut_short(4))?;
    let [0, 0, 0x08, rank @ 1..=4] = *magic else {
        return Err(IdxError::Magic { found: *magic });
    };
    let sizes = usize::from(rank) * 4;
    let (sizes, values) = rest.split_at_checked(sizes).ok_or_else(|| cut_short(4 + sizes))?;
    let dims: Vec<usize> =
        sizes.as_chunks().0.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    let product = dims.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    match product {
        None => Err(IdxError::Size { dims }),
        Some(expected) if expected != values.len() => {
            Err(IdxError::Values { dims, expected, found: values.len() })
        }
        Some(_) => Ok(Idx { dims, values }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of 2×3.
    fn images() -> Vec<u8> {
        let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        header.into_iter().chain(1..=12).collect()
    }

    #[test]
    fn dimensions_are_big_endian_and_values_follow_as_they_are() {
        let bytes = images();
        let idx = decode(&bytes).unwrap();
        assert_eq!(idx.dims, [2, 2, 3]);
        assert_eq!(idx.values, (1..=12).collect::<Vec<u8>>());
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = images();
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes were accepted");
        }
        let error = decode(&bytes[..10]).unwrap_err().to_string();
        assert_eq!(error, "IDX header is cut short: 10 bytes, expected 16");
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = images();
        bytes.push(0);
        let error = decode(&bytes).unwrap_err();
        assert_eq!(error, IdxError::Values { dims: vec![2, 2, 3], expected: 12, found: 13 });
    }

    #[test]
    fn another_magic_is_refused_with_what_was_found() {
        for magic in [*b"PNG\0", [0, 0, 0x0d, 3], [0, 0, 8, 0], [0, 0, 8, 5], [0x1f, 0x8b, 8, 0]] {
            let mut bytes = images();
            bytes[..4].copy_from_slice(&magic);
            assert_eq!(decode(&bytes), Err(IdxError::Magic { found: magic }));
        }
    }

    #[test]
    fn a_giant_claim_is_refused_without_allocating_it() {
        let mut bytes = images();
        bytes[4..16].fill(0xff);
        assert_eq!(decode(&bytes), Err(IdxError::Size { dims: vec![u32::MAX as usize; 3] }));
        bytes[8..16].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        assert!(matches!(decode(&bytes), Err(IdxError::Values { expected: 0xffff_ffff, found: 12, .. })));
    }
}
