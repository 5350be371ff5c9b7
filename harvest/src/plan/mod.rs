//! Plans shards from documents.

mod check_plan;
mod conversations;
mod documents;
mod packing;
mod planner;
mod records;
mod settings;
mod show;
mod sink;

pub(crate) use check_plan::{PlanRequest, check_plan};
pub(crate) use conversations::{end_of_turn, usable};
pub use packing::{Packer, PackingSettings, TokenisedDocument};
pub use planner::plan;
pub(crate) use planner::{check_context, plan_with};
pub(crate) use records::begin_token;
pub use settings::PlanSettings;
pub use show::show_sequences;
