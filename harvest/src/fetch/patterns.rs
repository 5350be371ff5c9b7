//! Patterns of file names.

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

/// A shell pattern for file names. `*`, `?` and `[…]` stay within a folder; `**/` crosses folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePattern(Pattern);

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl FilePattern {
    /// Returns whether the pattern matches a file name, which includes its folders.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches_with(name, OPTIONS)
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for FilePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("expected a file name or a pattern such as *.safetensors, got an empty text".to_owned());
        }
        let pattern = Pattern::new(&text).map_err(|error| {
            format!("expected a file name or a pattern such as *.safetensors, got {text:?}: {error}")
        })?;
        Ok(Self(pattern))
    }
}

impl From<FilePattern> for String {
    fn from(pattern: FilePattern) -> Self {
        pattern.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_folder() {
        let matches = |pattern: &str, name: &str| FilePattern::try_from(pattern.to_owned()).unwrap().matches(name);
        assert!(matches("*.safetensors", "model.safetensors"));
        assert!(!matches("*.safetensors", "onnx/model.safetensors"));
        assert!(matches("data/train-*.parquet", "data/train-00000-of-00001-a09b.parquet"));
        assert!(matches("**/*.parquet", "a/b/c.parquet"));
        assert!(!matches("*", ".gitattributes"));
        assert!(!matches("config.json", "Config.json"));
    }

    #[test]
    fn invalid_patterns_are_refused() {
        for text in ["", " ", "a[", "a**b"] {
            let message = FilePattern::try_from(text.to_owned()).unwrap_err();
            assert!(message.contains("expected a file name"), "{message}");
        }
    }
}
