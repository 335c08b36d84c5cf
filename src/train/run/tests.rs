//! Whole trainings on a handful of made-up images, with what a config can change about the loop.

use std::sync::PoisonError;

use super::*;
use crate::clock::Phase;
use crate::data::Images;
use crate::dataset::Name;
use crate::digest::Digest;
use crate::experiment::config::{
    Augment, Data, Model, Norm, Optim, OptimName, Preset, PresetName, Schedule, Train,
};
use crate::experiment::plan::{Device, Loader, PlanName};
use crate::row::ChainRow;
use crate::train::GENERATOR;

/// Of which every fifth is for validation.
const IMAGES: usize = 160;
const BATCH: u32 = 48;
const STEPS_PER_EPOCH: u64 = 3;

#[derive(Default)]
pub(super) struct Rows {
    pub(super) started: Option<Started>,
    pub(super) steps: Vec<StepRow>,
    pub(super) epochs: Vec<EpochRow>,
    pub(super) diagnostics: Vec<DiagnosticRow>,
    pub(super) chain: Vec<ChainRow>,
    pub(super) diagnostics_wanted: Diagnostics,
    pub(super) stop_after: Option<u64>,
    /// The last state that was handed over.
    pub(super) kept: Option<Kept>,
}

impl Observer for Rows {
    fn started(&mut self, started: &Started) {
        self.started = Some(*started);
    }

    fn stepped(&mut self, row: &StepRow) -> Control {
        self.steps.push(*row);
        if self.stop_after == Some(row.step) { Control::Stop } else { Control::Continue }
    }

    fn measured(&mut self, row: &EpochRow) {
        self.epochs.push(*row);
    }

    fn diagnosed(&mut self, rows: &[DiagnosticRow]) {
        self.diagnostics.extend_from_slice(rows);
    }

    fn chained(&mut self, rows: Vec<ChainRow>) {
        self.chain.extend(rows);
    }

    fn kept(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }
}

impl Rows {
    /// What a step computed, without its times.
    fn computed(&self) -> Vec<(u32, u64, u32, f64, u32)> {
        self.steps.iter().map(|row| (row.epoch, row.step, row.images, row.loss, row.correct)).collect()
    }

    fn of(&self, split: Split) -> Vec<(u32, u32, f64, f64)> {
        let rows = self.epochs.iter().filter(|row| row.split == split);
        rows.map(|row| (row.epoch, row.images, row.loss, row.accuracy)).collect()
    }
}

/// Images and labels have nothing to do with each other: training learns them by heart, and validation suffers.
pub(super) fn data() -> DataSet {
    let shape = Name::mnist().shape();
    let mut state = 1_u32;
    // The generator of ISO C's example of `rand`.
    let mut random = move || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    let mut images = |count: usize| Images {
        pixels: (0..count * shape.len()).map(|_| random()).collect(),
        labels: (0..count).map(|_| u16::from(random() % 10)).collect(),
        shape,
    };
    DataSet { name: Name::mnist(), train: images(IMAGES), test: images(20) }
}

pub(super) fn config(epochs: u32) -> Config {
    let set = Name::mnist();
    Config {
        data: Data::of(set),
        model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(PresetName::SimpleCnn) }),
        optim: Optim::of(OptimName::Adam, 0.001),
        train: Train { batch: BATCH, epochs, ..Train::default() },
        augment: None,
    }
}

fn plan() -> Plan {
    Plan::named(PlanName::Tuned, 1, Device::Cpu)
}

fn trained(config: &Config) -> (Trained, Rows) {
    trained_with(config, Diagnostics::On)
}

fn trained_with(config: &Config, diagnostics: Diagnostics) -> (Trained, Rows) {
    let mut rows = Rows { diagnostics_wanted: diagnostics, ..Rows::default() };
    let trained = train_on(config, &mut rows, None).unwrap();
    assert_eq!(trained.ending, Ending::Finished);
    assert_eq!(trained.steps, rows.steps.len() as u64);
    (trained, rows)
}

/// Trains from the start, or goes on from `state` with the steps in `rows`.
fn train_on(config: &Config, rows: &mut Rows, state: Option<Vec<u8>>) -> Result<Trained, TrainError> {
    train_under(&plan(), config, rows, state)
}

