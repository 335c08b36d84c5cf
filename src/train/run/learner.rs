//! The network with its optimizer: the passes of a step, operator by operator or as recorded graphs.

use tch::{Reduction, Tensor};

use crate::clock::{Clock, Phase};
use crate::experiment::{Plan, Trial, config};
use crate::stream::{Key, Stream};
use crate::train::TrainError;
use crate::train::chain::Named;
use crate::train::evaluate::{correct_count, smoothed_cross_entropy};
use crate::train::graphs::{EAGER_STEPS, StepGraphs};
use crate::train::network::{self, Built, Mode};
use crate::train::optimizer::Optimizer;
use crate::train::place::{self, Place};
use crate::train::resident::Batch;
use crate::train::timing::Timing;

pub(super) struct Learner<'a> {
    pub built: Built,
    pub optimizer: Optimizer,
    config: &'a config::Train,
    place: Place,
    /// The plan wants graphs; `graphs` has them once a few steps were taken.
    records_graphs: bool,
    graphs: Option<StepGraphs>,
    /// Steps of this process.
    steps_here: u64,
}

impl<'a> Learner<'a> {
    /// With the weights that the trial's seed draws.
    pub(super) fn new(trial: &'a Trial, plan: &Plan, place: Place) -> Result<Self, TrainError> {
        let config = &trial.config;
        let steps = config.network().map_err(|error| TrainError::Internal(error.to_string()))?;
        let mut built = network::build(&steps, plan, &Key::new(trial.seed, Stream::Init, 0, 0))?;
        // Before the optimizer makes its state beside them.
        built.parameters.move_to(place)?;
        let (params, are_weights) = (built.parameters.trainable_tensors(), built.parameters.are_weights());
        let optimizer = Optimizer::new(&config.optim, plan.optimizer, params, &are_weights)?;
        if plan.graph && config.train.micro_batch.is_some() {
            // Its passes are of two sizes, and without graphs its times would be called those of one.
            return Err(TrainError::MicroBatch);
        }
        Ok(Self {
            built,
            optimizer,
            config: &config.train,
            place,
            records_graphs: plan.graph,
            graphs: None,
            steps_here: 0,
        })
    }

    /// Every tensor the next step depends on.
    pub(super) fn tensors(&self) -> Vec<Named> {
        let mut tensors = self.built.parameters.named();
        tensors.extend(self.optimizer.state(self.built.parameters.trainable_names()));
        tensors
    }

    /// The step on `batch`: its loss and its correct count. Ends the phases it consists of.
    pub(super) fn step<C: Clock>(
        &mut self,
        batch: &Batch,
        timing: &mut Timing<C>,
    ) -> Result<(f64, u32), TrainError> {
        match &mut self.graphs {
            Some(graphs) if graphs.takes(batch) => graphs.step(batch, self.place, timing),
            _ => self.passes(batch, timing),
        }
    }

    /// Records the step as graphs once so many steps were taken without, for batches like this one. No step's time holds it.
    pub(super) fn record_graphs(&mut self, batch: Batch) -> Result<(), TrainError> {
        self.steps_here += 1;
        let is_whole = batch.labels.numel() as u32 == self.config.batch;
        if !self.records_graphs || self.graphs.is_some() || self.steps_here < EAGER_STEPS || !is_whole {
            return Ok(());
        }
        let (built, optimizer) = (&self.built, &mut self.optimizer);
        let smoothing = self.config.label_smoothing.unwrap_or(0.0);
        // What backward leaves is written where the optimizer's graph reads it.
        optimizer.clear_grads()?;
        let forward = |batch: &Batch| {
            let logits = built.network.forward(&batch.images, Mode::TRAIN)?;
            let loss = smoothed_cross_entropy(&logits, &batch.labels, Reduction::Mean, smoothing)?;
            let result = place::result(&loss, &correct_count(&logits, &batch.labels)?)?;
            Ok((loss, result))
        };
        let backward = |loss: &Tensor| Ok(loss.f_backward()?);
        self.graphs = Some(StepGraphs::record(&batch, forward, backward, || optimizer.step())?);
        Ok(())
    }

    /// The step operator by operator.
    fn passes<C: Clock>(&mut self, batch: &Batch, timing: &mut Timing<C>) -> Result<(f64, u32), TrainError> {
        let images = batch.labels.numel() as u32;
        let all = i64::from(images);
        let part = self.config.micro_batch.map_or(all, i64::from).max(1);
        let smoothing = self.config.label_smoothing.unwrap_or(0.0);
        let mut passes = Vec::with_capacity(1);
        for start in (0..all).step_by(part as usize) {
            let len = part.min(all - start);
            let batch = batch.part(start, len)?;
            let logits = self.built.network.forward(&batch.images, Mode::TRAIN)?;
            let loss = smoothed_cross_entropy(&logits, &batch.labels, Reduction::Mean, smoothing)?;
            timing.end(Phase::Forward, len as u32)?;
            if start == 0 {
                self.optimizer.clear_grads()?;
            }
            let share = len as f64 / all as f64;
            let loss = if share < 1.0 { loss.f_mul_scalar(share)? } else { loss };
            loss.f_backward()?;
            timing.end(Phase::Backward, len as u32)?;
            passes.push((loss, logits, batch.labels));
        }
        self.optimizer.step()?;
        timing.end(Phase::Optimizer, images)?;
        let (mut mean, mut correct) = (0.0, 0);
        for (loss, logits, labels) in &passes {
            let (part, count) = self.place.read_back(loss, &correct_count(logits, labels)?)?;
            mean += part;
            correct += count;
        }
        timing.end(Phase::ReadBack, images)?;
        Ok((mean, correct))
    }
}
