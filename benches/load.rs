//! Time of loading one training batch of 64 images, without a step around it: `cargo bench --bench load`.
//!
//! `load/SET/…` is by augmentation; the reference, `none`, is the loader of a config without one. `load/samples/SET/…`
//! is image by image whatever the config, by augmentation and number of workers.

use std::hint::black_box;
use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use pinbench::data::{self, Images, Name};
use pinbench::experiment::config::Augment;
use pinbench::experiment::plan::MemoryFormat;
use pinbench::stream::Seed;
use pinbench::train::{Resident, Samples, Workers, indices};

const BATCH: u32 = 64;
const FORMAT: MemoryFormat = MemoryFormat::ChannelsLast;
const PREFETCH: u32 = 2; // batches a worker

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
    // Short, for they are many: what is timed takes microseconds.
    let criterion = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_millis(1500)).configure_from_args();
    for set in [Name::mnist(), Name::cifar10()] {
        let images = data::load(set, &root).unwrap_or_else(|error| panic!("{error}")).train;
        // Far apart, as those of a shuffled batch.
        let positions: Vec<u32> = (0..BATCH).map(|index| index * 701).collect();
        bench_augmentations(&mut criterion, set, &images, &positions);
        bench_workers(&mut criterion, set, &images, &positions);
    }
    criterion.final_summary();
}

fn bench_augmentations(criterion: &mut Criterion, set: Name, images: &Images, positions: &[u32]) {
    let resident = Resident::new(images, FORMAT).expect("a tensor");
    let indices = indices(positions).expect("a tensor");
    let mut group = criterion.benchmark_group(format!("load/{set}"));
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    group.bench_function("none", |bencher| {
        bencher.iter(|| black_box(resident.batch(&indices).expect("a batch")));
    });
    for (name, augment) in augmentations() {
        let mut samples = Samples::new(images, Some(&augment), Seed(0), FORMAT);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(samples.batch(0, positions).expect("a batch")));
        });
    }
    group.finish();
}

/// What a batch costs a training that does nothing but take the next one, so that the workers never rest.
fn bench_workers(criterion: &mut Criterion, set: Name, images: &Images, positions: &[u32]) {
    let [.., (_, all)] = augmentations();
    let mut group = criterion.benchmark_group(format!("load/samples/{set}"));
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (name, augment) in [("none", None), ("all", Some(&all))] {
        let mut samples = Samples::new(images, augment, Seed(0), FORMAT);
        group.bench_function(format!("{name}/0"), |bencher| {
            bencher.iter(|| black_box(samples.batch(0, positions).expect("a batch")));
        });
        for count in [1, 2] {
            group.bench_function(format!("{name}/{count}"), |bencher| {
                thread::scope(|scope| {
                    let mut workers = Workers::new(scope, samples.clone(), count, PREFETCH).expect("threads");
                    bencher.iter_custom(|batches| {
                        let began = Instant::now();
                        workers.begin(0, iter::repeat_n(positions, batches as usize)).expect("an epoch");
                        for _ in 0..batches {
                            black_box(workers.batch().expect("a batch"));
                        }
                        began.elapsed()
                    });
                });
            });
        }
    }
    group.finish();
}
