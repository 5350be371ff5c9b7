//! Execution: devices, threads, steps and ordered results.

pub(crate) mod device;
pub(crate) mod in_order;
pub(crate) mod kind;
pub(crate) mod matrix_rate;
pub(crate) mod steps;
pub(crate) mod threads;
