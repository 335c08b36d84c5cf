//! SimpleCNN of the notes: two convolution blocks and two linear layers.

use crate::train::model::stack::Layout;

/// Conv 3×3 (C→32) → BatchNorm → act → MaxPool 2 → Conv 3×3 (32→64) → BatchNorm → act → MaxPool 2 → Flatten →
/// Linear(→128) → act → Dropout → Linear(128→classes).
pub const LAYOUT: Layout = Layout { blocks: &[(32, true), (64, true)], hidden: 128 };
