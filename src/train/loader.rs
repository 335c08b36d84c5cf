//! The loader of a training: who makes its batches, told the order of each epoch before the first of its steps.

use std::collections::VecDeque;
use std::thread::Scope;

use tch::Tensor;

use crate::clock::{Clock, Phase};
use crate::data::Images;
use crate::experiment::Plan;
use crate::experiment::config::Augment;
use crate::experiment::plan::Loader;
use crate::stream::Seed;
use crate::train::TrainError;
use crate::train::place::Place;
use crate::train::resident::{Batch, Resident, indices};
use crate::train::samples::Samples;
use crate::train::timing::Timing;
use crate::train::workers::Workers;

/// `begin → next …` an epoch; the same bits whoever makes them.
pub(super) enum Batches<'a> {
    /// Gathered where the whole set is, with the indices of the batches to come.
    Gathered { set: Resident, ahead: VecDeque<Tensor> },
    /// Made image by image by the thread that trains.
    Made { samples: Samples<'a>, epoch: u32, ahead: VecDeque<Vec<u32>> },
    /// Made image by image by threads of their own.
    MadeAhead(Workers<'a>),
}

impl<'a> Batches<'a> {
    /// Of `images`, which `set` has on the device.
    pub(super) fn new(
        plan: &Plan,
        augment: Option<&'a Augment>,
        images: &'a Images,
        set: &Resident,
        seed: Seed,
        scope: &'a Scope<'a, '_>,
    ) -> Result<Self, TrainError> {
        let mut samples = Samples::new(images, augment, seed, plan.memory_format);
        samples.normalise(set.normalisation());
        Ok(match plan.loader.effective(augment.is_some()) {
            Loader::Resident => Self::Gathered { set: set.shallow_clone(), ahead: VecDeque::new() },
            Loader::Samples { workers: 0, .. } => Self::Made { samples, epoch: 0, ahead: VecDeque::new() },
            Loader::Samples { workers, prefetch } => {
                Self::MadeAhead(Workers::new(scope, samples, workers, prefetch)?)
            }
        })
    }

    /// Says what the next batches are: those of an epoch, or of the rest of one, as positions in the file. Where the set is,
    /// they are taken at once, so that no step has any to copy.
    pub(super) fn begin<'b>(
        &mut self,
        epoch: u32,
        batches: impl Iterator<Item = &'b [u32]>,
        place: Place,
    ) -> Result<(), TrainError> {
        match self {
            Self::Gathered { ahead, .. } => {
                let batches: Vec<&[u32]> = batches.collect();
                let order = place.put(indices(&batches.concat())?)?;
                let mut start = 0;
                let mut part = |batch: &[u32]| {
                    let len = batch.len() as i64;
                    start += len;
                    order.f_narrow(0, start - len, len)
                };
                *ahead = batches.into_iter().map(&mut part).collect::<Result<_, _>>()?;
            }
            Self::Made { epoch: of, ahead, .. } => {
                *of = epoch;
                *ahead = batches.map(<[u32]>::to_vec).collect();
            }
            Self::MadeAhead(workers) => workers.begin(epoch, batches)?,
        }
        Ok(())
    }

    /// The next batch at `place`. Ends the phases it consists of, in the order they happen.
    pub(super) fn next<C: Clock>(
        &mut self,
        place: Place,
        timing: &mut Timing<C>,
    ) -> Result<Batch, TrainError> {
        let batch = match self {
            Self::Gathered { set, ahead } => {
                let positions = ahead.pop_front().ok_or_else(none_left)?;
                let images = positions.numel() as u32;
                let batch = set.batch(&positions)?;
                timing.end(Phase::Load, images)?;
                return Ok(batch);
            }
            Self::Made { samples, epoch, ahead } => {
                samples.batch(*epoch, &ahead.pop_front().ok_or_else(none_left)?)?
            }
            Self::MadeAhead(workers) => workers.batch()?,
        };
        let images = batch.labels.numel() as u32;
        timing.end(Phase::Load, images)?;
        let batch = batch.on(place)?;
        timing.end_copy(images)?;
        Ok(batch)
    }
}

