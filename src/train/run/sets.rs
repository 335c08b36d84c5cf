//! The images of a training: what is trained on, who makes its batches, and what is evaluated on.

use std::thread::Scope;

use tch::Tensor;

use crate::data::{self, DataSet, Limits};
use crate::experiment::plan::Loader;
use crate::experiment::{Plan, Trial};
use crate::row::Split;
use crate::train::TrainError;
use crate::train::loader::Batches;
use crate::train::normalise::Normalisation;
use crate::train::place::Place;
use crate::train::resident::{Resident, indices};

pub(super) struct Sets<'a> {
    pub batches: Batches<'a>,
    /// Who makes the batches: not always whom the plan asks for.
    pub loader: Loader,
    /// Of the training file, which the splits of training and validation are parts of.
    pub training_file: Resident,
    test_set: Resident,
    /// Positions in the training file of what is trained on.
    pub train: Vec<u32>,
    train_eval: Tensor,
    validation: Tensor,
    test: Tensor,
    pub classes: u16,
}

impl<'a> Sets<'a> {
    pub(super) fn new(
        trial: &'a Trial,
        plan: &Plan,
        data: &'a DataSet,
        place: Place,
        scope: &'a Scope<'a, '_>,
    ) -> Result<Self, TrainError> {
        let (config, seed) = (&trial.config, trial.seed);
        let limits = Limits { train: config.data.train_limit, validation: config.data.eval_limit };
        let split = data::split(data.train.len() as u32, config.data.validation, limits, seed)?;
        let normalisation = Normalisation::of(trial, &data.train)?;
        let resident =
            |images| Resident::new(images, plan.memory_format)?.normalised(normalisation.clone())?.on(place);
        let training_file = resident(&data.train)?;
        let placed =
            |positions: &[u32]| -> Result<Tensor, TrainError> { Ok(place.put(indices(positions)?)?) };
        let compared = split.train.len().min(split.validation.len());
        let tested = config.data.eval_limit.unwrap_or(u32::MAX).min(data.test.len() as u32);
        let augment = config.augment.as_ref();
        Ok(Self {
            batches: Batches::new(plan, augment, &data.train, &training_file, seed, scope)?,
            loader: plan.loader.effective(augment.is_some()),
            training_file,
            test_set: resident(&data.test)?,
            train_eval: placed(&split.train[..compared])?,
            validation: placed(&split.validation)?,
            test: placed(&(0..tested).collect::<Vec<_>>())?,
            train: split.train,
            classes: data.name.classes(),
        })
    }

    /// The images a split is evaluated on, as positions in the set they are of.
    pub(super) fn evaluated(&self, split: Split) -> (&Resident, &Tensor) {
        match split {
            Split::Train | Split::TrainEval => (&self.training_file, &self.train_eval),
            Split::Validation => (&self.training_file, &self.validation),
            Split::Test => (&self.test_set, &self.test),
        }
    }
}
