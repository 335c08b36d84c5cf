//! Named random streams: every draw is a pure function of (seed, stream, epoch, step).
//!
//! The key is a hash, never `seed + epoch`, so that neighbouring seeds and epochs share nothing, and no draw
//! depends on how many came before it. That is what lets a trial be resumed or replayed exactly, and what gives
//! the arms of one seed the same split, order and initial weights.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::digest::Hasher;

/// The one number a user chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

named! {
    /// What is drawn. The name goes into the key, so renaming one changes every result.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Stream {
        /// Initial weights; one draw a trial.
        Init = "init",
        /// Which training images are held out for validation.
        Split = "split",
        /// Which pictures of a class become test images where a user's own set has none; one draw a class, whose number
        /// stands in place of the step, of seed 0.
        TestShare = "test_share",
        /// Order of the training images; one draw an epoch.
        Order = "order",
        /// Dropout masks; one draw a step.
        Dropout = "dropout",
        /// Which images diagnostics look at, and what they draw; nothing a training depends on.
        Diagnose = "diagnose",
        /// Changes of one training image; one draw an epoch and image. In place of the step, the key has the image's
        /// index in the training file.
        Augment = "augment",
        /// The order of the runs of a block; nothing a training depends on.
        Blocks = "blocks",
        /// Images, states and directions of the gate's probes; nothing a training depends on.
        Probe = "probe",
    }
}

/// The state one draw starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key([u8; 32]);

impl Key {
    /// `epoch` and `step` count from 0; a stream that is drawn once uses 0.
    pub fn new(seed: Seed, stream: Stream, epoch: u64, step: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(b"pinbench/stream/1\0");
        hasher.update(stream.name().as_bytes());
        hasher.update(b"\0");
        for number in [seed.0, epoch, step] {
            hasher.update(&number.to_le_bytes());
        }
        Self(*hasher.finish().bytes())
    }

    /// Seed for libtorch's global generator, which is set from this before each use.
    pub fn torch_seed(&self) -> i64 {
        i64::from_le_bytes(std::array::from_fn(|index| self.0[index]))
    }

    /// The first `N` words of ChaCha8 from this key, each uniform in 0…2⁶⁴ − 1.
    pub fn words<const N: usize>(&self) -> [u64; N] {
        let mut random = ChaCha8Rng::from_seed(self.0);
        std::array::from_fn(|_| random.next_u64())
    }

    /// The first `len` bytes of ChaCha8 from this key, each uniform in 0…255.
    pub fn bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        ChaCha8Rng::from_seed(self.0).fill_bytes(&mut bytes);
        bytes
    }

    /// A uniform permutation of `0..len`: Fisher and Yates over ChaCha8.
    ///
    /// Spelled out, because a library's `shuffle` may draw differently in its next version.
    pub fn permutation(&self, len: u32) -> Vec<u32> {
        let mut random = ChaCha8Rng::from_seed(self.0);
        let mut order: Vec<u32> = (0..len).collect();
        for last in (1..order.len()).rev() {
            // At most u32::MAX + 1 positions, so the bound fits 64 bits with room to spare.
            order.swap(last, below(&mut random, last as u64 + 1) as usize);
        }
        order
    }
}

/// Uniform in `0..bound` without modulo bias (Lemire, ACM TOMACS 29(1), 2019, algorithm 5).
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    let reject_below = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= reject_below {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_in_every_part() {
        let key = Key::new(Seed(1), Stream::Order, 2, 3);
        assert_eq!(key, Key::new(Seed(1), Stream::Order, 2, 3));
        for other in [
            Key::new(Seed(2), Stream::Order, 2, 3),
            Key::new(Seed(1), Stream::Split, 2, 3),
            Key::new(Seed(1), Stream::Order, 3, 3),
            Key::new(Seed(1), Stream::Order, 2, 4),
            Key::new(Seed(2), Stream::Order, 1, 3),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn the_stream_is_pinned_so_that_old_results_stay_reproducible() {
        let key = Key::new(Seed(0), Stream::Order, 0, 0);
        assert_eq!(key.torch_seed(), PINNED_TORCH_SEED);
        assert_eq!(key.permutation(10), PINNED_PERMUTATION);
        assert_eq!(key.words(), PINNED_WORDS);
    }
    const PINNED_TORCH_SEED: i64 = -6_663_696_649_940_170_788;
    const PINNED_PERMUTATION: [u32; 10] = [9, 5, 8, 7, 4, 2, 0, 6, 1, 3];
    const PINNED_WORDS: [u64; 2] = [6_391_696_494_636_337_371, 3_223_949_314_699_991_304];

    #[test]
    fn a_permutation_holds_every_index_once() {
        for len in [0, 1, 2, 1000] {
            let mut order = Key::new(Seed(7), Stream::Split, 0, 0).permutation(len);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..len));
        }
    }

    #[test]
    fn every_position_is_equally_likely() {
        // 6000 draws of 5 places: χ² with 4 degrees of freedom is above 18.47 once in a thousand.
        for element in 0..5 {
            let mut seen = [0_f64; 5];
            for seed in 0..6000 {
                let order = Key::new(Seed(seed), Stream::Order, 0, 0).permutation(5);
                seen[order.iter().position(|&index| index == element).unwrap()] += 1.0;
            }
            let chi_squared: f64 = seen.iter().map(|count| (count - 1200.0).powi(2) / 1200.0).sum();
            assert!(chi_squared < 18.47, "element {element}: {seen:?}");
        }
    }
}