fn none_left() -> TrainError {
    TrainError::Internal("an epoch has fewer batches than steps".to_owned())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::clock::Monotonic;
    use crate::experiment::plan::{Device, MemoryFormat, PlanName};
    use crate::train::samples::made_up::{COLOUR, GREY, Seen, all, images, seen};

    const IMAGES: u32 = 20;
    const BATCH: usize = 3;
    const FORMATS: [MemoryFormat; 2] = [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast];
    const LOADERS: [Loader; 4] =
        [Loader::Resident, samples(0), samples(1), Loader::Samples { workers: 3, prefetch: 1 }];

    const fn samples(workers: u32) -> Loader {
        Loader::Samples { workers, prefetch: 2 }
    }

    /// The batches of two epochs of which the first has `done` behind it.
    fn taken(
        loader: Loader,
        memory_format: MemoryFormat,
        augment: Option<&Augment>,
        images: &Images,
        done: usize,
    ) -> Vec<Seen> {
        let plan = Plan { loader, memory_format, ..Plan::named(PlanName::Eager, 1, Device::Cpu) };
        let set = Resident::new(images, memory_format).unwrap();
        let clock = Monotonic::start();
        let mut timing = Timing::start(&clock, None, None).unwrap();
        thread::scope(|scope| {
            let mut batches = Batches::new(&plan, augment, images, &set, Seed(3), scope).unwrap();
            let mut found = Vec::new();
            for (epoch, done) in [(4, done), (5, 0)] {
                let order: Vec<u32> = (0..IMAGES).map(|index| (index * 7 + epoch) % IMAGES).collect();
                let chunks = order.chunks(BATCH);
                batches.begin(epoch, chunks.clone().skip(done), Place::HOST).unwrap();
                for _ in chunks.skip(done) {
                    found.push(seen(&batches.next(Place::HOST, &mut timing).unwrap()));
                }
                assert!(batches.next(Place::HOST, &mut timing).is_err());
            }
            found
        })
    }

    #[test]
    fn every_loader_gives_the_same_bits_and_their_layout() {
        let augment = all();
        for shape in [GREY, COLOUR] {
            let images = images(shape, IMAGES as usize);
            for format in FORMATS {
                for augment in [None, Some(&augment)] {
                    let expected = taken(Loader::Resident, format, augment, &images, 0);
                    assert_eq!(expected.len(), 14);
                    assert_eq!(expected[6].1.len(), 2, "the last batch takes what is left");
                    for loader in LOADERS {
                        let found = taken(loader, format, augment, &images, 0);
                        assert!(found == expected, "{shape:?} {format:?} {augment:?} {loader:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_rest_of_an_epoch_has_the_batches_that_the_whole_has_there() {
        let (images, augment) = (images(COLOUR, IMAGES as usize), all());
        for loader in LOADERS {
            let of = |done| taken(loader, MemoryFormat::ChannelsLast, Some(&augment), &images, done);
            let whole = of(0);
            for done in [1, 6, 7] {
                assert!(of(done)[..] == whole[done..], "{loader:?} {done}");
            }
        }
    }

    #[test]
    fn a_plan_has_its_loader() {
        let (images, augment) = (images(COLOUR, IMAGES as usize), all());
        let set = Resident::new(&images, MemoryFormat::Contiguous).unwrap();
        let kind = |loader, augment: Option<&Augment>| {
            let plan = Plan { loader, ..Plan::named(PlanName::Eager, 1, Device::Cpu) };
            thread::scope(|scope| {
                match Batches::new(&plan, augment, &images, &set, Seed(3), scope).unwrap() {
                    Batches::Gathered { .. } => "gathered",
                    Batches::Made { .. } => "made",
                    Batches::MadeAhead(_) => "made ahead",
                }
            })
        };
        assert_eq!(
            [None, Some(&augment)].map(|augment| kind(Loader::Resident, augment)),
            ["gathered", "made"]
        );
        assert_eq!([None, Some(&augment)].map(|augment| kind(samples(0), augment)), ["made"; 2]);
        assert_eq!([None, Some(&augment)].map(|augment| kind(samples(2), augment)), ["made ahead"; 2]);
    }
}
