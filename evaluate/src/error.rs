//! Errors of an evaluation. Each message says what was expected, what was found and what to do.

use std::io;
use std::path::PathBuf;

use hayloft_checkpoint::CheckpointError;
use hayloft_hub::HubError;
use hayloft_latents::LatentsError;
use hayloft_model::ModelError;
use hayloft_results::{ModelWeights, ResultsError};
use hayloft_rows::RowsError;
use hayloft_runtime::Part;
use hayloft_sae::SaeError;
use hayloft_store::StoreError;
use hayloft_store::maintain::NumberRange;
use hayloft_train::{SiteError, TrainError};
use tch::TchError;

use crate::metrics::kl::KlChoice;
use crate::parts::PartialError;

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The model could not be read or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The cache could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows of the cache could not be selected.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// An SAE belongs to another site.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// Results could not be written.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Training failed.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Files of the Hugging Face Hub could not be found or fetched.
    #[error(transparent)]
    Hub(Box<HubError>),
    /// An SAE could not be read or run.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// LibTorch returned an error, most often because of insufficient memory.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// The cache was imported without its checkpoint, so its model is unknown.
    #[error(
        "{cache}: expected a cache that says which model its activations come from, got one of an unknown model: it was imported without its checkpoint. Import it again with `store import --checkpoint {model}` if that is the one, or leave --model out"
    )]
    UnknownModel {
        /// The cache's folder.
        cache: PathBuf,
        /// The checkpoint's folder.
        model: PathBuf,
    },
    /// The cache was harvested from another model.
    #[error(
        "{cache}: it was harvested from another model than {model}: {what}: expected {expected} as the cache's manifest says, got {got}. Give the checkpoint that the cache was made with, or harvest this one"
    )]
    OtherModel {
        /// The cache's folder.
        cache: PathBuf,
        /// The checkpoint's folder.
        model: PathBuf,
        /// What differs.
        what: String,
        /// The manifest's value.
        expected: String,
        /// The checkpoint's value.
        got: String,
    },
    /// The cache has no whole shard.
    #[error("{cache}: expected at least one whole shard, got none. Go on with `harvest run --resume`")]
    EmptyCache {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// Divergences were requested without a model.
    #[error(
        "--kl={choice}: expected --model too, got none: how far predictions are apart is known only where there are predictions. Give the checkpoint that the cache was made with, or leave --kl out"
    )]
    KlWithoutModel {
        /// The requested way.
        choice: KlChoice,
    },
    /// Divergences were requested from logits that the cache does not store.
    #[error(
        "{cache}: --kl={choice}: expected a cache with {expected}, got one with {got}. Harvest with --logits {harvest}, or take --kl=recomputed, which needs no stored logits"
    )]
    KlNotKept {
        /// The cache's folder.
        cache: PathBuf,
        /// The requested way.
        choice: KlChoice,
        /// What the requested way needs.
        expected: &'static str,
        /// The predictions that the cache stores.
        got: String,
        /// The value of the harvest's --logits that stores them.
        harvest: &'static str,
    },
    /// A transcoder's configuration does not name its output site.
    #[error(
        "{sae}: expected the configuration of a transcoder to name the site that it reconstructs (hook_name_out), got none. Add it"
    )]
    TranscoderWithoutTarget {
        /// The transcoder's folder.
        sae: PathBuf,
    },
    /// The cache lacks a site that the forward pass from the spliced site needs.
    #[error(
        "{cache}: expected activations of {beside} too, which going on from {site} takes, got none. Harvest {site} again, which keeps them beside it, or add them with `store extend`"
    )]
    BesideNotHeld {
        /// The cache's folder.
        cache: PathBuf,
        /// The site whose values are replaced.
        site: String,
        /// The missing site.
        beside: String,
    },
    /// The SAEs of one run were trained on different weights of the model.
    #[error(
        "{sae}: expected an SAE of a model with {expected} weights, as the first, got one of the other kind (center_writing_weights). Evaluate them apart, or say --weights as-stored or --weights centred for all"
    )]
    MixedWeights {
        /// The SAE's folder.
        sae: PathBuf,
        /// The weights that the first SAE was trained on.
        expected: ModelWeights,
    },
    /// Centring the writing weights would change what the model computes, or could.
    #[error(
        "centred writing weights: expected a model whose every norm takes the mean away (LayerNorm) and a site that is written to its residual stream, got {got}. Say --weights as-stored to evaluate on the weights as they are"
    )]
    CannotCentre {
        /// The reason.
        got: String,
    },
    /// Effects on logits were requested of SAEs that do not write to the residual.
    #[error("effects on logits: expected SAEs that write to the residual stream, got {site}. Leave out --model")]
    NotInResidual {
        /// The site that is written.
        site: String,
    },
    /// Splicing SAEs together was requested without a model.
    #[error(
        "--splice-together: expected --model too, got none: SAEs that are in place at once change one another's activations"
    )]
    TogetherWithoutModel,
    /// Two SAEs that are spliced together are at one site.
    #[error(
        "{second}: expected SAEs of different sites, one behind the other, got {site}, where {first} is already. Put one of them in, or evaluate them one by one without --splice-together"
    )]
    TwoAtOneSite {
        /// The first SAE.
        first: PathBuf,
        /// The second SAE.
        second: PathBuf,
        /// The site.
        site: String,
    },
    /// The scale that an SAE's files ask for cannot be computed on this cache.
    #[error(
        "{sae}: expected to scale activations as its cfg.json says, by sqrt(d_model) over the mean norm of {rows}, got: {cause}: --scale auto is over all rows of this cache, and --scale {trained} is what it was trained with"
    )]
    RecordedScale {
        /// The SAE's folder.
        sae: PathBuf,
        /// The rows that it averages over.
        rows: String,
        /// The scale used in training.
        trained: f64,
        /// The underlying error.
        cause: Box<EvaluateError>,
    },
    /// A setting is invalid.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The allowed values.
        expected: &'static str,
        /// The given value.
        got: String,
    },
    /// The forward pass from the cached residual stream does not reproduce the cached losses.
    #[error(
        "{cache}: going on from the cached residual, the clean loss of {tokens} tokens differs from the cached loss by up to {difference:.3e} nats at one token, expected at most {tolerance:.0e}. The cache is not what this model and this code give; verify it with `store verify`, or harvest again"
    )]
    CleanCheck {
        /// The cache's folder.
        cache: PathBuf,
        /// Number of tokens compared.
        tokens: usize,
        /// The largest difference, in nats.
        difference: f64,
        /// The largest difference allowed, in nats.
        tolerance: f64,
    },
    /// An SAE returned NaN or infinity for finite activations.
    #[error(
        "{sae}: expected finite reconstructions, got NaN or infinity at a token of shard {shard}, row group {row_group}. The SAE does not fit these activations; is its scale right (--scale)?"
    )]
    NonFiniteReconstruction {
        /// The SAE's folder.
        sae: PathBuf,
        /// The shard's number.
        shard: usize,
        /// The row group in the shard.
        row_group: usize,
    },
    /// An SAE's latent is NaN or infinity for finite activations.
    #[error("{sae}: {cause}. The SAE does not fit these activations; is its scale right (--scale)?")]
    NonFiniteLatent {
        /// The SAE's folder.
        sae: PathBuf,
        /// The latent and the token.
        cause: LatentsError,
    },
    /// Parts could not be read, or are not of one run.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// Files of statistics of latents could not be written.
    #[error(transparent)]
    Latents(#[from] LatentsError),
    /// A latent that examples were requested of does not exist.
    #[error(
        "--latents {latent}: expected latents of {sae}, which has {width}, numbered from 0 to {}, got {latent}. Name others, or leave --latents out for all", width - 1
    )]
    NoSuchLatent {
        /// The SAE's folder.
        sae: PathBuf,
        /// Number of latents of the SAE.
        width: usize,
        /// The requested latent.
        latent: u64,
    },
    /// No shard of the cache is in the requested range.
    #[error("{cache}: --shards {range}: expected shards that the cache holds, which are {held}, got none of them")]
    NoShards {
        /// The cache's folder.
        cache: PathBuf,
        /// The requested range of numbers.
        range: NumberRange,
        /// The numbers of the cache's shards.
        held: String,
    },
    /// Sequences that were read are not there any more.
    #[error(
        "{cache}: expected the sequences that it had when it was opened, got others. Leave it as it is while it is read"
    )]
    CacheChanged {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A part's run needs baselines that other parts have not computed yet.
    #[error(
        "--part {part}: expected baselines of every shard in {folder}, as means are over the whole cache, got none of shards {shards}. Run every part with --only-baselines first (the same command, with --only-baselines and the same --baselines)"
    )]
    MissingBaselines {
        /// The part.
        part: Part,
        /// The folder of baselines.
        folder: PathBuf,
        /// The shards' numbers.
        shards: String,
    },
    /// Two pieces of a baseline disagree about one shard.
    #[error(
        "{second}: expected the sums of shard {shard} that {first} has, got others. They were computed on different machines or by different versions: remove one of the two"
    )]
    PiecesDiffer {
        /// The first file.
        first: PathBuf,
        /// The second file.
        second: PathBuf,
        /// The shard's number.
        shard: usize,
    },
    /// A baseline could not be written.
    #[error("{path}: cannot write: {cause}. Name a folder for baselines with --baselines")]
    KeepBaseline {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// An export of firings could not be written.
    #[error("{path}: cannot write: {cause}")]
    Export {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The reader thread ended early.
    #[error("the thread that reads the cache ended early: a defect in hayloft, please report it")]
    ReaderLost,
}

impl From<HubError> for EvaluateError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl From<CheckpointError> for EvaluateError {
    fn from(error: CheckpointError) -> Self {
        Self::Model(error.into())
    }
}

/// What is not of training alone is the evaluation's own error.
impl From<TrainError> for EvaluateError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Store(error) => Self::Store(error),
            TrainError::Model(error) => Self::Model(error),
            TrainError::Sae(error) => Self::Sae(error),
            TrainError::Rows(error) => Self::Rows(error),
            TrainError::Site(error) => Self::Site(error),
            TrainError::Torch(error) => Self::Torch(error),
            other => Self::Train(Box::new(other)),
        }
    }
}
