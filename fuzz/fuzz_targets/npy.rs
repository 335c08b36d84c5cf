#![no_main]

use libfuzzer_sys::fuzz_target;
use pinbench_fuzz::properties;

fuzz_target!(|bytes: &[u8]| properties::npy(bytes));