fn train_under(
    plan: &Plan,
    config: &Config,
    rows: &mut Rows,
    state: Option<Vec<u8>>,
) -> Result<Trained, TrainError> {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    // libtorch's threads would wait for each other longer than they work.
    tch::set_num_threads(1);
    let (trial, steps) = (Trial { config: config.clone(), seed: Seed(5) }, rows.steps.clone());
    let resume = state.as_deref().map(|state| (state, &steps[..]));
    let options = Options { diagnostics: rows.diagnostics_wanted, resume, ..Options::default() };
    train(&trial, plan, &data(), options, rows)
}

#[test]
fn a_budget_of_steps_ends_within_an_epoch_and_changes_no_step() {
    let (_, long) = trained(&config(3));
    let mut short = config(3);
    short.train.max_steps = Some(5);
    let (trained, short) = trained(&short);
    assert_eq!(short.started.unwrap().steps, 5);
    assert_eq!(short.started.unwrap().steps_per_epoch, STEPS_PER_EPOCH);
    assert_eq!(short.computed(), long.computed()[..5]);
    assert_eq!(short.of(Split::Train)[0], long.of(Split::Train)[0]);
    assert_eq!(short.of(Split::Validation)[0], long.of(Split::Validation)[0]);
    // The second epoch's row is of its two steps only, and it is evaluated like any other.
    let (epoch, images, loss, _) = short.of(Split::Train)[1];
    let mean = (short.steps[3].loss + short.steps[4].loss) / 2.0;
    assert_eq!((epoch, images), (1, 2 * BATCH));
    assert!((loss - mean).abs() < 1e-12, "{loss} {mean}");
    let rows: Vec<(u32, Split)> = short.epochs.iter().map(|row| (row.epoch, row.split)).collect();
    let an_epoch = |epoch| [Split::Train, Split::TrainEval, Split::Validation].map(|split| (epoch, split));
    assert_eq!(rows, [&an_epoch(0)[..], &an_epoch(1), &[(1, Split::Test)]].concat());
    assert_eq!(trained.kept_epoch, None);
}

#[test]
fn early_stopping_ends_with_the_very_weights_of_the_best_epoch() {
    let mut patient = config(40);
    patient.optim.lr = 0.003;
    patient.train.patience = Some(3);
    let (stopped, rows) = trained(&patient);
    let kept = stopped.kept_epoch.unwrap();
    let losses: Vec<f64> = rows.of(Split::Validation).iter().map(|row| row.2).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[kept as usize], best);
    assert_eq!(losses.len(), kept as usize + 4, "{losses:?}");
    assert_eq!(rows.started.unwrap().steps, 40 * STEPS_PER_EPOCH);
    // The same training, ended there.
    let mut ended = patient.clone();
    (ended.train.patience, ended.train.epochs) = (None, kept + 1);
    let (expected, expected_rows) = trained(&ended);
    assert_eq!(stopped.final_weights, expected.final_weights);
    assert_eq!(rows.of(Split::Test), expected_rows.of(Split::Test));
    assert_eq!(expected.kept_epoch, None);
}

#[test]
fn a_run_that_keeps_getting_better_keeps_its_last_epoch() {
    let mut patient = config(2);
    patient.optim.lr = 1e-5;
    let (plain, rows) = trained(&patient);
    let validation = rows.of(Split::Validation);
    assert!(validation[1].2 < validation[0].2, "{validation:?}");
    patient.train.patience = Some(5);
    let (kept, _) = trained(&patient);
    assert_eq!((kept.kept_epoch, kept.final_weights), (Some(1), plain.final_weights));
}

#[test]
fn a_target_loss_ends_the_run_within_an_epoch_once_its_window_is_full() {
    let mut easy = config(100);
    (easy.train.target_loss, easy.data.train_limit) = (Some(100.0), Some(120));
    let (trained, rows) = trained(&easy);
    // 53 epochs of 120 images and one batch are the first to be 6,400 images or more.
    assert_eq!(trained.steps, 53 * STEPS_PER_EPOCH + 1);
    assert_eq!(rows.of(Split::Train)[53].1, BATCH);
    assert_eq!(rows.of(Split::Test)[0].0, 53);
}

