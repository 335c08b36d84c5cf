//! The metrics a claim can speak of, as data: name, unit, direction, scale. `analyse::quantity` computes them.

/// A quantity and, where it takes one, its parameter: `val_acc`, `val_acc@1`, `epochs_to_train_loss@0.2`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Metric {
    pub quantity: Quantity,
    pub at: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantity {
    ValAcc,
}
