//! One picture of a user: decoded, turned as its camera says, brought to size.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageDecoder as _, ImageFormat, ImageReader, RgbImage};

use crate::dataset::Shape;

/// What decodes pictures. The lock file names the same version; a test compares the two.
pub(super) const DECODER: &str = "image 0.25.10";
/// How pictures are resized: linear between pixels, averaged over those that one of fewer stands for.
pub(super) const FILTER: &str = "triangle";
/// Pixels of a side, beyond which a file's header is not believed.
const MAX_SIDE: u32 = 1 << 15;

/// Width and height in pixels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.width, self.height)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no size: expected pixels of a side, as in 64, or width and height, as in 64x48")]
pub struct NoSize(String);

impl std::str::FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let (width, height) = text.split_once(['x', '×']).unwrap_or((text, text));
        let side = |text: &str| text.parse().map_err(|_| NoSize(text.to_owned()));
        match (side(width), side(height)) {
            (Ok(width), Ok(height)) => Ok(Self { width, height }),
            _ => Err(NoSize(text.to_owned())),
        }
    }
}

/// Rows of pixels, each pixel with one byte a channel: `height`·`width`·`channels` bytes.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Picture {
    /// What it is called in a message: a path below the user's folder, or its place in a file.
    pub name: String,
    pub label: u16,
    pub size: Size,
    /// 1 or 3.
    pub channels: usize,
    pub pixels: Vec<u8>,
    /// Its size was another.
    pub is_resized: bool,
}

