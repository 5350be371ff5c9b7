//! How work is laid out on a machine: devices, threads, steps, results in their order.

pub(crate) mod device;
pub(crate) mod in_order;
pub(crate) mod kind;
pub(crate) mod matrix_rate;
pub(crate) mod steps;
pub(crate) mod threads;
