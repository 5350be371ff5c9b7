//! Comparisons with the outputs of transformers.

mod decoder;
mod families;
mod generate;
mod greedy;
mod harvest;
mod model_identity;
mod onednn;
mod sections;
mod subsets;
mod tokenizer_files;