/// Whatever the batch, and at the same step after a stop.
#[test]
fn a_target_loss_in_eval_mode_ends_the_run_at_the_first_look_that_finds_it() {
    let mut easy = config(100);
    (easy.train.target_eval_loss, easy.data.train_limit) = (Some(100.0), Some(120));
    let (ended, rows) = trained(&easy);
    assert_eq!(ended.steps, 1_280_u64.div_ceil(u64::from(BATCH)));
    assert_eq!(rows.of(Split::Test).len(), 1);
    let mut rows = Rows { stop_after: Some(ended.steps - 1), ..Rows::default() };
    train_on(&easy, &mut rows, None).unwrap();
    let kept = rows.kept.take().unwrap();
    let again = train_on(&easy, &mut rows, Some(kept.state)).unwrap();
    assert_eq!((again.steps, again.final_weights), (ended.steps, ended.final_weights));
    // A loss that no look finds ends nothing, and to look changes nothing.
    let (plain, _) = trained(&config(12));
    let mut hard = config(12);
    hard.train.target_eval_loss = Some(1e-9);
    assert_eq!(trained(&hard).0.final_weights, plain.final_weights);
}

/// A set of a user may be another by now, and its trials would be called by what they are not.
#[test]
fn a_trial_is_trained_on_the_images_it_is_called_by() {
    let mut config = config(1);
    config.data.digest = Digest::of(b"other images");
    let refused = train_on(&config, &mut Rows::default(), None).err().unwrap().to_string();
    assert!(
        refused.contains(&config.data.digest.short()) && refused.contains("put the old set back"),
        "{refused}"
    );
}

#[test]
fn a_replicate_is_the_same_training() {
    let mut replicate = config(1);
    let (first, rows) = trained(&replicate);
    replicate.train.replicate = Some(1);
    let (second, again) = trained(&replicate);
    assert_eq!(first.final_weights, second.final_weights);
    assert_eq!(rows.computed(), again.computed());
}

#[test]
fn a_schedule_sets_the_rate_of_each_step() {
    let (constant, constant_rows) = trained(&config(2));
    let scheduled = |schedule| {
        let mut config = config(2);
        config.optim.schedule = Some(schedule);
        trained(&config)
    };
    assert_eq!(scheduled(Schedule::Constant).0.final_weights, constant.final_weights);
    // Cosine starts at the full rate, so that its first step is the constant's and its second is not.
    let (cosine, rows) = scheduled(Schedule::Cosine);
    assert_eq!(rows.computed()[..2], constant_rows.computed()[..2]);
    assert_ne!(rows.steps[2].loss, constant_rows.steps[2].loss);
    // One-cycle starts at a 25th of it.
    let (cycle, rows) = scheduled(Schedule::OneCycle);
    assert_eq!(rows.steps[0].loss, constant_rows.steps[0].loss);
    assert_ne!(rows.steps[1].loss, constant_rows.steps[1].loss);
    assert_ne!(cosine.final_weights, cycle.final_weights);
}

#[test]
fn on_a_cpu_nothing_is_copied_and_no_device_is_timed() {
    for config in [config(1), augmented(Augment { shift: Some(4), ..Augment::default() }, 1)] {
        let (_, rows) = trained_with(&config, Diagnostics::Off);
        for step in &rows.steps {
            assert_eq!((step.device, step.times.ns(Phase::Copy)), (None, Some(0)));
            let timed = [Phase::Load, Phase::Forward, Phase::Backward, Phase::Optimizer, Phase::ReadBack];
            assert!(timed.iter().all(|&phase| step.times.ns(phase) > Some(0)), "{step:?}");
        }
    }
}

/// Dropout is off, for its draws are the device's own.
#[test]
#[ignore = "needs a GPU and a libtorch with CUDA"]
fn a_training_on_a_gpu_starts_as_on_the_cpu_and_is_timed_by_events() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut config = config(2);
    config.model.preset_mut().dropout = 0.0;
    let run = |device| {
        let (trial, mut rows) = (Trial { config: config.clone(), seed: Seed(5) }, Rows::default());
        let plan = Plan::named(PlanName::Tuned, 1, device);
        let trained = train(&trial, &plan, &data(), Options::default(), &mut rows).unwrap();
        (trained.initial_weights, rows.steps)
    };
    let ((initial, expected), (again, steps)) = (run(Device::Cpu), run(Device::Cuda(0)));
    assert_eq!(initial, again);
    assert!((steps[0].loss - expected[0].loss).abs() < 1e-4, "{} {}", steps[0].loss, expected[0].loss);
    for step in &steps {
        let device = step.device.unwrap();
        assert!(
            [Phase::Load, Phase::Forward, Phase::Backward].iter().all(|&phase| device.ns(phase) > Some(0))
        );
        // Both end when the loss has been read, to within the cost of the marks.
        assert!(device.total_ns.abs_diff(step.times.total_ns) < 1_000_000, "{step:?}");
    }
}

