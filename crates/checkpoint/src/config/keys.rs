//! The keys of a `config.json`, taken one by one, so that a key that is left is one that the family does not know.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{CheckpointError, read_json};
use crate::weights::in_place;

/// The keys of a `config.json` that are not read yet.
///
/// Readers ask for keys by Llama's names. A family whose files spell them otherwise says so with [`Keys::rename`], and
/// errors then name the key as the file does.
pub(super) struct Keys {
    path: PathBuf,
    unread: Map<String, Value>,
    /// Every key that was asked for, as the file spells it.
    known: Vec<&'static str>,
    /// Llama's name of a key and the family's.
    renamed: &'static [(&'static str, &'static str)],
    /// The object that the keys are in: `text_config.`, or empty for the file itself.
    within: &'static str,
}

impl Keys {
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        if let (false, Some(folder)) = (path.is_file(), path.parent())
            && let Some(got) = in_place::of_checkpoint(folder)
        {
            return Err(CheckpointError::NoCheckpoint { path: folder.to_path_buf(), got });
        }
        Ok(Self { path: path.to_path_buf(), unread: read_json(path)?, known: Vec::new(), renamed: &[], within: "" })
    }

    /// Goes on with the keys of the object `text_config`. Refuses what is left outside it.
    pub(super) fn enter_text_config(&mut self) -> Result<(), CheckpointError> {
        let text: Map<String, Value> = self.need("text_config")?;
        self.finish()?;
        (self.unread, self.known, self.within) = (text, Vec::new(), "text_config.");
        Ok(())
    }

    /// Sets this family's names of keys: pairs of Llama's name and the family's.
    pub(super) fn rename(&mut self, names: &'static [(&'static str, &'static str)]) {
        self.renamed = names;
    }

    /// The key as the file spells it.
    pub(super) fn name(&self, key: &'static str) -> &'static str {
        self.renamed.iter().find(|(llama, _)| *llama == key).map_or(key, |(_, own)| own)
    }

    /// Takes a key, or `absent` where the file does not have it. A `null` is an error unless `T` is an `Option`.
    pub(super) fn take_or<T: DeserializeOwned>(&mut self, key: &'static str, absent: T) -> Result<T, CheckpointError> {
        let key = self.name(key);
        self.known.push(key);
        let Some(value) = self.unread.remove(key) else { return Ok(absent) };
        serde_json::from_value(value).map_err(|error| self.malformed(key, &error))
    }

    /// Takes a key, if the file has it and it is not `null`.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, CheckpointError> {
        self.take_or(key, None)
    }

    /// Takes a key that the file must have.
    pub(super) fn need<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<T, CheckpointError> {
        self.require(&[key])?;
        self.take(key)?.ok_or_else(|| self.missing(key))
    }

    /// Refuses a file in which one of these keys is absent or `null`.
    pub(super) fn require(&self, keys: &[&'static str]) -> Result<(), CheckpointError> {
        match keys.iter().find(|key| self.unread.get(self.name(key)).is_none_or(Value::is_null)) {
            Some(key) => Err(self.missing(key)),
            None => Ok(()),
        }
    }

    /// Sets the value of a key that the file does not have.
    pub(super) fn default(&mut self, key: &'static str, value: impl Into<Value>) {
        let key = self.name(key);
        self.unread.entry(key).or_insert(value.into());
    }

    /// Sets the value of a key.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let key = self.name(key);
        self.unread.insert(key.to_owned(), value.into());
    }

    /// Drops keys that do not affect the forward pass.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        self.ignore_if(|key| keys.contains(&key));
    }

    /// Drops the keys that do not affect the forward pass by their names.
    pub(super) fn ignore_if(&mut self, is_inert: impl Fn(&str) -> bool) {
        self.unread.retain(|key, _| !is_inert(key));
    }

    /// Takes a key that changes nothing at `default` or `null`, and refuses any other value.
    pub(super) fn only_default(&mut self, key: &'static str, default: impl Into<Value>) -> Result<(), CheckpointError> {
        let default = default.into();
        let Some(value) = self.take::<Value>(key)? else { return Ok(()) };
        let same_number = || Some(value.as_f64()?.to_bits() == default.as_f64()?.to_bits());
        if value == default || same_number() == Some(true) {
            return Ok(());
        }
        let expected = if default.is_null() { "null or absent".to_owned() } else { format!("{default} or absent") };
        let advice = "Another value changes what the model computes, which is not done here. Remove it if the model was \
                      trained without it";
        Err(self.unsupported(key, &value.to_string(), &expected, advice))
    }

    /// Takes a switch of which one position is computed here, and refuses the other. `null` is off.
    pub(super) fn only(&mut self, key: &'static str, on: bool, advice: &str) -> Result<(), CheckpointError> {
        if self.take_or(key, Some(on))?.unwrap_or(false) == on {
            return Ok(());
        }
        Err(self.unsupported(key, &(!on).to_string(), &format!("{on} or absent"), advice))
    }

    /// Takes a number that must be above zero where the file has it. Returns `absent` where it does not, and `None` for
    /// `null`.
    pub(super) fn positive(&mut self, key: &'static str, absent: Option<f64>) -> Result<Option<f64>, CheckpointError> {
        match self.take_or(key, absent)? {
            Some(value) if !value.is_finite() || value <= 0.0 => {
                Err(self.unsupported(key, &value.to_string(), "a number above zero", "Mend the file"))
            }
            value => Ok(value),
        }
    }

    /// Refuses what is left. A `null` sets nothing, and is passed over.
    pub(super) fn finish(&self) -> Result<(), CheckpointError> {
        let Some((key, value)) = self.unread.iter().find(|(_, value)| !value.is_null()) else { return Ok(()) };
        let known: Vec<String> = self.known.iter().map(|key| format!("`{key}`")).collect();
        let (within, known) = (self.within, known.join(", "));
        Err(self.problem(&format!("unknown field `{within}{key}`, expected one of {known}. Its value is {value}")))
    }

    pub(super) fn unsupported(&self, key: &'static str, got: &str, expected: &str, advice: &str) -> CheckpointError {
        CheckpointError::Unsupported {
            path: self.path.clone(),
            key: format!("{}{}", self.within, self.name(key)),
            got: got.to_owned(),
            expected: expected.to_owned(),
            advice: advice.to_owned(),
        }
    }

    fn malformed(&self, key: &str, error: &serde_json::Error) -> CheckpointError {
        CheckpointError::Json {
            path: self.path.clone(),
            problem: format!("{}{key}: {error}. Mend the file", self.within),
        }
    }

    fn missing(&self, key: &'static str) -> CheckpointError {
        let key = self.name(key);
        let problem = format!("missing field `{}{key}`. Is this a whole configuration?", self.within);
        CheckpointError::Json { path: self.path.clone(), problem }
    }

    fn problem(&self, problem: &str) -> CheckpointError {
        let advice = "A key that is not understood may change what the model computes, so it is refused; remove it if it \
                      changes nothing";
        CheckpointError::Json { path: self.path.clone(), problem: format!("{problem}. {advice}") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(value: Value) -> Keys {
        let unread = serde_json::from_value(value).unwrap();
        Keys {
            path: "config.json".into(),
            unread,
            known: Vec::new(),
            renamed: &[("hidden_size", "n_embd")],
            within: "",
        }
    }

    #[test]
    fn a_key_that_is_not_taken_is_refused_with_those_that_are_known() {
        let mut keys = keys(json!({"n_embd": 8, "hidden_size": 8}));
        assert_eq!(keys.need::<usize>("hidden_size").unwrap(), 8);
        let message = keys.finish().unwrap_err().to_string();
        assert!(message.contains("unknown field `hidden_size`, expected one of `n_embd`."), "{message}");
        assert!(message.contains("may change what the model computes"), "{message}");
        assert!(message.contains("Its value is 8") && message.contains("remove it if"), "{message}");
    }

    #[test]
    fn a_key_at_its_default_is_passed_over_and_another_value_is_refused_with_it() {
        let mut keys = keys(json!({"heads": {}, "scale": 1, "none": null, "cut": 2.5, "unknown": null}));
        keys.only_default("heads", json!({})).unwrap();
        keys.only_default("scale", 1.0).unwrap();
        keys.only_default("none", false).unwrap();
        let message = keys.only_default("cut", 1.0).unwrap_err().to_string();
        assert!(
            message.contains("cut is 2.5, expected 1.0 or absent") && message.contains("Remove it if"),
            "{message}"
        );
        keys.finish().unwrap();
    }

    #[test]
    fn errors_name_the_key_as_the_file_does() {
        for (value, problem) in
            [(json!({}), "missing field `n_embd`"), (json!({"n_embd": "x"}), "n_embd: invalid type")]
        {
            let message = keys(value).need::<usize>("hidden_size").unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }

    #[test]
    fn null_is_no_default_and_a_switch_that_is_off() {
        let mut keys = keys(json!({"window": null, "on": null, "off": null, "n_embd": null}));
        keys.default("hidden_size", 3);
        assert_eq!(keys.take::<usize>("hidden_size").unwrap(), None);
        assert_eq!(keys.take_or::<Option<usize>>("window", Some(4)).unwrap(), None);
        assert!(keys.only("on", true, "").is_err());
        assert!(keys.only("off", false, "").is_ok());
        assert!(keys.only("absent", true, "").is_ok());
        assert!(keys.finish().is_ok());
    }
}
