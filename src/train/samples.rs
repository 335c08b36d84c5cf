//! Batches made image by image, each out of the bytes in memory: as PyTorch's `DataLoader` makes them, and the one
//! way to images that are changed anew in each epoch.
//!
//! The draws of one image are a function of (seed, epoch, index of the image in the training file): neither batch
//! size, order nor the thread that makes the batch changes a bit of it. Plain Rust on the thread that asks, but for the
//! copy into tensors, so that its work cannot hide behind libtorch's threads.

use std::mem;
use std::sync::Arc;

use tch::Tensor;

use crate::data::{Images, Shape};
use crate::experiment::config::Augment;
use crate::experiment::plan::MemoryFormat;
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::augment::{Canvas, Change};
use crate::train::normalise::Normalisation;
use crate::train::resident::Batch;

/// A byte as a float in [0, 1].
static SCALED: [f32; 256] = scaled();

const fn scaled() -> [f32; 256] {
    let mut scaled = [0.0; 256];
    let mut byte = 0_usize;
    while byte < scaled.len() {
        // The bits of `Resident`, which divides too.
        scaled[byte] = byte as f32 / 255.0;
        byte += 1;
    }
    scaled
}

/// Each thread that makes batches has one of its own.
#[derive(Clone)]
pub struct Samples<'a> {
    images: &'a Images,
    augment: Option<&'a Augment>,
    seed: Seed,
    format: MemoryFormat,
    canvas: Canvas,
    normalisation: Option<Arc<Normalisation>>,
    /// What `batch` makes the next one in, so that its memory is asked for once; a worker gives its arrays away.
    spare: Arrays,
}

/// A batch that is not tensors yet.
#[derive(Clone, Default)]
pub struct Arrays {
    /// Image by image, each as the memory format has it.
    pixels: Vec<f32>,
    labels: Vec<i64>,
}

impl<'a> Samples<'a> {
    /// `images` as they are, or changed as `augment` says.
    pub fn new(images: &'a Images, augment: Option<&'a Augment>, seed: Seed, format: MemoryFormat) -> Self {
        let canvas = Canvas::new(images.shape);
        Self { images, augment, seed, format, canvas, normalisation: None, spare: Arrays::default() }
    }

    /// Has pixels normalised, before anything is changed at random.
    pub fn normalise(&mut self, normalisation: Option<Arc<Normalisation>>) {
        self.normalisation = normalisation;
    }

    /// The images at `positions` in the file, as they are in `epoch`; as
    /// [`Resident::batch`](super::resident::Resident::batch) gives them.
    pub fn batch(&mut self, epoch: u32, positions: &[u32]) -> Result<Batch, TrainError> {
        let arrays = self.arrays(epoch, positions)?;
        let batch = self.tensors(&arrays)?;
        self.spare = arrays;
        Ok(batch)
    }

    /// What [`batch`](Self::batch) does before [`tensors`](Self::tensors): all but the calls into libtorch.
    pub fn arrays(&mut self, epoch: u32, positions: &[u32]) -> Result<Arrays, TrainError> {
        let mut arrays = mem::take(&mut self.spare);
        arrays.pixels.clear();
        arrays.labels.clear();
        arrays.pixels.reserve(positions.len() * self.images.shape.len());
        for &position in positions {
            let index = position as usize;
            let Some(&label) = self.images.labels.get(index) else {
                let (count, of) = (self.images.len(), position);
                return Err(TrainError::Internal(format!("a batch names image {of}, there are {count}")));
            };
            arrays.labels.push(i64::from(label));
            self.append(epoch, index, &mut arrays.pixels);
        }
        Ok(arrays)
    }

    /// A copy of `arrays`, which were made with the same memory format.
    pub fn tensors(&self, arrays: &Arrays) -> Result<Batch, TrainError> {
        let Shape { channels, height, width } = self.images.shape;
        let [n, channels, height, width] =
            [arrays.labels.len(), channels, height, width].map(|side| side as i64);
        let pixels = Tensor::f_from_slice(&arrays.pixels)?;
        let images = match self.format {
            MemoryFormat::Contiguous => pixels.f_view([n, channels, height, width])?,
            MemoryFormat::ChannelsLast => {
                pixels.f_view([n, height, width, channels])?.f_permute([0, 3, 1, 2])?
            }
        };
        Ok(Batch { images, labels: Tensor::f_from_slice(&arrays.labels)? })
    }