/// The schedule is over the steps there are, not over those of whole epochs.
#[test]
fn a_budget_of_steps_shortens_the_schedule() {
    let losses = |epochs, max_steps| {
        let mut config = config(epochs);
        (config.optim.schedule, config.train.max_steps) = (Some(Schedule::Cosine), max_steps);
        trained(&config).1.computed()
    };
    assert_eq!(losses(2, None), losses(9, Some(2 * STEPS_PER_EPOCH as u32)));
}

fn augmented(augment: Augment, epochs: u32) -> Config {
    Config { augment: Some(augment), ..config(epochs) }
}

/// Neither loader nor draws touch another stream.
#[test]
fn an_augmentation_that_moves_nothing_changes_no_bit() {
    let nothing = Augment { shift: Some(0), rotation: Some(0.0), ..Augment::default() };
    assert_eq!(trained(&augmented(nothing, 2)).0.final_weights, trained(&config(2)).0.final_weights);
}

#[test]
fn augmentation_changes_what_is_trained_on_and_repeats() {
    let augment = Augment { shift: Some(4), rotation: Some(10.0), ..Augment::default() };
    let (first, rows) = trained(&augmented(augment.clone(), 2));
    let (second, again) = trained(&augmented(augment, 2));
    assert_eq!((first.final_weights, rows.computed()), (second.final_weights, again.computed()));
    assert_ne!(rows.steps[0].loss, trained(&config(1)).1.steps[0].loss);
}

#[test]
fn nothing_is_augmented_in_evaluation() {
    let scores = |config: Config| {
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        let (trial, data, mut rows) = (Trial { config, seed: Seed(5) }, data(), Rows::default());
        thread::scope(|scope| {
            let mut training = Training::new(&trial, &plan(), &data, Options::default(), scope).unwrap();
            for split in [Split::TrainEval, Split::Validation, Split::Test] {
                training.measure(0, split, &mut rows).unwrap();
            }
        });
        rows.epochs.iter().map(|row| (row.split, row.loss, row.accuracy)).collect::<Vec<_>>()
    };
    let hidden = Augment { cutout: Some(27), ..Augment::default() };
    assert_eq!(scores(augmented(hidden, 1)), scores(config(1)));
}

/// Each of these has a state of its own that a checkpoint has to carry.
fn stateful() -> Vec<Config> {
    let momentum = Config {
        optim: Optim { name: OptimName::Sgd, lr: 0.05, momentum: Some(0.9), ..config(3).optim },
        ..config(3)
    };
    let mut scheduled = augmented(Augment { shift: Some(4), ..Augment::default() }, 3);
    (scheduled.optim.schedule, scheduled.train.max_steps) = (Some(Schedule::OneCycle), Some(8));
    let mut patient = config(6);
    (patient.optim.lr, patient.train.patience) = (0.003, Some(1));
    vec![config(3), momentum, scheduled, patient]
}

#[test]
fn a_training_that_is_stopped_after_any_step_and_resumed_ends_with_the_same_bits() {
    for config in stateful() {
        // Diagnostics take longer than the training; they have a test of their own.
        let whole = trained_with(&config, Diagnostics::Off);
        (0..whole.0.steps).for_each(|stop| check_resumed(&plan(), &config, stop, &whole));
    }
}

#[test]
fn a_training_by_our_own_kernels_that_is_stopped_and_resumed_ends_with_the_same_bits() {
    for name in [PlanName::Fused, PlanName::Winograd] {
        let plan = Plan::named(name, 1, Device::Cpu);
        let mut rows = Rows { diagnostics_wanted: Diagnostics::Off, ..Rows::default() };
        let whole = (train_under(&plan, &config(2), &mut rows, None).unwrap(), rows);
        assert!(whole.0.effective.layers.iter().any(|layer| !layer.own.is_empty()));
        [0, STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH]
            .into_iter()
            .for_each(|stop| check_resumed(&plan, &config(2), stop, &whole));
    }
}

