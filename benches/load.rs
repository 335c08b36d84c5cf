//! Time of loading one training batch of 64 images by augmentation, without a step around it: `cargo bench --bench
//! load`. The reference, `none`, is the loader of a config without augmentation.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use pinbench::data::{self, Name};
use pinbench::experiment::config::Augment;
use pinbench::experiment::plan::MemoryFormat;
use pinbench::stream::Seed;
use pinbench::train::{Augmenter, Resident, indices};

const BATCH: u32 = 64;
const FORMAT: MemoryFormat = MemoryFormat::ChannelsLast;

fn augmentations() -> [(&'static str, Augment); 7] {
    let none = Augment::default();
    [
        ("nothing", none.clone()),
        ("shift", Augment { shift: Some(2), ..none.clone() }),
        ("rotation", Augment { rotation: Some(10.0), ..none.clone() }),
        ("flip", Augment { flip: Some(true), ..none.clone() }),
        ("crop", Augment { crop: Some(4), ..none.clone() }),
        ("cutout", Augment { cutout: Some(8), ..none }),
        (
            "all",
            Augment {
                shift: Some(2),
                rotation: Some(10.0),
                flip: Some(true),
                crop: Some(4),
                cutout: Some(8),
            },
        ),
    ]
}

fn main() {
    pinbench::train::prepare_process(1).expect("libtorch");
    let root = data::root().expect("a cache folder");
    let mut criterion = Criterion::default().configure_from_args();
    for set in [Name::Mnist, Name::Cifar10] {
        let images = data::load(set, &root).unwrap_or_else(|error| panic!("{error}")).train;
        // Far apart, as those of a shuffled batch.
        let positions: Vec<u32> = (0..BATCH).map(|index| index * 701).collect();
        let positions = indices(&positions).expect("a tensor");
        let resident = Resident::new(&images, FORMAT).expect("a tensor");
        let mut group = criterion.benchmark_group(format!("load/{set}"));
        group.throughput(Throughput::Elements(u64::from(BATCH)));
        group.bench_function("none", |bencher| {
            bencher.iter(|| black_box(resident.batch(&positions).expect("a batch")));
        });
        for (name, augment) in augmentations() {
            let mut augmenter = Augmenter::new(&augment, &images, Seed(0), FORMAT);
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(augmenter.batch(0, &positions).expect("a batch")));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