    /// Appends the image at `index` of the file.
    fn append(&mut self, epoch: u32, index: usize, pixels: &mut Vec<f32>) {
        let shape = self.images.shape;
        let bytes = &self.images.pixels[index * shape.len()..][..shape.len()];
        for (pixel, &byte) in self.canvas.pixels_mut().iter_mut().zip(bytes) {
            *pixel = SCALED[usize::from(byte)];
        }
        if let Some(normalisation) = &self.normalisation {
            for (index, pixel) in self.canvas.pixels_mut().iter_mut().enumerate() {
                *pixel = normalisation.apply(index, *pixel);
            }
        }
        if let Some(augment) = self.augment {
            let key = Key::new(self.seed, Stream::Augment, u64::from(epoch), index as u64);
            Change::draw(augment, shape, &key).apply(&mut self.canvas);
        }
        let planes = self.canvas.pixels();
        match self.format {
            MemoryFormat::ChannelsLast if shape.channels > 1 => {
                let start = pixels.len();
                pixels.resize(start + shape.len(), 0.0);
                for (channel, plane) in planes.chunks_exact(shape.height * shape.width).enumerate() {
                    let places = pixels[start + channel..].iter_mut().step_by(shape.channels);
                    places.zip(plane).for_each(|(place, &value)| *place = value);
                }
            }
            _ => pixels.extend_from_slice(planes),
        }
    }
}

/// Made-up images, and what is compared of a batch: for the tests of every loader.
#[cfg(test)]
pub(super) mod made_up {
    use tch::Kind;

    use super::{Augment, Batch, Images, Shape};

    pub(crate) const COLOUR: Shape = Shape { channels: 3, height: 6, width: 8 };
    pub(crate) const GREY: Shape = Shape { channels: 1, ..COLOUR };

    pub(crate) fn images(shape: Shape, count: usize) -> Images {
        let pixels = (0..count * shape.len()).map(|index| (index * 89 % 251) as u8).collect();
        Images { pixels, labels: (0..count).map(|index| index as u16 % 10).collect(), shape }
    }

    /// Every change at once.
    pub(crate) fn all() -> Augment {
        Augment { shift: Some(2), rotation: Some(20.0), flip: Some(true), crop: Some(1), cutout: Some(2) }
    }

    /// Pixels in logical order, labels, and what libtorch's kernels choose by: strides and kinds.
    pub(crate) type Seen = (Vec<f32>, Vec<i64>, Vec<i64>, [Kind; 2]);

