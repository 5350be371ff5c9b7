//! Adapters of PEFT, such as `LoRA`'s: no checkpoints, and not to be passed over where they lie beside one.

use std::path::Path;

use serde::Deserialize;

use crate::error::{ModelError, read_json};

const CONFIG: &str = "adapter_config.json";

/// What an adapter is saved as, its configuration first.
const FILES: [&str; 3] = [CONFIG, "adapter_model.safetensors", "adapter_model.bin"];

/// What of `adapter_config.json` a message tells.
#[derive(Default, Deserialize)]
struct Fields {
    peft_type: Option<String>,
    base_model_name_or_path: Option<String>,
}

/// Refuses a folder with an adapter: by itself it is no model, and transformers would put it over weights beside it, so that
/// the model without it is another.
pub(crate) fn refuse(folder: &Path) -> Result<(), ModelError> {
    let Some(path) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) else { return Ok(()) };
    // The message matters more than what the file has in it.
    let Fields { peft_type, base_model_name_or_path } = read_json(&folder.join(CONFIG)).unwrap_or_default();
    let whole = ["model.safetensors", "model.safetensors.index.json"].iter().any(|name| folder.join(name).exists());
    Err(ModelError::Adapter {
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
