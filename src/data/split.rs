//! Which training images are held out for validation.

use crate::stream::{Key, Seed, Stream};

/// Positions in the training part, each in at most one of the two lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    pub train: Vec<u32>,
    pub validation: Vec<u32>,
}

/// How many images to keep of each list, for profiles that must be quick; `None` keeps all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    pub train: Option<u32>,
    pub validation: Option<u32>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SplitError {
    #[error("validation share {share} is not possible: expected at least 0 and below 1, for example 0.2")]
    Share { share: f64 },
    #[error("validation share {share} of {len} images leaves none to train on; choose a smaller share")]
    NoTraining { share: f64, len: u32 },
    #[error(
        "a limit of {limit} {list} images is not possible: the split has {have}; choose 1 to {have}, or none"
    )]
    Limit { list: &'static str, limit: u32, have: u32 },
}

/// Splits `len` images by one permutation from the split stream of `seed`.
///
/// The last `round(share × len)` of the permutation are validation, the others are for training, both in
/// permutation order. Limits then keep the first of each list, so a limited split is a part of the whole one
/// and never moves an image from one list to the other.
pub fn split(len: u32, validation_share: f64, limits: Limits, seed: Seed) -> Result<Split, SplitError> {
    let share = validation_share;
    if !(0.0..1.0).contains(&share) {
        return Err(SplitError::Share { share });
    }
    // Below len because share < 1, so the cast is exact.
    let held_out = (share * f64::from(len)).round() as u32;
    if held_out >= len {
        return Err(SplitError::NoTraining { share, len });
    }
    let mut train = Key::new(seed, Stream::Split, 0, 0).permutation(len);
    let mut validation = train.split_off((len - held_out) as usize);
    keep(&mut train, "training", limits.train)?;
    keep(&mut validation, "validation", limits.validation)?;
    Ok(Split { train, validation })
}

/// The training images of a split in the order of an epoch.
pub fn order(seed: Seed, epoch: u32, train: &[u32]) -> Vec<u32> {
    let order = Key::new(seed, Stream::Order, u64::from(epoch), 0).permutation(train.len() as u32);
    order.into_iter().map(|position| train[position as usize]).collect()
}

/// Refuses a limit above what there is: a run must not be smaller than its config says.
fn keep(indices: &mut Vec<u32>, list: &'static str, limit: Option<u32>) -> Result<(), SplitError> {
    let Some(limit) = limit else { return Ok(()) };
    // Fits: no list is longer than the u32 it was made from.
    let have = indices.len() as u32;
    if limit == 0 || limit > have {
        return Err(SplitError::Limit { list, limit, have });
    }
    indices.truncate(limit as usize);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Limits = Limits { train: None, validation: None };

    #[test]
    fn a_fifth_of_mnist_is_twelve_thousand_images() {
        let split = split(60_000, 0.2, ALL, Seed(42)).unwrap();
        assert_eq!((split.train.len(), split.validation.len()), (48_000, 12_000));
    }

    #[test]
    fn every_image_is_in_exactly_one_list() {
        for (len, share) in [(1, 0.0), (10, 0.2), (999, 0.5), (1000, 0.9)] {
            let Split { mut train, validation } = split(len, share, ALL, Seed(3)).unwrap();
            train.extend(validation);
            train.sort_unstable();
            assert!(train.into_iter().eq(0..len), "{len} images, share {share}");
        }
    }

    #[test]
    fn the_split_depends_on_the_seed_and_on_nothing_else() {
        let of = |seed| split(1000, 0.2, ALL, Seed(seed)).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_limited_split_is_the_beginning_of_the_whole_one() {
        let whole = split(1000, 0.2, ALL, Seed(1)).unwrap();
        let limits = Limits { train: Some(64), validation: Some(16) };
        let limited = split(1000, 0.2, limits, Seed(1)).unwrap();
        assert_eq!(limited.train, whole.train[..64]);
        assert_eq!(limited.validation, whole.validation[..16]);
    }

    #[test]
    fn impossible_shares_are_refused_with_the_share() {
        for share in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let error = split(10, share, ALL, Seed(0)).unwrap_err().to_string();
            assert!(error.contains(&format!("share {share} is not possible")), "{error}");
        }
        assert_eq!(split(10, 0.99, ALL, Seed(0)), Err(SplitError::NoTraining { share: 0.99, len: 10 }));
        assert_eq!(split(0, 0.2, ALL, Seed(0)), Err(SplitError::NoTraining { share: 0.2, len: 0 }));
    }

    #[test]
    fn a_limit_of_none_or_of_more_than_there_is_is_refused() {
        for limit in [0, 801] {
            let error = split(1000, 0.2, Limits { train: Some(limit), ..ALL }, Seed(0)).unwrap_err();
            assert_eq!(error, SplitError::Limit { list: "training", limit, have: 800 });
        }
        let error = split(1000, 0.2, Limits { validation: Some(201), ..ALL }, Seed(0)).unwrap_err();
        assert_eq!(error, SplitError::Limit { list: "validation", limit: 201, have: 200 });
        assert!(split(1000, 0.2, Limits { train: Some(800), validation: Some(200) }, Seed(0)).is_ok());
    }
}
