//! Which algorithm computes a convolution, by layer and pass: a table with a version, which depends on shapes alone. Neither
//! the machine nor a clock has a say in it, so that a record says what ran and a replay runs the same.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::network::layer::Conv;
use crate::network::shape::Size;

/// The versions of the table there are. One that a record names is never changed; another choice is another version.
pub const POLICIES: RangeInclusive<u32> = 1..=2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// libtorch's, which multiplies as often as the formula says.
    Direct,
    /// Winograd's minimal filtering F(2×2, 3×3): 16 multiplications for 36.
    WinogradF2,
    /// F(4×4, 3×3): 36 multiplications for 144, and sums of larger and smaller terms, whose errors are about three times those of
    /// F(2×2, 3×3).
    WinogradF4,
}

/// One for each pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Algorithms {
    pub forward: Algorithm,
    /// Of the backward pass; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backward_data: Option<Algorithm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backward_weights: Option<Algorithm>,
}

impl Algorithms {
    pub const DIRECT: Self = Self::all(Algorithm::Direct);

    pub const fn all(algorithm: Algorithm) -> Self {
        Self { forward: algorithm, backward_data: Some(algorithm), backward_weights: Some(algorithm) }
    }

    /// Those of a pass without gradients.
    pub fn forward_only(self) -> Self {
        Self { backward_data: None, backward_weights: None, ..self }
    }

    /// Whether any of them is a kernel of ours.
    pub fn are_own(self) -> bool {
        [Some(self.forward), self.backward_data, self.backward_weights]
            .into_iter()
            .flatten()
            .any(|algorithm| algorithm != Algorithm::Direct)
    }
}

/// Channels that our kernels take come in so many: the widest vectors there are, twice.
const CHANNEL_STEP: u64 = 32;
const MOST_CHANNELS: u64 = 8_192;
/// Of smaller images a tile is padding for the most part.
const SMALLEST_SIDE: u64 = 4;

/// What version `policy` of the table has for a convolution at which `input` arrives.
pub fn algorithms(policy: u32, conv: &Conv, input: Size) -> Algorithms {
    match policy {
        1 if fits(conv, input) => Algorithms::all(Algorithm::WinogradF2),
        2 if fits(conv, input) => Algorithms::all(larger_where_fewer(input)),
        _ => Algorithms::DIRECT,
    }
}

/// F(4×4) where it multiplies at least a fifth less than F(2×2): a side of 6 is one and a half of its tiles, of which it computes two.
fn larger_where_fewer(input: Size) -> Algorithm {
    let Size::Image { height, width, .. } = input else { return Algorithm::WinogradF2 };
    let multiplications = |tile: u64| height.div_ceil(tile) * width.div_ceil(tile) * (tile + 2).pow(2);
    match 5 * multiplications(4) <= 4 * multiplications(2) {
        true => Algorithm::WinogradF4,
        false => Algorithm::WinogradF2,
    }
}

/// Whether it is 3×3 with stride 1 and padding 1, and of a size that our kernels take.
fn fits(conv: &Conv, input: Size) -> bool {
    let Size::Image { channels, height, width } = input else { return false };
    let takes =
        |channels: u64| channels.is_multiple_of(CHANNEL_STEP) && (1..=MOST_CHANNELS).contains(&channels);
    (conv.kernel, conv.stride, conv.pad, conv.groups) == (3, 1, 1, 1)
        && takes(channels)
        && takes(conv.channels.into())
        && height.min(width) >= SMALLEST_SIDE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Op, Preset, PresetName, Step, infer};

    const CONV: Conv = Conv { channels: 64, kernel: 3, stride: 1, pad: 1, groups: 1, bias: true };

    fn image(channels: u64, height: u64, width: u64) -> Size {
        Size::Image { channels, height, width }
    }

    #[test]
    fn the_second_version_has_larger_tiles_where_these_multiply_less() {
        for (height, width, tile) in [
            (4, 4, Algorithm::WinogradF4),
            (5, 5, Algorithm::WinogradF2),
            (6, 6, Algorithm::WinogradF2),
            (7, 7, Algorithm::WinogradF4),
            (8, 8, Algorithm::WinogradF4),
            (9, 9, Algorithm::WinogradF2),
            (14, 14, Algorithm::WinogradF4),
            (4, 9, Algorithm::WinogradF4),
            (32, 32, Algorithm::WinogradF4),
        ] {
            let found = [1, 2].map(|policy| algorithms(policy, &CONV, image(32, height, width)));
            let expected = [Algorithm::WinogradF2, tile].map(Algorithms::all);
            assert_eq!(found, expected, "{height} × {width}");
        }
    }

    #[test]
    fn what_does_not_fit_is_direct_in_every_pass() {
        let fitting = algorithms(1, &CONV, image(32, 4, 9));
        assert_eq!(fitting, Algorithms::all(Algorithm::WinogradF2));
        for (conv, input) in [
            (Conv { stride: 2, ..CONV }, image(32, 8, 8)),
            (Conv { groups: 2, ..CONV }, image(32, 8, 8)),
            (Conv { kernel: 5, ..CONV }, image(32, 8, 8)),
            (Conv { kernel: 1, ..CONV }, image(32, 8, 8)),
            (Conv { pad: 0, ..CONV }, image(32, 8, 8)),
            (Conv { channels: 48, ..CONV }, image(32, 8, 8)),
            (Conv { channels: 8_224, ..CONV }, image(32, 8, 8)),
            (CONV, image(1, 8, 8)),
            (CONV, image(24, 8, 8)),
            (CONV, image(32, 3, 8)),
            (CONV, Size::Flat(512)),
        ] {
            for policy in POLICIES {
                assert_eq!(algorithms(policy, &conv, input), Algorithms::DIRECT, "{conv:?} {input}");
            }
        }
    }

    #[test]
    fn of_the_presets_all_but_the_first_convolution_are_winograd() {
        for (name, input, convolutions) in
            [(PresetName::SimpleCnn, image(1, 28, 28), 2), (PresetName::ImprovedCnn, image(3, 32, 32), 6)]
        {
            let steps = infer(&Preset::of(name).layers(), input, 10).unwrap();
            let chosen = |step: &Step| match &step.op {
                Op::Conv(conv) => Some(algorithms(1, conv, step.input)),
                _ => None,
            };
            let chosen: Vec<Algorithms> = steps.iter().filter_map(chosen).collect();
            assert_eq!(chosen.len(), convolutions);
            assert_eq!(chosen[0], Algorithms::DIRECT);
            assert!(chosen[1..].iter().all(|algorithms| algorithms.are_own()));
        }
    }

    #[test]
    fn a_record_names_the_algorithm_of_each_pass() {
        let json = |algorithms| serde_json::to_string(&algorithms).unwrap();
        assert_eq!(serde_json::to_string(&Algorithm::WinogradF4).unwrap(), r#""winograd_f4""#);
        let all = Algorithms::all(Algorithm::WinogradF2);
        let expected =
            r#"{"forward":"winograd_f2","backward_data":"winograd_f2","backward_weights":"winograd_f2"}"#;
        assert_eq!(json(all), expected);
        assert_eq!(json(all.forward_only()), r#"{"forward":"winograd_f2"}"#);
    }
}
