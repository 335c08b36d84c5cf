//! The data sets pinbench knows, and the identity of their content.

pub mod pin;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use pin::{Pin, Spec};

/// A data set. Written in an experiment as `mnist`, `fashion_mnist` or `cifar10`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    Mnist,
    FashionMnist,
    Cifar10,
}

/// Size of one image, in the order its bytes are stored: channel by channel, row by row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    /// Bytes of one image, one a value.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Name {
    pub const ALL: [Self; 3] = [Self::Mnist, Self::FashionMnist, Self::Cifar10];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion_mnist",
            Self::Cifar10 => "cifar10",
        }
    }

    /// What the images of a class show.
    pub fn class_name(self, class: u8) -> &'static str {
        let names = match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
                "boot",
            ],
            Self::Cifar10 => {
                ["airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
            }
        };
        names.get(usize::from(class)).copied().unwrap_or("?")
    }

    pub fn shape(self) -> Shape {
        match self {
            Self::Mnist | Self::FashionMnist => Shape { channels: 1, height: 28, width: 28 },
            Self::Cifar10 => Shape { channels: 3, height: 32, width: 32 },
        }
    }

    pub fn classes(self) -> u8 {
        10
    }

    /// Images in the published training part; validation images are taken out of these.
    pub fn train_len(self) -> u32 {
        match self {
            Self::Mnist | Self::FashionMnist => 60_000,
            Self::Cifar10 => 50_000,
        }
    }

    pub fn test_len(self) -> u32 {
        10_000
    }

    /// Identity of the content, the part of a trial's config that stands for the data.
    ///
    /// It is the SHA-256 of what `LC_ALL=C sha256sum *` prints in the set's cache folder: one line a file,
    /// `<64 hex digits>  <file name>`, ordered by name. So anyone can check it with coreutils alone, and
    /// where the bytes came from is no part of it.
    pub fn digest(self) -> Digest {
        let lines = self.spec().pins.iter().map(|pin| format!("{}  {}\n", pin.sha256, pin.file));
        Digest::of(lines.collect::<String>().as_bytes())
    }

    pub(crate) fn spec(self) -> Spec {
        let pins = match self {
            Self::Mnist => MNIST,
            Self::FashionMnist => FASHION_MNIST,
            Self::Cifar10 => CIFAR10,
        };
        Spec { set: self.as_str(), pins }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown data set '{0}': expected mnist, fashion_mnist or cifar10")]
pub struct UnknownName(String);

impl FromStr for Name {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let known = Self::ALL.into_iter().find(|name| name.as_str() == text);
        known.ok_or_else(|| UnknownName(text.to_owned()))
    }
}

/// Checked against the published MD5 of each file.
const MNIST: &[Pin] = &[
    Pin {
        file: "t10k-images-idx3-ubyte",
        bytes: 7_840_016,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Pin {
        file: "t10k-labels-idx1-ubyte",
        bytes: 10_008,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    Pin {
        file: "train-images-idx3-ubyte",
        bytes: 47_040_016,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Pin {
        file: "train-labels-idx1-ubyte",
        bytes: 60_008,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
];

const FASHION_MNIST: &[Pin] = &[
    Pin {
        file: "t10k-images-idx3-ubyte",
        bytes: 7_840_016,
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    Pin {
        file: "t10k-labels-idx1-ubyte",
        bytes: 10_008,
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    Pin {
        file: "train-images-idx3-ubyte",
        bytes: 47_040_016,
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    Pin {
        file: "train-labels-idx1-ubyte",
        bytes: 60_008,
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
];

const CIFAR10: &[Pin] = &[
    Pin {
        file: "data_batch_1.bin",
        bytes: 30_730_000,
        sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    },
    Pin {
        file: "data_batch_2.bin",
        bytes: 30_730_000,
        sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    },
    Pin {
        file: "data_batch_3.bin",
        bytes: 30_730_000,
        sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    },
    Pin {
        file: "data_batch_4.bin",
        bytes: 30_730_000,
        sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    },
    Pin {
        file: "data_batch_5.bin",
        bytes: 30_730_000,
        sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    Pin {
        file: "test_batch.bin",
        bytes: 30_730_000,
        sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_pinned_because_they_are_part_of_every_trial_id() {
        let digests = Name::ALL.map(|name| name.digest().to_string());
        assert_eq!(digests, PINNED);
    }
    const PINNED: [&str; 3] = [
        "474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca",
        "d0a13531871adf77cb1d75902c9d2a2fdf613723748f5e8c24e0169faf064dc8",
        "5fdcf57d170bdbc7da569af1dabd64d7d3c7507e9e7aa861fc7b691d5355c232",
    ];

    #[test]
    fn a_name_is_written_the_same_on_the_command_line_and_in_a_file() {
        for name in Name::ALL {
            assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
        }
        let error = "mnst".parse::<Name>().unwrap_err().to_string();
        assert_eq!(error, "unknown data set 'mnst': expected mnist, fashion_mnist or cifar10");
    }

    #[test]
    fn pins_are_ordered_by_file_name_and_hold_sha256_digests() {
        for name in Name::ALL {
            let pins = name.spec().pins;
            assert!(pins.is_sorted_by(|one, next| one.file < next.file), "{name}");
            for pin in pins {
                assert_eq!(pin.sha256.parse::<Digest>().unwrap().to_string(), pin.sha256);
            }
        }
    }

    #[test]
    fn pinned_lengths_agree_with_counts_and_shape() {
        for name in [Name::Mnist, Name::FashionMnist] {
            let images = (name.train_len() + name.test_len()) as usize;
            let headers = 2 * (16 + 8);
            assert_eq!(name.spec().bytes(), (images * (name.shape().len() + 1) + headers) as u64);
        }
        let images = (Name::Cifar10.train_len() + Name::Cifar10.test_len()) as usize;
        assert_eq!(Name::Cifar10.spec().bytes(), (images * (Name::Cifar10.shape().len() + 1)) as u64);
    }
}