    pub(crate) fn seen(batch: &Batch) -> Seen {
        (
            Vec::try_from(batch.images.contiguous().flatten(0, -1)).unwrap(),
            Vec::try_from(&batch.labels).unwrap(),
            batch.images.stride(),
            [batch.images.kind(), batch.labels.kind()],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::made_up::{COLOUR, GREY, all, images, seen};
    use super::*;
    use crate::train::resident::{Resident, indices};

    /// Pixels in logical order, image by image, and labels.
    fn values(batch: &Batch) -> (Vec<Vec<f32>>, Vec<i64>) {
        let (flat, labels, ..) = seen(batch);
        (flat.chunks(flat.len() / labels.len()).map(<[f32]>::to_vec).collect(), labels)
    }

    fn changed(
        augment: &Augment,
        format: MemoryFormat,
        epoch: u32,
        positions: &[u32],
    ) -> (Vec<Vec<f32>>, Vec<i64>) {
        let images = images(COLOUR, 20);
        let mut samples = Samples::new(&images, Some(augment), Seed(3), format);
        values(&samples.batch(epoch, positions).unwrap())
    }

    #[test]
    fn an_image_has_the_same_bits_in_any_batch_at_any_place() {
        let format = MemoryFormat::Contiguous;
        let (whole, labels) = changed(&all(), format, 2, &(0..20).collect::<Vec<_>>());
        assert_eq!(labels[13], 3);
        for positions in [&[13][..], &[4, 13, 0], &[13, 13], &[19, 18, 17, 16, 15, 14, 13]] {
            let (images, labels) = changed(&all(), format, 2, positions);
            for ((image, label), &position) in images.iter().zip(labels).zip(positions) {
                assert_eq!(*image, whole[position as usize]);
                assert_eq!(label, i64::from(position % 10));
            }
        }
        assert_ne!(whole, changed(&all(), format, 3, &(0..20).collect::<Vec<_>>()).0);
    }

    #[test]
    fn a_batch_is_used_up_before_the_next() {
        let images = images(COLOUR, 20);
        let augment = all();
        let mut samples = Samples::new(&images, Some(&augment), Seed(3), MemoryFormat::Contiguous);
        let mut batch = |positions: &[u32]| values(&samples.batch(0, positions).unwrap());
        let first = batch(&[1, 2, 3]);
        batch(&[9, 8]);
        assert_eq!(batch(&[1, 2, 3]), first);
    }

    #[test]
    fn both_memory_formats_hold_the_same_pixels() {
        let positions = [7, 0, 19];
        let contiguous = changed(&all(), MemoryFormat::Contiguous, 1, &positions);
        assert_eq!(contiguous, changed(&all(), MemoryFormat::ChannelsLast, 1, &positions));
    }

    #[test]
    fn with_nothing_to_change_a_batch_is_that_of_the_resident_set() {
        let nothing =
            Augment { shift: Some(0), rotation: Some(0.0), crop: Some(0), cutout: Some(0), flip: None };
        for shape in [COLOUR, GREY] {
            for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
                let images = images(shape, 20);
                let positions = [5, 11, 2];
                let resident = Resident::new(&images, format).unwrap();
                let expected = seen(&resident.batch(&indices(&positions).unwrap()).unwrap());
                for augment in [None, Some(&nothing)] {
                    let mut samples = Samples::new(&images, augment, Seed(3), format);
                    assert_eq!(seen(&samples.batch(0, &positions).unwrap()), expected);
                }
            }
        }
    }

    /// One PNG a data set, a row a transform: `PINBENCH_SHEETS=target/sheets cargo test --release --lib -- --ignored
    /// sheets_to_look_at`.
    #[test]
    #[ignore = "writes pictures for people; needs the data sets"]
    fn sheets_to_look_at() {
        use crate::data::{self, Name};
        let folder = std::path::PathBuf::from(std::env::var_os("PINBENCH_SHEETS").expect("a folder"));
        std::fs::create_dir_all(&folder).unwrap();
        let none = Augment::default();
        let rows = [
            none.clone(),
            Augment { shift: Some(4), ..none.clone() },
            Augment { rotation: Some(30.0), ..none.clone() },
            Augment { flip: Some(true), ..none.clone() },
            Augment { crop: Some(4), ..none.clone() },
            Augment { cutout: Some(10), ..none },
            all(),
        ];
        for set in [Name::mnist(), Name::cifar10()] {
            let images = data::load(set, &data::root().unwrap()).unwrap().train;
            let first: Vec<u32> = (0..16).collect();
            let rows: Vec<Tensor> = rows
                .iter()
                .map(|augment| {
                    let mut samples = Samples::new(&images, Some(augment), Seed(0), MemoryFormat::Contiguous);
                    // [n, C, H, W] to [H, n·W, C]: images side by side.
                    let row = samples.batch(0, &first).unwrap().images.permute([2, 0, 3, 1]);
                    let [height, n, width, channels] = row.size()[..] else {
                        unreachable!("four dimensions")
                    };
                    row.reshape([height, n * width, channels])
                })
                .collect();
            let sheet = (Tensor::cat(&rows, 0) * 255.0).round().to_kind(tch::Kind::Uint8);
            let [height, width, channels] = sheet.size()[..] else { unreachable!("three dimensions") };
            let file = std::fs::File::create(folder.join(format!("{set}.png"))).unwrap();
            let mut encoder = png::Encoder::new(file, width as u32, height as u32);
            encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
            let bytes = Vec::<u8>::try_from(sheet.flatten(0, -1)).unwrap();
            encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
        }
    }

    #[test]
    fn an_index_outside_the_file_is_an_error() {
        let images = images(COLOUR, 20);
        let mut samples = Samples::new(&images, None, Seed(3), MemoryFormat::Contiguous);
        let error = samples.batch(0, &[20]).err().unwrap().to_string();
        assert!(error.contains("image 20, there are 20"), "{error}");
    }
}
