//! Arrays as NumPy's `save` writes them (`.npy`, format versions 1 to 3): images of bytes, and labels of whole numbers.
//!
//! Layout: `\x93NUMPY`, major and minor version, the length of the header (16 bits in version 1, else 32,
//! little-endian), the header, the values. The header is a Python dictionary of `descr`, `fortran_order` and `shape`.
//! Nothing is allocated from what a header claims: the values are a slice of the input.

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// A decoded file. `values` has as many bytes as the product of `dims` takes, last dimension fastest.
#[derive(Debug, PartialEq)]
pub struct Npy<'bytes> {
    pub dims: Vec<usize>,
    pub kind: Kind,
    pub values: &'bytes [u8],
}

/// What one value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    is_signed: bool,
    is_big_endian: bool,
    /// 1, 2, 4 or 8.
    bytes: usize,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NpyError {
    #[error("is no .npy file: it starts with {found:02x?}, expected {MAGIC:02x?} and version 1, 2 or 3")]
    Magic { found: Vec<u8> },
    #[error("has a header that is cut short: {found} bytes, expected {expected}")]
    Header { expected: usize, found: usize },
    #[error("has the header {found:?}, expected a dictionary of 'descr', 'fortran_order' and 'shape'")]
    Dictionary { found: String },
    #[error(
        "holds values of kind {found:?}, expected whole numbers such as '|u1' or '<i8'; pixels from 0 to 1 become bytes by \
         (x * 255).round().astype('uint8'), labels whole numbers by .astype('int64')"
    )]
    Kind { found: String },
    #[error("is in Fortran's order, expected C's; save numpy.ascontiguousarray of it")]
    Fortran,
    #[error("claims {dims:?}, which takes {expected} bytes of values, found {found}")]
    Values { dims: Vec<usize>, expected: u128, found: usize },
    #[error("has {found} at place {index}, expected a label of 0 to 65535")]
    Label { index: usize, found: i128 },
    #[error("holds values of {} bits, expected bytes; convert with .astype('uint8')", 8 * bytes)]
    Pixels { bytes: usize },
}

/// Decodes a file.
pub fn decode(bytes: &[u8]) -> Result<Npy<'_>, NpyError> {
    let magic = || NpyError::Magic { found: bytes[..bytes.len().min(8)].to_vec() };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(magic)?;
    let cut_short = |expected| NpyError::Header { expected, found: bytes.len() };
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(|| cut_short(8))?;
    let (len, rest) = match version {
        [1, _] => {
            let (len, rest) = rest.split_first_chunk().ok_or_else(|| cut_short(10))?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        [2 | 3, _] => {
            let (len, rest) = rest.split_first_chunk().ok_or_else(|| cut_short(12))?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        _ => return Err(magic()),
    };
    let start = bytes.len() - rest.len();
    let (header, values) = rest.split_at_checked(len).ok_or_else(|| cut_short(start.saturating_add(len)))?;
    let (dims, kind) = header_of(header)?;
    let expected =
        dims.iter().try_fold(kind.bytes as u128, |product, &size| product.checked_mul(size as u128));
    match expected {
        Some(expected) if expected == values.len() as u128 => Ok(Npy { dims, kind, values }),
        expected => {
            Err(NpyError::Values { dims, expected: expected.unwrap_or(u128::MAX), found: values.len() })
        }
    }
}

fn header_of(header: &[u8]) -> Result<(Vec<usize>, Kind), NpyError> {
    let text = String::from_utf8_lossy(header);
    let refuse = || NpyError::Dictionary { found: text.chars().take(200).collect() };
    let descr = value(&text, "descr").ok_or_else(refuse)?;
    let fortran = value(&text, "fortran_order").ok_or_else(refuse)?;
    let shape = value(&text, "shape").ok_or_else(refuse)?;
    let shape = shape.strip_prefix('(').and_then(|shape| shape.split_once(')')).ok_or_else(refuse)?.0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let dims = sizes.map(str::parse).collect::<Result<Vec<usize>, _>>().map_err(|_| refuse())?;
    let kind = descr.strip_prefix('\'').and_then(|descr| descr.split_once('\'')).map(|(kind, _)| kind);
    let kind = kind.and_then(Kind::parse).ok_or_else(|| NpyError::Kind {
        found: descr.split(", '").next().unwrap_or(descr).chars().take(40).collect(),
    })?;
    if fortran.starts_with("False") {
        Ok((dims, kind))
    } else if fortran.starts_with("True") {
        Err(NpyError::Fortran)
    } else {
        Err(refuse())
    }
}

/// What stands behind a key, to the end of the dictionary.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("'{key}':"))?;
    Some(rest.trim_start())
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        let mut letters = text.chars();
        let is_big_endian = match letters.next()? {
            '<' | '|' => false,
            '>' => true,
            _ => return None,
        };
        let is_signed = match letters.next()? {
            'i' => true,
            'u' => false,
            _ => return None,
        };
        let bytes = letters.as_str().parse().ok().filter(|bytes| matches!(bytes, 1 | 2 | 4 | 8))?;
        Some(Self { is_signed, is_big_endian, bytes })
    }

    /// The number that `bytes`, as many as a value has, stand for.
    fn number(self, bytes: &[u8]) -> i128 {
        let place = |(index, &byte): (usize, &u8)| {
            let place = if self.is_big_endian { bytes.len() - 1 - index } else { index };
            i128::from(byte) << (8 * place)
        };
        let number: i128 = bytes.iter().enumerate().map(place).sum();
        let range = 1_i128 << (8 * bytes.len());
        if self.is_signed && number >= range / 2 { number - range } else { number }
    }
}

