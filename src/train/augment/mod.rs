//! Random changes of one training image: what is drawn for it, and the image it is done to.

mod canvas;
mod change;

pub(super) use canvas::Canvas;
pub(super) use change::Change;
