//! Batches made by threads, ahead of the training that takes them: PyTorch's `DataLoader` with `num_workers`.
//!
//! Batch `k` of an epoch is made by worker `k` mod their number, as there: taken from one worker after the other, the
//! batches come in the order of the epoch, and nothing has to be sorted. A worker hands over arrays and calls nothing of
//! libtorch: even a tensor from a slice is cleared by all threads first if it is large, for which OpenMP would start a
//! pool for each worker. So a batch costs the training the wait for its arrays and the copy of them into tensors.

use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::train::TrainError;
use crate::train::resident::Batch;
use crate::train::samples::{Arrays, Samples};

/// `begin → batch …` an epoch. Dropped, it ends its threads, each after the batch it is at.
pub struct Workers<'scope> {
    /// Each worker has a copy of it.
    samples: Samples<'scope>,
    prefetch: usize,
    workers: Vec<Worker<'scope>>,
    /// Batches of the epoch.
    taken: usize,
}

struct Worker<'scope> {
    shares: Sender<Share>,
    /// Of the last share.
    made: Receiver<Made>,
    thread: ScopedJoinHandle<'scope, ()>,
}

/// What a worker makes of an epoch.
struct Share {
    epoch: u32,
    /// Positions in the file.
    batches: Vec<Vec<u32>>,
    made: SyncSender<Made>,
}

type Made = Result<Arrays, TrainError>;

impl<'scope> Workers<'scope> {
    /// Starts `workers` threads, of which each has up to `prefetch` batches made or in the making that nobody has taken;
    /// of both at least one.
    pub fn new(
        scope: &'scope Scope<'scope, '_>,
        samples: Samples<'scope>,
        workers: u32,
        prefetch: u32,
    ) -> Result<Self, TrainError> {
        let workers = (0..workers.max(1))
            .map(|_| Worker::start(scope, samples.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { samples, prefetch: prefetch.max(1) as usize, workers, taken: 0 })
    }

    /// Has the batches of an epoch made, or of the rest of one, from their positions in the file. What is left of the
    /// epoch before is given up.
    pub fn begin<'a>(
        &mut self,
        epoch: u32,
        batches: impl Iterator<Item = &'a [u32]>,
    ) -> Result<(), TrainError> {
        let mut shares = vec![Vec::new(); self.workers.len()];
        for (worker, batch) in (0..shares.len()).cycle().zip(batches) {
            shares[worker].push(batch.to_vec());
        }
        for (worker, batches) in self.workers.iter_mut().zip(shares) {
            // One batch more is in the hands of the worker, which waits with it for a place.
            let (sender, made) = mpsc::sync_channel(self.prefetch - 1);
            worker.made = made;
            worker.shares.send(Share { epoch, batches, made: sender }).map_err(|_| gone())?;
        }
        self.taken = 0;
        Ok(())
    }

    /// The next one, waited for.
    pub fn batch(&mut self) -> Result<Batch, TrainError> {
        let worker = &self.workers[self.taken % self.workers.len()];
        self.taken += 1;
        let arrays = worker.made.recv().map_err(|_| gone())??;
        self.samples.tensors(&arrays)
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        // With its channels closed, a worker neither waits with a batch nor for a share.
        let threads: Vec<_> = self.workers.drain(..).map(|worker| worker.thread).collect();
        for thread in threads {
            // A panic has said so already, and was the error of the step that missed its batch.
            let _ = thread.join();
        }
    }
}

impl<'scope> Worker<'scope> {
    fn start(scope: &'scope Scope<'scope, '_>, samples: Samples<'scope>) -> Result<Self, TrainError> {
        let (shares, asked) = mpsc::channel();
        let (_, made) = mpsc::sync_channel(0);
        let thread = thread::Builder::new()
            .name("loader".to_owned())
            .spawn_scoped(scope, move || work(samples, asked))
            .map_err(TrainError::Worker)?;
        Ok(Self { shares, made, thread })
    }
}

fn work(mut samples: Samples, shares: Receiver<Share>) {
    for Share { epoch, batches, made } in shares {
        for batch in batches {
            // Nobody takes what is left of an epoch that was given up.
            if made.send(samples.arrays(epoch, &batch)).is_err() {
                break;
            }
        }
    }
}

