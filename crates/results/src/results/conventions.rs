//! Conventions of a result.

use hayloft_rows::{ExcludeChoice, MedianRule};
use serde::{Deserialize, Serialize};

use crate::results::model_weights::ModelWeights;

/// What metrics depend on besides the SAE and the activations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultConventions {
    /// The form of the model's weights that the SAE's input comes from.
    pub weights: ModelWeights,
    /// The choice of tokens excluded from metrics on activations.
    pub exclude: ExcludeChoice,
    /// Ids of the excluded tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_tokens: Vec<u32>,
    /// The median behind the outlier threshold, if it is relative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_median: Option<MedianRule>,
    /// Names of the SAEs that were spliced in at other sites at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spliced_with: Vec<String>,
}

impl ResultConventions {
    /// Describes conventions that are not the default. `excluded_rows` is the section's count.
    pub fn in_words(&self, excluded_rows: u64) -> Vec<String> {
        let mut lines = Vec::new();
        if self.weights == ModelWeights::CentredWriting {
            lines.push("SAEs were given activations of centred writing weights: each less its own mean".to_owned());
        }
        if self.exclude != ExcludeChoice::None {
            let ids: Vec<String> = self.excluded_tokens.iter().map(u32::to_string).collect();
            let (choice, ids) = (self.exclude, ids.join(", "));
            lines.push(format!("Left out ({choice}): {excluded_rows} rows of the tokens {ids}"));
        }
        if let Some(MedianRule { multiple, median }) = self.outlier_median {
            lines.push(format!("Outliers have a norm above {multiple} times the median, {median:.4}"));
        }
        if !self.spliced_with.is_empty() {
            lines.push("All SAEs were in place at once: losses are those of all together".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_not_talked_about() {
        assert!(ResultConventions::default().in_words(0).is_empty());
        let unusual = ResultConventions {
            weights: ModelWeights::CentredWriting,
            exclude: ExcludeChoice::Bos,
            excluded_tokens: vec![1],
            outlier_median: Some(MedianRule { multiple: 10.0, median: 2.5 }),
            spliced_with: vec!["other".to_owned()],
        };
        let lines = unusual.in_words(7);
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("7 rows of the tokens 1") && lines[2].contains("10 times the median, 2.5000"));
        let value = serde_json::to_value(&unusual).unwrap();
        assert_eq!(serde_json::from_value::<ResultConventions>(value).unwrap(), unusual);
    }
}
