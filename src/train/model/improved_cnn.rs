//! ImprovedCNN of the notes: three groups of two convolution blocks and two linear layers.

use crate::train::model::stack::Layout;

/// [Conv 3×3, BatchNorm, act] six times, MaxPool 2 after every second (32 → 16 → 8 → 4) → Flatten → Linear(→256) → act →
/// Dropout → Linear(256→classes).
pub const LAYOUT: Layout = Layout {
    blocks: &[(32, false), (64, true), (128, false), (128, true), (256, false), (256, true)],
    hidden: 256,
};
