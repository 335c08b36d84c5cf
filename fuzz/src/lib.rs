//! What the fuzz targets have in common. `tests/hostile.rs` of pinbench has the same two files.

pub mod memory;
pub mod properties;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
