//! PEFT adapters, such as `LoRA`'s. An adapter is not a checkpoint, and must not be ignored beside one.

use std::path::Path;

use serde::Deserialize;

use crate::error::{CheckpointError, read_json};

const CONFIG: &str = "adapter_config.json";

/// The files of an adapter, its configuration first.
const FILES: [&str; 3] = [CONFIG, "adapter_model.safetensors", "adapter_model.bin"];

/// The fields of `adapter_config.json` that a message quotes.
#[derive(Default, Deserialize)]
struct Fields {
    peft_type: Option<String>,
    base_model_name_or_path: Option<String>,
}

/// Refuses a folder with an adapter. An adapter alone is not a model, and transformers applies one to the weights beside it,
/// so that ignoring it would give a different model.
pub(crate) fn refuse(folder: &Path) -> Result<(), CheckpointError> {
    let Some(path) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) else { return Ok(()) };
    // The refusal stands even if the configuration is unreadable.
    let Fields { peft_type, base_model_name_or_path } = read_json(&folder.join(CONFIG)).unwrap_or_default();
    let whole = ["model.safetensors", "model.safetensors.index.json"].iter().any(|name| folder.join(name).exists());
    Err(CheckpointError::Adapter {
        path,
        kind: peft_type.unwrap_or_else(|| "of no kind that it names".to_owned()),
        base: base_model_name_or_path.unwrap_or_else(|| "a base model that it does not name".to_owned()),
        place: if whole {
            "beside a model's weights, over which transformers would put it"
        } else {
            "which is no model by itself"
        },
    })
}