impl Picture {
    /// Decodes a PNG or JPEG: grey stays grey, all else becomes red, green and blue of 8 bits. Transparency is left out.
    /// The error says why it is broken.
    pub(super) fn decode(name: String, label: u16, bytes: &[u8]) -> Result<Self, String> {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let mut reader = reader.map_err(|error| error.to_string())?;
        match reader.format() {
            None => return Err("is neither PNG nor JPEG".to_owned()),
            Some(ImageFormat::Jpeg) if is_cut_short(bytes) => {
                return Err("is cut short: no marker ends the picture".to_owned());
            }
            Some(_) => {}
        }
        let mut limits = image::Limits::default();
        (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
        reader.limits(limits.clone());
        let said = |error: image::ImageError| error.to_string();
        let mut decoder = reader.into_decoder().map_err(said)?;
        // What a header claims is asked for before a row is read.
        limits.reserve(decoder.total_bytes()).map_err(said)?;
        let orientation = decoder.orientation().map_err(said)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(said)?;
        image.apply_orientation(orientation);
        let size = Size { width: image.width(), height: image.height() };
        let (channels, pixels) = if image.color().has_color() {
            (3, image.into_rgb8().into_raw())
        } else {
            (1, image.into_luma8().into_raw())
        };
        Ok(Self { name, label, size, channels, pixels, is_resized: false })
    }

    /// Stretched or shrunk to `size`; as it is where it has it.
    pub(super) fn resized(mut self, size: Size) -> Self {
        let Size { width, height } = self.size;
        if self.size == size {
            return self;
        }
        // Both buffers hold as many bytes as their sides say, so neither is `None`.
        let resized = match self.channels {
            1 => GrayImage::from_raw(width, height, self.pixels).map(|image| {
                imageops::resize(&image, size.width, size.height, FilterType::Triangle).into_raw()
            }),
            _ => RgbImage::from_raw(width, height, self.pixels).map(|image| {
                imageops::resize(&image, size.width, size.height, FilterType::Triangle).into_raw()
            }),
        };
        self.pixels = resized.unwrap_or_default();
        (self.size, self.is_resized) = (size, true);
        self
    }

    pub(super) fn shape(&self, channels: usize) -> Shape {
        Shape { channels, height: self.size.height as usize, width: self.size.width as usize }
    }

    /// Appends the pixels channel by channel, a grey picture as often as there are `channels`.
    pub(super) fn append_planes(&self, channels: usize, to: &mut Vec<u8>) {
        for channel in 0..channels {
            let channel = if self.channels == 1 { 0 } else { channel };
            to.extend(self.pixels.iter().skip(channel).step_by(self.channels));
        }
    }
}

/// A JPEG without the marker that ends it: the decoder would fill in grey what is missing, and say nothing.
fn is_cut_short(jpeg: &[u8]) -> bool {
    // Segments say how long they are, up to the one after which the picture is coded; a preview within them has an end of its own.
    let mut rest = jpeg.get(2..).unwrap_or_default();
    while let [0xff, marker, high, low, ..] = *rest {
        let len = if marker == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        rest = rest.get(len..).unwrap_or_default();
        if marker == 0xda {
            break;
        }
    }
    !rest.windows(2).any(|marker| marker == [0xff, 0xd9])
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// The file of a picture.
    pub(crate) fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// A grey PNG whose pixels are `pixels`, row by row.
    pub(crate) fn grey(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
        let image = GrayImage::from_raw(width, height, pixels.to_vec()).unwrap();
        file(&image.into(), ImageFormat::Png)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Picture {
        Picture::decode("p".to_owned(), 1, bytes).unwrap()
    }

    #[test]
    fn a_size_is_one_side_or_width_and_height() {
        let size = |width, height| Size { width, height };
        assert_eq!("64".parse::<Size>().unwrap(), size(64, 64));
        assert_eq!("64x48".parse::<Size>().unwrap(), size(64, 48));
        assert_eq!("64×48".parse::<Size>().unwrap(), size(64, 48));
        for text in ["", "x", "64x", "a", "-1", "1x2x3"] {
            assert!(text.parse::<Size>().unwrap_err().to_string().contains("is no size"), "{text}");
        }
    }

    #[test]
    fn the_decoder_that_is_named_is_the_one_that_is_locked() {
        let lock = include_str!("../../../Cargo.lock");
        let (name, version) = DECODER.split_once(' ').unwrap();
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "{DECODER}");
    }

    #[test]
    fn grey_stays_grey_and_colour_becomes_planes() {
        let picture = decoded(&fake::grey(3, 2, &[1, 2, 3, 4, 5, 6]));
        assert_eq!((picture.channels, picture.size), (1, Size { width: 3, height: 2 }));
        let mut planes = Vec::new();
        picture.append_planes(3, &mut planes);
        assert_eq!(planes, [1, 2, 3, 4, 5, 6].repeat(3));
        let colour = RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let picture = decoded(&fake::file(&colour.into(), ImageFormat::Png));
        planes.clear();
        picture.append_planes(3, &mut planes);
        assert_eq!(planes, [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn transparency_is_left_out_and_sixteen_bits_become_eight() {
        let image = image::RgbaImage::from_raw(1, 1, vec![9, 8, 7, 0]).unwrap();
        assert_eq!(decoded(&fake::file(&image.into(), ImageFormat::Png)).pixels, [9, 8, 7]);
        let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(1, 1, vec![0xff00_u16]).unwrap();
        assert_eq!(decoded(&fake::file(&image.into(), ImageFormat::Png)).pixels, [254]);
    }

    #[test]
    fn a_jpeg_is_decoded_near_to_what_it_was_made_of() {
        let image = RgbImage::from_fn(16, 8, |_, _| image::Rgb([200, 100, 50]));
        let picture = decoded(&fake::file(&image.into(), ImageFormat::Jpeg));
        assert_eq!((picture.size, picture.channels), (Size { width: 16, height: 8 }, 3));
        assert!(
            picture.pixels.chunks(3).all(|pixel| pixel[0].abs_diff(200) < 4 && pixel[2].abs_diff(50) < 4)
        );
    }

    /// The bytes of what is resized are part of a set's digest: another version of the library may give others, and then
    /// this test says so.
    #[test]
    fn the_bits_of_a_resized_picture_are_pinned() {
        let pixels: Vec<u8> = (0..48).map(|index| (index * 37 % 256) as u8).collect();
        let picture = decoded(&fake::grey(8, 6, &pixels)).resized(Size { width: 3, height: 4 });
        assert!(picture.is_resized && picture.size == Size { width: 3, height: 4 });
        assert_eq!(picture.pixels, RESIZED);
        let same = decoded(&fake::grey(8, 6, &pixels)).resized(Size { width: 8, height: 6 });
        assert!(!same.is_resized && same.pixels == pixels);
    }
    const RESIZED: [u8; 12] = [56, 142, 121, 112, 157, 71, 163, 113, 93, 168, 81, 147];

    #[test]
    fn what_is_no_picture_is_an_error_and_no_panic() {
        let png = fake::grey(5, 5, &[7; 25]);
        for len in 0..png.len() - 12 {
            assert!(Picture::decode(String::new(), 0, &png[..len]).is_err(), "{len}");
        }
        for position in 0..png.len() {
            let mut bytes = png.clone();
            bytes[position] ^= 0xff;
            let _ = Picture::decode(String::new(), 0, &bytes);
        }
        let image =
            RgbImage::from_fn(40, 40, |x, y| image::Rgb([(x * y) as u8, (x * 7) as u8, (y * 5) as u8]));
        let jpeg = fake::file(&image.into(), ImageFormat::Jpeg);
        assert!(!is_cut_short(&jpeg) && !is_cut_short(&[&jpeg[..], b"what a camera adds"].concat()));
        // The preview of a camera ends, and the picture does not.
        let preview =
            [b"\xff\xd8\xff\xe1".as_slice(), &(2 + jpeg.len() as u16).to_be_bytes(), &jpeg].concat();
        let with_preview = [&preview, &jpeg[2..]].concat();
        assert!(Picture::decode(String::new(), 0, &with_preview).is_ok());
        for (jpeg, from) in [(&jpeg, 0), (&with_preview, preview.len())] {
            for len in from..jpeg.len() - 1 {
                assert!(Picture::decode(String::new(), 0, &jpeg[..len]).is_err(), "{len}");
            }
        }
        // Its header claims eight gigabytes.
        let mut large = png.clone();
        large[16..26].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0, 16, 6]);
        // The checksum of such a header.
        large[29..33].copy_from_slice(&[148, 236, 127, 60]);
        let error = Picture::decode(String::new(), 0, &large).unwrap_err();
        assert!(error.contains("Memory limit"), "{error}");
        let error = Picture::decode(String::new(), 0, b"GIF89a").unwrap_err();
        assert!(!error.is_empty());
    }
}
