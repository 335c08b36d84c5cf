//! CIFAR-10: the binary records of the authors, and the PNGs that a registry package holds instead.
//!
//! A record is one label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row.

use std::io::Cursor;
use std::slice::ChunksExact;

const CLASSES: u8 = 10;
/// Pixels of one colour.
const PLANE: usize = 32 * 32;
const IMAGE: usize = 3 * PLANE;
pub const RECORD: usize = 1 + IMAGE;
/// Of one decoding. A row of a batch takes 3 KiB; what is left over is room for the decoder's own tables.
const PNG_MEMORY: usize = 8 << 20;

/// Decoded records: `pixels` holds 3,072 bytes a label.
#[derive(Debug, PartialEq)]
pub struct Records {
    pub pixels: Vec<u8>,
    pub labels: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum CifarError {
    #[error("{found} bytes are not whole CIFAR records of {record} bytes")]
    Length { found: usize, record: usize },
    #[error("image {image} has label {found}, expected 0 to 9")]
    Label { image: usize, found: u8 },
    #[error("label list: {0}")]
    Json(#[from] serde_json::Error),
    #[error("label list has {found} labels, expected {expected}")]
    Labels { expected: usize, found: usize },
    #[error("PNG: {0}")]
    Png(#[from] png::DecodingError),
    #[error("PNG is {found}, expected {expected}")]
    Picture { expected: String, found: String },
}

/// Decodes one `.bin` file.
pub fn decode_records(bytes: &[u8]) -> Result<Records, CifarError> {
    let records = records(bytes, 1)?;
    let mut pixels = Vec::with_capacity(records.len() * IMAGE);
    let mut labels = Vec::with_capacity(records.len());
    for record in records {
        labels.push(record[0]);
        pixels.extend_from_slice(&record[1..]);
    }
    check_labels(&labels)?;
    Ok(Records { pixels, labels })
}

/// The records of a file, each of so many labels of a byte (CIFAR-10 has one, CIFAR-100 two) and an image.
pub fn records(bytes: &[u8], labels: usize) -> Result<ChunksExact<'_, u8>, CifarError> {
    let records = bytes.chunks_exact(labels + IMAGE);
    if records.remainder().is_empty() {
        Ok(records)
    } else {
        Err(CifarError::Length { found: bytes.len(), record: labels + IMAGE })
    }
}

/// The labels of a JSON list, which must have `expected` of them.
pub fn labels_from_json(bytes: &[u8], expected: usize) -> Result<Vec<u8>, CifarError> {
    let labels: Vec<u8> = serde_json::from_slice(bytes)?;
    if labels.len() != expected {
        return Err(CifarError::Labels { expected, found: labels.len() });
    }
    check_labels(&labels)?;
    Ok(labels)
}

/// The `.bin` file of a batch that came as a PNG: row *i* is image *i*, 32×32 pixels of interleaved RGB.
///
/// The size of the result comes from `labels`, never from the PNG's header.
pub fn from_png(png: &[u8], labels: &[u8]) -> Result<Vec<u8>, CifarError> {
    check_labels(labels)?;
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(png), png::Limits { bytes: PNG_MEMORY });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info()?;
    check_picture(reader.info(), labels.len())?;
    let mut records = Vec::with_capacity(labels.len() * RECORD);
    for label in labels {
        // check_picture saw as many rows as there are labels, each of IMAGE bytes.
        let row =
            reader.next_row()?.ok_or_else(|| picture("without its last rows".to_owned(), labels.len()))?;
        records.push(*label);
        push_planes(&mut records, row.data());
    }
    reader.finish()?;
    Ok(records)
}

fn check_picture(info: &png::Info<'_>, rows: usize) -> Result<(), CifarError> {
    let kind = (info.color_type, info.bit_depth, info.interlaced, info.animation_control.is_some());
    let size = (info.width as usize, info.height as usize);
    let right = kind == (png::ColorType::Rgb, png::BitDepth::Eight, false, false) && size == (PLANE, rows);
    if right {
        return Ok(());
    }
    let laced = if info.interlaced { ", interlaced" } else { "" };
    let found =
        format!("{}×{} {:?} {:?}-bit{laced}", info.width, info.height, info.color_type, info.bit_depth);
    Err(picture(found, rows))
}

fn picture(found: String, rows: usize) -> CifarError {
    CifarError::Picture { expected: format!("{PLANE}×{rows} Rgb Eight-bit"), found }
}

fn push_planes(records: &mut Vec<u8>, interleaved: &[u8]) {
    for colour in 0..3 {
        records.extend(interleaved.iter().skip(colour).step_by(3));
    }
}

fn check_labels(labels: &[u8]) -> Result<(), CifarError> {
    match labels.iter().position(|label| *label >= CLASSES) {
        Some(image) => Err(CifarError::Label { image, found: labels[image] }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! Small batches in both forms.

    use super::*;

    /// Records whose bytes differ from pixel to pixel and from colour to colour.
    pub(crate) fn records(labels: &[u8]) -> Vec<u8> {
        let image = |label: u8| (0..IMAGE).map(move |at| (at * 7 + usize::from(label)) as u8);
        labels.iter().flat_map(|label| std::iter::once(*label).chain(image(*label))).collect()
    }

    /// The PNG that decodes to `records`.
    pub(crate) fn png(records: &[u8]) -> Vec<u8> {
        let mut rows = Vec::new();
        for [_, image @ ..] in records.as_chunks::<RECORD>().0 {
            for pixel in 0..PLANE {
                rows.extend([image[pixel], image[PLANE + pixel], image[2 * PLANE + pixel]]);
            }
        }
        encode(PLANE, records.len() / RECORD, png::ColorType::Rgb, &rows)
    }

    pub(crate) fn encode(width: usize, height: usize, color: png::ColorType, rows: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(rows).unwrap();
        writer.finish().unwrap();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_decode_to_labels_and_planes() {
        let bytes = fake::records(&[3, 8]);
        let records = decode_records(&bytes).unwrap();
        assert_eq!(records.labels, [3, 8]);
        assert_eq!(records.pixels[..IMAGE], bytes[1..RECORD]);
        assert_eq!(records.pixels[IMAGE..], bytes[RECORD + 1..]);
    }

    #[test]
    fn a_cut_or_longer_record_file_is_refused() {
        let mut bytes = fake::records(&[3, 8]);
        assert!(matches!(decode_records(&bytes[..RECORD + 1]), Err(CifarError::Length { .. })));
        bytes.push(0);
        let error = decode_records(&bytes).unwrap_err().to_string();
        assert_eq!(error, "6147 bytes are not whole CIFAR records of 3073 bytes");
    }

    #[test]
    fn a_label_above_nine_is_refused_with_its_image() {
        let error = decode_records(&fake::records(&[3, 10])).unwrap_err().to_string();
        assert_eq!(error, "image 1 has label 10, expected 0 to 9");
        assert!(from_png(&fake::png(&fake::records(&[3])), &[10]).is_err());
    }

    #[test]
    fn a_png_decodes_to_the_record_file_it_was_made_from() {
        let records = fake::records(&[3, 8, 0]);
        assert_eq!(from_png(&fake::png(&records), &[3, 8, 0]).unwrap(), records);
    }

    #[test]
    fn a_png_of_another_size_or_kind_is_refused_with_both() {
        let error = from_png(&fake::png(&fake::records(&[3, 8])), &[3]).unwrap_err().to_string();
        assert_eq!(error, "PNG is 1024×2 Rgb Eight-bit, expected 1024×1 Rgb Eight-bit");
        let grey = fake::encode(1024, 1, png::ColorType::Grayscale, &[0; 1024]);
        assert!(matches!(from_png(&grey, &[3]), Err(CifarError::Picture { .. })));
        let wide = fake::encode(2048, 1, png::ColorType::Rgb, &[0; 6144]);
        assert!(matches!(from_png(&wide, &[3]), Err(CifarError::Picture { .. })));
    }

    #[test]
    fn every_truncation_of_a_png_is_refused_without_panic() {
        let png = fake::png(&fake::records(&[3, 8]));
        // The last 12 bytes are the end marker, which holds no data.
        for len in (0..png.len() - 12).step_by(7) {
            assert!(from_png(&png[..len], &[3, 8]).is_err(), "{len} of {} bytes were accepted", png.len());
        }
    }

    #[test]
    fn no_flipped_byte_of_a_png_makes_it_panic() {
        let png = fake::png(&fake::records(&[3]));
        for position in 0..png.len() {
            let mut bytes = png.clone();
            bytes[position] ^= 0xff;
            // Either answer is right: what counts is the SHA-256 of the result.
            let _ = from_png(&bytes, &[3]);
        }
    }

    #[test]
    fn a_png_that_claims_to_be_giant_is_refused_by_its_header() {
        let mut png = fake::png(&fake::records(&[3]));
        png[16..24].fill(0x7f);
        assert!(from_png(&png, &[3]).is_err());
    }

    #[test]
    fn a_label_list_of_another_length_or_kind_is_refused() {
        assert_eq!(labels_from_json(b"[3, 8]", 2).unwrap(), [3, 8]);
        let error = labels_from_json(b"[3]", 2).unwrap_err().to_string();
        assert_eq!(error, "label list has 1 labels, expected 2");
        for text in ["[3, 10]", "[3, -1]", "[3, 8", "{}", "[[3, 8]]", "[3.5, 8]", "[3, 99999999999999999999]"]
        {
            assert!(labels_from_json(text.as_bytes(), 2).is_err(), "{text} was accepted");
        }
    }
}
