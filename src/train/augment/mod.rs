//! Random changes of the training images, made anew for each batch: the loader of a config with `augment`.
//!
//! The draws of one image are a function of (seed, epoch, index of the image in the training file): neither batch
//! size, order nor thread count changes a bit of it. Plain Rust on one thread, so that it is part of the step's load
//! phase like any other loader's work, and one that cannot hide behind libtorch's threads.

mod canvas;
mod change;

use tch::Tensor;

use crate::data::{Images, Shape};
use crate::experiment::config::Augment;
use crate::experiment::plan::MemoryFormat;
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::augment::canvas::Canvas;
use crate::train::augment::change::Change;
use crate::train::resident::Batch;

pub struct Augmenter<'a> {
    augment: &'a Augment,
    images: &'a Images,
    seed: Seed,
    format: MemoryFormat,
    /// A byte as a float in [0, 1].
    scaled: [f32; 256],
    canvas: Canvas,
    /// The batch, kept so that its memory is asked for once.
    pixels: Vec<f32>,
}

impl<'a> Augmenter<'a> {
    pub fn new(augment: &'a Augment, images: &'a Images, seed: Seed, format: MemoryFormat) -> Self {
        Self {
            augment,
            images,
            seed,
            format,
            // The bits of `Resident`, which divides too.
            scaled: std::array::from_fn(|byte| byte as f32 / 255.0),
            canvas: Canvas::new(images.shape),
            pixels: Vec::new(),
        }
    }

    /// The images at `indices`, a tensor [n] of 64-bit integers, as they are changed in `epoch`; as
    /// [`Resident::batch`](super::resident::Resident::batch) gives them.
    pub fn batch(&mut self, epoch: u32, indices: &Tensor) -> Result<Batch, TrainError> {
        let indices = Vec::<i64>::try_from(indices)?;
        let Shape { channels, height, width } = self.images.shape;
        let mut labels = Vec::with_capacity(indices.len());
        self.pixels.clear();
        for &index in &indices {
            let index = usize::try_from(index).ok().filter(|&index| index < self.images.len());
            let index = index
                .ok_or_else(|| TrainError::Internal("a batch names an image there is none of".to_owned()))?;
            self.draw(epoch, index);
            labels.push(i64::from(self.images.labels[index]));
        }
        let [n, channels, height, width] = [indices.len(), channels, height, width].map(|side| side as i64);
        let pixels = Tensor::f_from_slice(&self.pixels)?;
        let images = match self.format {
            MemoryFormat::Contiguous => pixels.f_view([n, channels, height, width])?,
            MemoryFormat::ChannelsLast => {
                pixels.f_view([n, height, width, channels])?.f_permute([0, 3, 1, 2])?
            }
        };
        Ok(Batch { images, labels: Tensor::f_from_slice(&labels)? })
    }

    /// Appends the image at `index` of the training file.
    fn draw(&mut self, epoch: u32, index: usize) {
        let shape = self.images.shape;
        let bytes = &self.images.pixels[index * shape.len()..][..shape.len()];
        for (pixel, &byte) in self.canvas.pixels_mut().iter_mut().zip(bytes) {
            *pixel = self.scaled[usize::from(byte)];
        }
        let key = Key::new(self.seed, Stream::Augment, u64::from(epoch), index as u64);
        Change::draw(self.augment, shape, &key).apply(&mut self.canvas);
        let planes = self.canvas.pixels();
        match self.format {
            MemoryFormat::ChannelsLast if shape.channels > 1 => {
                let start = self.pixels.len();
                self.pixels.resize(start + shape.len(), 0.0);
                for (channel, plane) in planes.chunks_exact(shape.height * shape.width).enumerate() {
                    let places = self.pixels[start + channel..].iter_mut().step_by(shape.channels);
                    places.zip(plane).for_each(|(place, &value)| *place = value);
                }
            }
            _ => self.pixels.extend_from_slice(planes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::resident::{Resident, indices};

    const COLOUR: Shape = Shape { channels: 3, height: 6, width: 8 };

    fn images(shape: Shape, count: usize) -> Images {
        let pixels = (0..count * shape.len()).map(|index| (index * 89 % 251) as u8).collect();
        Images { pixels, labels: (0..count).map(|index| index as u8 % 10).collect(), shape }
    }

    fn all() -> Augment {
        Augment { shift: Some(2), rotation: Some(20.0), flip: Some(true), crop: Some(1), cutout: Some(2) }
    }

    /// Pixels in logical order, image by image, and labels.
    fn values(batch: &Batch) -> (Vec<Vec<f32>>, Vec<i64>) {
        let n = batch.images.size()[0] as usize;
        let flat = Vec::<f32>::try_from(batch.images.contiguous().flatten(0, -1)).unwrap();
        let images = flat.chunks(flat.len() / n).map(<[f32]>::to_vec).collect();
        (images, Vec::try_from(&batch.labels).unwrap())
    }

    fn changed(
        augment: &Augment,
        format: MemoryFormat,
        epoch: u32,
        positions: &[u32],
    ) -> (Vec<Vec<f32>>, Vec<i64>) {
        let images = images(COLOUR, 20);
        let mut augmenter = Augmenter::new(augment, &images, Seed(3), format);
        values(&augmenter.batch(epoch, &indices(positions).unwrap()).unwrap())
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
        let mut augmenter = Augmenter::new(&augment, &images, Seed(3), MemoryFormat::Contiguous);
        let mut batch =
            |positions: &[u32]| values(&augmenter.batch(0, &indices(positions).unwrap()).unwrap());
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

    /// Of both loaders, with one channel and three: values, and the strides that libtorch's kernels choose by.
    #[test]
    fn with_nothing_to_change_a_batch_is_that_of_the_plain_loader() {
        let nothing =
            Augment { shift: Some(0), rotation: Some(0.0), crop: Some(0), cutout: Some(0), flip: None };
        for shape in [COLOUR, Shape { channels: 1, ..COLOUR }] {
            for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
                let images = images(shape, 20);
                let positions = indices(&[5, 11, 2]).unwrap();
                let plain = Resident::new(&images, format).unwrap().batch(&positions).unwrap();
                let mut augmenter = Augmenter::new(&nothing, &images, Seed(3), format);
                let changed = augmenter.batch(0, &positions).unwrap();
                assert_eq!(values(&changed), values(&plain));
                assert_eq!(changed.images.stride(), plain.images.stride());
                assert_eq!(changed.images.kind(), plain.images.kind());
                assert_eq!(changed.labels.kind(), plain.labels.kind());
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
        for set in [Name::Mnist, Name::Cifar10] {
            let images = data::load(set, &data::root().unwrap()).unwrap().train;
            let first = indices(&(0..16).collect::<Vec<_>>()).unwrap();
            let rows: Vec<Tensor> = rows
                .iter()
                .map(|augment| {
                    let mut augmenter = Augmenter::new(augment, &images, Seed(0), MemoryFormat::Contiguous);
                    // [n, C, H, W] to [H, n·W, C]: images side by side.
                    let row = augmenter.batch(0, &first).unwrap().images.permute([2, 0, 3, 1]);
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
        let augment = all();
        let mut augmenter = Augmenter::new(&augment, &images, Seed(3), MemoryFormat::Contiguous);
        assert!(augmenter.batch(0, &indices(&[20]).unwrap()).is_err());
    }
}
