//! Plans shards from documents.

mod agreement;
mod conversations;
mod corpus;
mod documents;
mod packing;
mod planned;
mod planner;
mod settings;
mod shards;
mod show;
mod sink;
mod tokenise;

pub(crate) use agreement::{Asked, check_agreement};
pub(crate) use conversations::end_of_turn;
pub(crate) use corpus::begin_token;
pub use packing::{PackedSequence, Packer, PackingSettings, Source, Span, TokenisedDocument};
pub use planner::plan;
pub(crate) use planner::{check_context, plan_with};
pub use settings::PlanSettings;
pub use shards::{Grouping, PlannedShard, ShardBuilder};
pub use show::show_sequences;
