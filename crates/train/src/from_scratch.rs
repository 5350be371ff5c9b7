//! Training from scratch.

use hayloft_model::Site;
use hayloft_rows::ScaleSource;
use hayloft_runtime::Progress;
use hayloft_sae::{InputBias, Normalisation};
use serde_json::{Map, json};

use crate::agreement::sae_site::held_site;
use crate::error::TrainError;
use crate::files::provenance::metadata;
use crate::messages::summary::TrainingSummary;
use crate::model::{FRESH_DECODER_NORM, Fold, fresh};
use crate::selection::{Selection, open_cache};
use crate::session::{self, Job};
use crate::settings::architecture::{Architecture, Penalty};
use crate::settings::course::Course;

/// Settings of a training from scratch.
#[derive(Debug, Clone)]
pub struct TrainSettings {
    /// Data, duration, learning rate and output folder.
    pub course: Course,
    /// The site.
    pub site: Site,
    /// The architecture.
    pub architecture: Architecture,
    /// Number of latents.
    pub width: usize,
    /// Whether the decoder bias is subtracted from the input.
    pub centring: Centring,
    /// The space in which the SAE is saved.
    pub space: Space,
    /// The model's name in `cfg.json`; `None` uses the model's type.
    pub model_name: Option<String>,
}

/// Whether the decoder bias is subtracted from the input: SAELens's `apply_b_dec_to_input`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Centring {
    /// The decoder bias is subtracted, SAELens's default.
    #[default]
    DecoderBias,
    /// Nothing is subtracted.
    None,
}

/// The space in which an SAE is saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Space {
    /// The scale is folded into the weights, so the SAE takes unscaled residuals (`normalize_activations` is `none`).
    #[default]
    Raw,
    /// The SAE takes scaled residuals (`expected_average_only_in`).
    Scaled,
}

/// Trains an SAE on a cache and saves it in SAELens's layout.
///
/// ```no_run
/// use hayloft_train::{Architecture, Course, TrainSettings, train};
/// use hayloft_runtime::Progress;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let course = Course::new("cache", "saes/mine", 100_000_000);
/// let architecture = Architecture::TopK { k: 64, auxiliary: Architecture::AUXILIARY };
/// let settings = TrainSettings::new(course, "blocks.16.hook_resid_pre".parse()?, architecture, 32_768);
/// println!("{}", train(&settings, Progress::Silent)?.last.explained_variance);
/// # Ok(()) }
/// ```
pub fn train(settings: &TrainSettings, progress: Progress) -> Result<TrainingSummary, TrainError> {
    let TrainSettings { course, architecture, width, .. } = settings;
    course.check()?;
    if *width == 0 {
        return Err(TrainError::setting("width", "at least 1", &0));
    }
    architecture.check(*width)?;
    let cache = open_cache(course)?;
    let site = held_site(settings.site, &cache)?;
    let rule = course.scale().rule(Normalisation::None.as_str(), None, &course.rows());
    let selection = Selection::of(course, &rule, (&cache, site))?;
    let scale = &selection.scale;
    let fold = match settings.space {
        Space::Raw => Fold::Scale(scale.value),
        Space::Scaled if scale.source == ScaleSource::None => {
            return Err(TrainError::setting("keep-scale", "a scale to keep (--scale auto, or a number)", "none"));
        }
        Space::Scaled => Fold::Keep(Normalisation::ExpectedAverageOnlyIn),
    };
    let input_bias = match settings.centring {
        Centring::DecoderBias => InputBias::DecoderBias,
        Centring::None => InputBias::None,
    };
    let model = fresh(architecture, (site.d_model, *width), input_bias, course.seed, course.device)?;
    let weight_settings = json!({
        "width": width,
        "apply_b_dec_to_input": input_bias == InputBias::DecoderBias,
        "scale_is_folded": settings.space == Space::Raw,
    });
    let mut metadata = metadata(&cache, site, course, &selection);
    if let Some(name) = &settings.model_name {
        metadata.insert("model_name".to_owned(), json!(name));
    }
    metadata.insert("training_architecture".to_owned(), json!(architecture.as_str()));
    metadata.insert("training_architecture_details".to_owned(), hyperparameters(architecture, course));
    let job = Job {
        course,
        cache: &cache,
        site,
        selection: &selection,
        architecture,
        fold,
        settings: weight_settings.as_object().cloned().unwrap_or_default(),
        metadata,
    };
    session::train(&job, model, progress)
}

impl TrainSettings {
    /// Creates settings with default values.
    pub fn new(course: Course, site: Site, architecture: Architecture, width: usize) -> Self {
        let (centring, space) = (Centring::default(), Space::default());
        Self { course, site, architecture, width, centring, space, model_name: None }
    }
}

/// The training hyperparameters, by SAELens's names.
fn hyperparameters(architecture: &Architecture, course: &Course) -> serde_json::Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value| fields.insert(name.to_owned(), value);
    set("decoder_init_norm", json!(FRESH_DECODER_NORM));
    match *architecture {
        Architecture::Standard { l1 } | Architecture::Gated { l1 } => {
            set("l1_coefficient", json!(l1));
            set("l1_warm_up_steps", json!(course.sparsity_warm_up));
        }
        Architecture::TopK { auxiliary, .. } => {
            set("aux_loss_coefficient", json!(auxiliary));
        }
        Architecture::BatchTopK { k, auxiliary } => {
            set("k", json!(k));
            set("aux_loss_coefficient", json!(auxiliary));
            set("rescale_acts_by_decoder_norm", json!(true));
        }
        Architecture::JumpRelu { l0, penalty, bandwidth, initial_threshold } => {
            set("l0_coefficient", json!(l0));
            set("l0_warm_up_steps", json!(course.sparsity_warm_up));
            set("jumprelu_bandwidth", json!(bandwidth));
            set("jumprelu_init_threshold", json!(initial_threshold));
            match penalty {
                Penalty::L0 => set("jumprelu_sparsity_loss_mode", json!("step")),
                Penalty::Tanh { scale } => {
                    set("jumprelu_sparsity_loss_mode", json!("tanh"));
                    set("jumprelu_tanh_scale", json!(scale))
                }
            };
        }
    }
    fields.into()
}