/// A channel is closed that only its other end closes.
fn gone() -> TrainError {
    TrainError::Internal(
        "a thread of the loader panicked, or an epoch has fewer batches than steps".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::plan::MemoryFormat;
    use crate::stream::Seed;
    use crate::train::samples::made_up::{COLOUR, all, images, seen};

    const IMAGES: usize = 20;
    const FORMAT: MemoryFormat = MemoryFormat::ChannelsLast;

    fn begin(workers: &mut Workers, epoch: u32, batches: &[&[u32]]) {
        workers.begin(epoch, batches.iter().copied()).unwrap();
    }

    /// The first worker has a thousand times the work of the second, which is done long before.
    #[test]
    fn a_slow_worker_changes_no_order() {
        let (images, augment) = (images(COLOUR, IMAGES), all());
        let mut alone = Samples::new(&images, Some(&augment), Seed(3), FORMAT);
        let large: Vec<u32> = (0..2_000).map(|index| index % 20).collect();
        let batches: [&[u32]; 5] = [&large, &[1, 2], &large, &[3, 4], &[5]];
        thread::scope(|scope| {
            let mut workers = Workers::new(scope, alone.clone(), 2, 2).unwrap();
            begin(&mut workers, 1, &batches);
            for batch in batches {
                let expected = alone.batch(1, batch).unwrap();
                assert!(seen(&workers.batch().unwrap()) == seen(&expected), "{} images", batch.len());
            }
        });
    }

    /// Of all states there are: idle before its first epoch, waiting with a batch, waiting for an epoch, at its end.
    #[test]
    fn workers_that_are_dropped_end_whatever_they_are_at() {
        let images = images(COLOUR, IMAGES);
        let batches: [&[u32]; 7] = [&[1], &[2], &[3], &[4], &[5], &[6], &[7]];
        for prefetch in [1, 2, 9] {
            for taken in [None, Some(0), Some(1), Some(3), Some(7)] {
                thread::scope(|scope| {
                    let samples = Samples::new(&images, None, Seed(3), FORMAT);
                    let mut workers = Workers::new(scope, samples, 3, prefetch).unwrap();
                    if let Some(taken) = taken {
                        begin(&mut workers, 0, &batches);
                        (0..taken).for_each(|_| drop(workers.batch().unwrap()));
                    }
                });
            }
        }
    }

    #[test]
    fn what_is_left_of_an_epoch_is_not_handed_over_in_the_next() {
        let images = images(COLOUR, IMAGES);
        let samples = Samples::new(&images, None, Seed(3), FORMAT);
        thread::scope(|scope| {
            let mut workers = Workers::new(scope, samples, 2, 2).unwrap();
            for _ in 0..3 {
                begin(&mut workers, 0, &[&[1], &[2], &[3], &[4], &[5], &[6], &[7], &[8]]);
                assert_eq!(seen(&workers.batch().unwrap()).1, [1]);
            }
            begin(&mut workers, 1, &[&[9], &[5, 4]]);
            assert_eq!(seen(&workers.batch().unwrap()).1, [9]);
            assert_eq!(seen(&workers.batch().unwrap()).1, [5, 4]);
            assert!(workers.batch().is_err(), "the epoch is over");
        });
    }

    #[test]
    fn an_index_outside_the_file_is_the_error_of_its_step() {
        let images = images(COLOUR, IMAGES);
        let samples = Samples::new(&images, None, Seed(3), FORMAT);
        thread::scope(|scope| {
            let mut workers = Workers::new(scope, samples, 2, 2).unwrap();
            begin(&mut workers, 0, &[&[1], &[2, 20], &[3], &[4]]);
            assert_eq!(seen(&workers.batch().unwrap()).1, [1]);
            let error = workers.batch().err().unwrap().to_string();
            assert!(error.contains("image 20, there are 20"), "{error}");
            assert_eq!(seen(&workers.batch().unwrap()).1, [3]);
            assert_eq!(seen(&workers.batch().unwrap()).1, [4]);
        });
    }

    /// The last image lacks its pixels. That a worker is not at it yet is looked for after a time in which it would be.
    #[test]
    fn a_worker_is_no_further_ahead_than_it_may_be_and_its_panic_is_the_error_of_its_step() {
        let mut images = images(COLOUR, IMAGES);
        images.pixels.truncate(19 * COLOUR.len());
        let samples = Samples::new(&images, None, Seed(3), FORMAT);
        thread::scope(|scope| {
            let mut workers = Workers::new(scope, samples, 1, 2).unwrap();
            begin(&mut workers, 0, &[&[1], &[2], &[3], &[19], &[4]]);
            for label in [1, 2] {
                thread::sleep(Duration::from_millis(20));
                assert!(!workers.workers[0].thread.is_finished(), "before {label}");
                assert_eq!(seen(&workers.batch().unwrap()).1, [label]);
            }
            assert_eq!(seen(&workers.batch().unwrap()).1, [3]);
            for _ in 0..2 {
                let error = workers.batch().err().unwrap().to_string();
                assert!(error.contains("thread of the loader panicked"), "{error}");
            }
        });
    }
}
