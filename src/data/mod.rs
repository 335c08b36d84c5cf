//! Data sets: fetched, verified and decoded into plain arrays.
//!
//! What counts is content. Each file's SHA-256 is pinned in the set's definition, is checked whenever the file is
//! read, and together they make [`Name::digest`], which is part of a trial's config. Where the bytes came from is not.
//!
//! The call sequence is [`root`] → [`define_own`] → [`fetch`] (slow, network) → [`load`] (reads the disk) → [`split`].

pub mod add;
pub mod archive;
pub mod cifar;
mod fetch;
pub mod idx;
pub(crate) mod intake;
mod load;
pub mod npy;
pub mod pack;
mod root;
pub(crate) mod source;
mod split;

pub use crate::dataset::pin::Mismatch;
pub use crate::dataset::{Name, Shape, UnknownName};
pub use fetch::{FetchError, Fetched, Options, fetch};
pub use intake::Observer;
pub use load::{DataSet, FormatError, Images, LoadError, is_present, load, place};
pub use pack::{PackError, define_own};
pub use root::{NoRoot, root};
pub use split::{Limits, Split, SplitError, order, split};
