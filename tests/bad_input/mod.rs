//! Files that are damaged, hostile or of the wrong kind: each gives an error with the place, the expectation, the
//! finding and the remedy.

mod evaluate;
mod model;
mod parts;
mod released;
