//! What a training step has to do, and two rates of a machine to set it against.

use std::ops::Add;

/// Rows and columns of the two matrices whose product is timed.
pub const PRODUCT_SIDE: u32 = 1536;

/// Bytes of the tensor whose copying is timed: well beyond the last cache of any processor that is likely here.
pub const COPY_BYTES: u64 = 256 << 20;

/// Arithmetic, and the least that is read and written for it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Work {
    /// A multiply–add is two.
    pub flop: u64,
    pub bytes: u64,
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flop: self.flop + other.flop, bytes: self.bytes + other.bytes }
    }
}

/// What one step over a whole batch has to do. [`crate::network::cost`] counts it, and says how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepWork {
    pub forward: Work,
    pub backward: Work,
    /// Without its arithmetic, which is not counted.
    pub optimizer: Work,
}

impl StepWork {
    pub fn whole(&self) -> Work {
        self.forward + self.backward + self.optimizer
    }
}

/// Rates that libtorch itself reached on the machine, with the threads of the plan.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ceilings {
    /// Of float32 arithmetic: the faster of a matrix product and a convolution.
    pub flop_per_s: f64,
    /// Of a copy, bytes read and bytes written.
    pub bytes_per_s: f64,
}

impl Ceilings {
    /// FLOP a byte at which both rates allow the same.
    pub fn ridge(&self) -> f64 {
        self.flop_per_s / self.bytes_per_s
    }

    /// The roof: FLOP a second of work that does so many FLOP a byte, if neither rate is exceeded.
    pub fn roof(&self, flop_per_byte: f64) -> f64 {
        self.flop_per_s.min(flop_per_byte * self.bytes_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roof_rises_to_the_ridge_and_is_flat_beyond() {
        let ceilings = Ceilings { flop_per_s: 120e9, bytes_per_s: 15e9 };
        assert_eq!(ceilings.ridge(), 8.0);
        assert_eq!([2.0, 8.0, 80.0].map(|intensity| ceilings.roof(intensity)), [30e9, 120e9, 120e9]);
    }

    #[test]
    fn a_step_is_the_sum_of_its_parts() {
        let part = |flop, bytes| Work { flop, bytes };
        let work = StepWork { forward: part(1, 20), backward: part(2, 40), optimizer: part(0, 7) };
        assert_eq!(work.whole(), part(3, 67));
    }
}
