//! The trainings that take minutes, beside each other: each is a child or two, and alone would leave a core idle.

#![cfg(feature = "torch")]

#[path = "../common/mod.rs"]
mod common;
mod kills;
mod plans;
mod weights;