impl<'bytes> Npy<'bytes> {
    /// The values as pixels.
    pub fn pixels(&self) -> Result<&'bytes [u8], NpyError> {
        match self.kind {
            Kind { bytes: 1, is_signed: false, .. } => Ok(self.values),
            Kind { bytes, .. } => Err(NpyError::Pixels { bytes }),
        }
    }

    /// The values as labels.
    pub fn labels(&self) -> Result<Vec<u16>, NpyError> {
        let numbers = self.values.chunks_exact(self.kind.bytes).map(|bytes| self.kind.number(bytes));
        let label = |(index, found): (usize, i128)| {
            u16::try_from(found).map_err(|_| NpyError::Label { index, found })
        };
        numbers.enumerate().map(label).collect()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    /// A file as NumPy writes it.
    pub(crate) fn npy(kind: &str, dims: &str, values: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {dims}, }}");
        let header = format!("{header:<117}\n");
        [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::fake::npy;
    use super::*;

    #[test]
    fn images_are_bytes_in_the_order_of_the_file() {
        let bytes = npy("|u1", "(2, 1, 3)", &[1, 2, 3, 4, 5, 6]);
        let array = decode(&bytes).unwrap();
        assert_eq!(array.dims, [2, 1, 3]);
        assert_eq!(array.pixels().unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn labels_of_every_whole_kind_are_read() {
        for (kind, values) in [
            ("|u1", vec![1, 0, 200]),
            ("<i8", [1_i64, 0, 200].iter().flat_map(|label| label.to_le_bytes()).collect()),
            (">u2", [1_u16, 0, 200].iter().flat_map(|label| label.to_be_bytes()).collect()),
            ("<i4", [1_i32, 0, 200].iter().flat_map(|label| label.to_le_bytes()).collect()),
        ] {
            assert_eq!(decode(&npy(kind, "(3,)", &values)).unwrap().labels().unwrap(), [1, 0, 200], "{kind}");
        }
        let error = decode(&npy("|i1", "(2,)", &[3, 0xff])).unwrap().labels().unwrap_err();
        assert_eq!(error, NpyError::Label { index: 1, found: -1 });
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        let mut bytes = npy("|u1", "(2, 1, 3)", &[0; 6]);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes were accepted");
        }
        bytes.push(0);
        assert!(matches!(decode(&bytes), Err(NpyError::Values { expected: 6, found: 7, .. })));
    }

    #[test]
    fn what_is_no_array_of_whole_numbers_is_refused_with_the_way_out() {
        for (bytes, said) in [
            (npy("<f4", "(1,)", &[0; 4]), "'<f4"),
            (npy("|u1", "(-1,)", &[0]), "dictionary"),
            (npy("|u1", "1", &[0]), "dictionary"),
            (npy("|u1", "(99999999999, 99999999999, 99999999999, 99999999999)", &[0]), "takes"),
            (b"\x93NUMPY\x04\0..".to_vec(), "version 1, 2 or 3"),
            (b"PK\x03\x04".to_vec(), "is no .npy file"),
        ] {
            let error = decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let text = String::from_utf8_lossy(&npy("|u1", "(1,)", &[])).replace("False", "True ");
        assert!(text.contains("True"));
        let fortran =
            [&npy("|u1", "(1,)", &[])[..10], &text.as_bytes()[text.find('{').unwrap()..], &[0]].concat();
        assert_eq!(decode(&fortran), Err(NpyError::Fortran));
        let pixels = npy("<i8", "(1,)", &[0; 8]);
        assert_eq!(decode(&pixels).unwrap().pixels(), Err(NpyError::Pixels { bytes: 8 }));
    }
}
