//! What transformers computes, and what this project computes in its place.

mod decoder;
mod families;
mod generate;
mod greedy;
mod harvest;
mod onednn;
mod sections;
mod subsets;
