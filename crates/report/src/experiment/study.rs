//! The study's preset: families of a base and a chat model, and the roles of SAEs.

use hayloft_runtime::words::did_you_mean;

use crate::experiment::name::Name;

/// A name in files, and the label in tables.
type Role = (&'static str, &'static str);

/// Roles of SAEs, in table order.
const SAES: [Role; 3] = [(BASE, "base SAE"), (FINETUNED, "fine-tuned SAE"), (CHAT, "chat SAE")];

/// Roles of models, in table order.
const MODELS: [Role; 2] = [(BASE, "base model"), (CHAT, "chat model")];

/// The study's datasets, in its order.
const DATASETS: [Role; 2] = [("pile", "Pile protocol"), ("alpaca", "Alpaca protocol")];

/// Trained on the base model, or the pretrained model itself.
pub(crate) const BASE: &str = "base";

/// The base SAE, fine-tuned on the chat model's activations.
pub(crate) const FINETUNED: &str = "finetuned";

/// Trained on the chat model, or the instruction-tuned model itself.
pub(crate) const CHAT: &str = "chat";

/// The role of an SAE.
pub(crate) fn sae(name: &str) -> Result<Name, String> {
    role(name, &SAES, "an SAE")
}

/// The role of a model.
pub(crate) fn model(name: &str) -> Result<Name, String> {
    role(name, &MODELS, "a model")
}

/// A dataset: the study's come first.
pub(crate) fn dataset(name: &str) -> Name {
    role(name, &DATASETS, "").unwrap_or_else(|_| Name::new(name, DATASETS.len()))
}

fn role(name: &str, roles: &[Role], what: &str) -> Result<Name, String> {
    let found = roles.iter().enumerate().find(|(_, (key, _))| *key == name);
    let Some((rank, (key, label))) = found else {
        let keys: Vec<&str> = roles.iter().map(|(key, _)| *key).collect();
        return Err(format!("{what} is one of {}, got {name}{}", keys.join(", "), did_you_mean(name, &keys)));
    };
    Ok(Name { rank, key: (*key).to_owned(), label: (*label).to_owned() })
}