/// Workers are ahead of a step that is stopped after; what they have made by then is made again.
#[test]
fn batches_made_image_by_image_train_the_same_weights_after_a_stop_within_an_epoch_too() {
    for config in [config(2), augmented(Augment { shift: Some(4), ..Augment::default() }, 2)] {
        let whole = trained_with(&config, Diagnostics::Off);
        for workers in [0, 2] {
            let plan = Plan { loader: Loader::Samples { workers, prefetch: 2 }, ..plan() };
            let mut rows = Rows { diagnostics_wanted: Diagnostics::Off, ..Rows::default() };
            let found = train_under(&plan, &config, &mut rows, None).unwrap();
            assert_eq!(found.final_weights, whole.0.final_weights, "{workers} workers");
            assert_eq!(rows.chain, whole.1.chain, "{workers} workers");
            [0, STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH]
                .into_iter()
                .for_each(|stop| check_resumed(&plan, &config, stop, &whole));
        }
    }
}

#[test]
fn diagnostics_are_the_same_after_a_stop_before_and_after_them() {
    let whole = trained(&config(3));
    assert!(!whole.1.diagnostics.is_empty());
    [1, 2 * STEPS_PER_EPOCH].into_iter().for_each(|stop| check_resumed(&plan(), &config(3), stop, &whole));
}

/// Stops after `stop`, goes on in another training, and compares with one that was never stopped.
fn check_resumed(plan: &Plan, config: &Config, stop: u64, (whole, expected): &(Trained, Rows)) {
    let wanted = expected.diagnostics_wanted;
    let mut rows = Rows { stop_after: Some(stop), diagnostics_wanted: wanted, ..Rows::default() };
    let ending = train_under(plan, config, &mut rows, None).unwrap().ending;
    assert_eq!(ending, Ending::Stopped { step: stop });
    let kept = rows.kept.take().unwrap();
    assert_eq!(kept.step, stop + 1);
    let again = train_under(plan, config, &mut rows, Some(kept.state)).unwrap();
    assert_eq!(rows.started.unwrap().done, stop + 1);
    assert_eq!(
        (again.ending, again.final_weights, again.kept_epoch, again.steps),
        (whole.ending, whole.final_weights, whole.kept_epoch, whole.steps),
        "after {stop}"
    );
    assert_eq!(rows.computed(), expected.computed(), "after {stop}");
    assert_eq!(rows.chain, expected.chain, "after {stop}");
    assert_eq!(rows.diagnostics, expected.diagnostics, "after {stop}");
    for split in Split::ALL {
        assert_eq!(rows.of(split), expected.of(split), "after {stop}");
    }
    assert_eq!(again.train_ns, rows.steps.iter().map(|row| row.times.total_ns).sum::<u64>());
}

#[test]
fn a_target_loss_is_reached_at_the_same_step_after_a_stop() {
    let mut easy = config(100);
    (easy.train.target_loss, easy.data.train_limit) = (Some(100.0), Some(120));
    let (whole, _) = trained(&easy);
    // Before the window is full, and after the very step that fills it.
    for stop in [7, whole.steps - 1] {
        let mut rows = Rows { stop_after: Some(stop), ..Rows::default() };
        train_on(&easy, &mut rows, None).unwrap();
        let kept = rows.kept.take().unwrap();
        let again = train_on(&easy, &mut rows, Some(kept.state)).unwrap();
        assert_eq!((again.steps, again.final_weights), (whole.steps, whole.final_weights), "after {stop}");
    }
}

#[test]
fn a_state_is_handed_over_after_every_epoch_but_the_last() {
    let (_, rows) = trained(&config(3));
    assert_eq!(rows.kept.unwrap().step, 2 * STEPS_PER_EPOCH);
    assert!(trained(&config(1)).1.kept.is_none());
}

