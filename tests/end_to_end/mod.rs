//! The main job through the programs: harvest, inspect, verify, evaluate.

mod bench;
mod crash;
mod experiment;
mod identity;
mod ids;
mod known_answer;
mod latents;
pub mod parts;
mod remote;
mod sharing;
mod sites;
pub mod small_model;
mod together;
mod training;
