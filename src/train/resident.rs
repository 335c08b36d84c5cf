//! A whole split as one tensor of bytes on the device; a batch is gathered out of it and becomes floats there.

use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::data::Images;
use crate::experiment::plan::MemoryFormat;
use crate::train::TrainError;
use crate::train::normalise::Normalisation;
use crate::train::place::Place;

pub struct Resident {
    /// [N, C, H, W], or [N, H, W, C] when channels come last; bytes.
    pixels: Tensor,
    /// 255 where the pixels are. A number in its place would be multiplied by its reciprocal on a CUDA device, which gives
    /// other bits.
    divisor: Tensor,
    labels: Tensor,
    format: MemoryFormat,
    /// And its mean and standard deviation where the set is.
    normalisation: Option<(Arc<Normalisation>, Tensor, Tensor)>,
}

pub struct Batch {
    /// [n, C, H, W] in the plan's memory format; pixels scaled to [0, 1].
    pub images: Tensor,
    /// [n], class indices.
    pub labels: Tensor,
}

impl Batch {
    /// `len` images from `start`: views, no copies.
    pub fn part(&self, start: i64, len: i64) -> Result<Self, TrainError> {
        if start == 0 && len == self.labels.size()[0] {
            return Ok(Self { images: self.images.shallow_clone(), labels: self.labels.shallow_clone() });
        }
        let part = |tensor: &Tensor| tensor.f_narrow(0, start, len);
        Ok(Self { images: part(&self.images)?, labels: part(&self.labels)? })
    }

    /// The same batch at `place`.
    pub fn on(self, place: Place) -> Result<Self, TrainError> {
        Ok(Self { images: place.put(self.images)?, labels: place.put(self.labels)? })
    }
}

impl Resident {
    /// On the host.
    pub fn new(images: &Images, format: MemoryFormat) -> Result<Self, TrainError> {
        let shape = images.shape;
        let size = [images.len(), shape.channels, shape.height, shape.width].map(|side| side as i64);
        let pixels = Tensor::f_from_slice(&images.pixels)?.f_view(size)?;
        let pixels = match format {
            MemoryFormat::Contiguous => pixels,
            MemoryFormat::ChannelsLast => pixels.f_permute([0, 2, 3, 1])?.f_contiguous()?,
        };
        let labels: Vec<i64> = images.labels.iter().map(|&label| i64::from(label)).collect();
        let labels = Tensor::f_from_slice(&labels)?;
        Ok(Self { pixels, divisor: Tensor::from(255.0_f32), labels, format, normalisation: None })
    }

    /// The same set at `place`.
    pub fn on(self, place: Place) -> Result<Self, TrainError> {
        let (pixels, labels) = (place.put(self.pixels)?, place.put(self.labels)?);
        let put = |(normalisation, mean, std)| -> Result<_, TrainError> {
            Ok((normalisation, place.put(mean)?, place.put(std)?))
        };
        let normalisation = self.normalisation.map(put).transpose()?;
        Ok(Self { pixels, divisor: place.put(self.divisor)?, labels, format: self.format, normalisation })
    }

    /// The same set, not a copy of it.
    pub fn shallow_clone(&self) -> Self {
        let shared = |(normalisation, mean, std): &(Arc<Normalisation>, Tensor, Tensor)| {
            (Arc::clone(normalisation), mean.shallow_clone(), std.shallow_clone())
        };
        Self {
            pixels: self.pixels.shallow_clone(),
            divisor: self.divisor.shallow_clone(),
            labels: self.labels.shallow_clone(),
            format: self.format,
            normalisation: self.normalisation.as_ref().map(shared),
        }
    }

    /// The same set, whose batches are normalised. On the host.
    pub fn normalised(mut self, normalisation: Option<Normalisation>) -> Result<Self, TrainError> {
        let with_tensors = |normalisation: Normalisation| -> Result<_, TrainError> {
            let (mean, std) = normalisation.tensors(self.format)?;
            Ok((Arc::new(normalisation), mean, std))
        };
        self.normalisation = normalisation.map(with_tensors).transpose()?;
        Ok(self)
    }

    pub fn normalisation(&self) -> Option<Arc<Normalisation>> {
        self.normalisation.as_ref().map(|(normalisation, ..)| Arc::clone(normalisation))
    }

    /// The images at `indices`, a tensor [n] of 64-bit integers where the set is.
    pub fn batch(&self, indices: &Tensor) -> Result<Batch, TrainError> {
        // As torchvision's ToTensor: convert, then divide.
        let mut images = self.pixels.f_index_select(0, indices)?.f_to_kind(Kind::Float)?;
        let _images = images.f_divide_(&self.divisor)?;
        if let Some((_, mean, std)) = &self.normalisation {
            let _images = images.f_sub_(mean)?;
            let _images = images.f_div_(std)?;
        }
        let images = match self.format {
            MemoryFormat::Contiguous => images,
            MemoryFormat::ChannelsLast => images.f_permute([0, 3, 1, 2])?,
        };
        Ok(Batch { images, labels: self.labels.f_index_select(0, indices)? })
    }
}

/// Positions in a set as a tensor to cut batches from, on the host.
pub fn indices(positions: &[u32]) -> Result<Tensor, TrainError> {
    let positions: Vec<i64> = positions.iter().map(|&position| i64::from(position)).collect();
    Ok(Tensor::f_from_slice(&positions)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Shape;

    #[test]
    fn every_byte_becomes_the_float_that_division_gives() {
        let shape = Shape { channels: 1, height: 16, width: 16 };
        let images = Images { pixels: (0..=255).collect(), labels: vec![0], shape };
        let set = Resident::new(&images, MemoryFormat::Contiguous).unwrap();
        let batch = set.batch(&indices(&[0]).unwrap()).unwrap().images;
        assert_eq!(batch.kind(), Kind::Float);
        let found = Vec::<f32>::try_from(batch.flatten(0, -1)).unwrap();
        let expected: Vec<f32> = (0..=255_u8).map(|byte| f32::from(byte) / 255.0).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn on_the_host_neither_set_nor_batch_is_copied() {
        let shape = Shape { channels: 1, height: 2, width: 2 };
        let images = Images { pixels: vec![9; 12], labels: vec![0, 1, 2], shape };
        let set = Resident::new(&images, MemoryFormat::ChannelsLast).unwrap();
        let before = (set.pixels.data_ptr(), set.labels.data_ptr());
        let set = set.on(Place::HOST).unwrap().shallow_clone();
        assert_eq!((set.pixels.data_ptr(), set.labels.data_ptr()), before);
        let batch = set.batch(&indices(&[2, 0]).unwrap()).unwrap();
        let before = (batch.images.data_ptr(), batch.labels.data_ptr());
        let batch = batch.on(Place::HOST).unwrap();
        assert_eq!((batch.images.data_ptr(), batch.labels.data_ptr()), before);
    }
}