#[test]
fn a_state_of_another_training_is_refused_with_what_differs() {
    let mut rows = Rows { stop_after: Some(1), ..Rows::default() };
    train_on(&config(3), &mut rows, None).unwrap();
    let state = rows.kept.take().unwrap().state;
    let refused = |config: &Config, steps: usize, state: Vec<u8>| {
        let mut rows = Rows { steps: rows.steps[..steps].to_vec(), ..Rows::default() };
        train_on(config, &mut rows, Some(state)).unwrap_err().to_string()
    };
    assert!(refused(&config(3), 1, state.clone()).contains("of 2 steps, its rows are of 1"));
    let mut sgd = config(3);
    (sgd.optim.name, sgd.optim.momentum) = (OptimName::Sgd, Some(0.9));
    let error = refused(&sgd, 2, state.clone());
    assert!(error.contains("optimizer.velocity.conv1.weight"), "{error}");
    let error = refused(&config(3), 2, state[..state.len() / 2].to_vec());
    assert!(error.contains("checkpoint"), "{error}");
    assert!(refused(&config(3), 2, vec![0xff; 64]).contains("checkpoint"));
}

#[test]
fn the_chain_of_another_order_parts_at_the_first_step_and_that_of_other_weights_at_its_loss() {
    let (_, rows) = trained(&config(2));
    let links = |rows: &Rows| -> Vec<u64> {
        rows.chain.iter().filter(|row| row.of.is_empty()).map(|row| row.hash).collect()
    };
    assert_eq!(links(&rows).len(), rows.steps.len());
    // Every tensor at the end of each epoch: SimpleCNN has 14 and Adam 3 for each of the 10 that are trained.
    let tensors = |epoch: u64| {
        let last = (epoch + 1) * STEPS_PER_EPOCH - 1;
        rows.chain.iter().filter(|row| row.step == last && !row.of.is_empty()).count()
    };
    assert_eq!((tensors(0), tensors(1)), (rows.chain.len() / 2 - 3, rows.chain.len() / 2 - 3));
    assert!(tensors(0) > 40, "{}", tensors(0));
    let mut slower = config(2);
    slower.optim.lr = 0.0009;
    let (_, slower) = trained(&slower);
    let parted = links(&rows).iter().zip(links(&slower)).position(|(a, b)| *a != b);
    assert_eq!(parted, Some(1), "the first step sees the initial weights");
}

#[test]
fn a_planted_fault_in_evaluation_moves_no_weight_and_is_seen_in_the_scores() {
    let (plain, expected) = trained(&config(2));
    for planted in [Planted::EvalDropout, Planted::EvalWithoutBatchNorm] {
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        let (trial, mut rows) = (Trial { config: config(2), seed: Seed(5) }, Rows::default());
        let options = Options { planted: Some(planted), ..Options::default() };
        let found = train(&trial, &plan(), &data(), options, &mut rows).unwrap();
        assert_eq!(rows.computed(), expected.computed(), "{planted}");
        assert_ne!(rows.of(Split::Validation), expected.of(Split::Validation), "{planted}");
        assert_eq!(found.final_weights, plain.final_weights, "{planted}");
    }
}

/// Without BatchNorm and dropout, whose statistics and masks are of a pass, the sum of the gradients is the gradient.
#[test]
fn micro_batches_take_the_step_of_the_whole_batch() {
    let mut config = config(2);
    let preset = config.model.preset_mut();
    (preset.norm, preset.dropout) = (Some(Norm::Off), 0.0);
    config.optim = Optim { name: OptimName::Sgd, lr: 0.05, ..config.optim };
    let losses = |micro_batch: Option<u32>| {
        let mut rows = Rows { diagnostics_wanted: Diagnostics::Off, ..Rows::default() };
        let mut config = config.clone();
        config.train.micro_batch = micro_batch;
        train_under(&plan(), &config, &mut rows, None).unwrap();
        rows.steps.iter().map(|row| (row.images, row.correct, row.loss)).collect::<Vec<_>>()
    };
    let (whole, parts) = (losses(None), losses(Some(20)));
    assert_eq!(whole.len(), parts.len());
    for ((images, correct, loss), (of, counted, sum)) in whole.iter().zip(&parts) {
        assert_eq!((images, correct), (of, counted));
        assert!((loss - sum).abs() < 1e-5, "{loss} {sum}");
    }
    // A part as large as the batch is the batch, bit for bit.
    assert_eq!(losses(Some(BATCH)), whole);
}
