//! Files that are damaged, hostile or of the wrong kind: each is met by an error that says where, what was expected,
//! what was found and what to do.

mod evaluate;
mod model;
mod parts;
