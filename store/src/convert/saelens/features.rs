//! The columns of a data set as `datasets` describes them: in JSON, and in the schema of the Arrow files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use hayloft_runtime::Dtype;
use serde_json::{Map, Value, json};

use crate::error::{Result, StoreError};
use crate::format::settings::MAX_D_MODEL;
use crate::format::site::SiteName;

pub(super) const TOKEN_IDS: &str = "token_ids";
const EXTENSION: &str = "datasets.features.features.Array2DExtensionType";

/// Limit on the context length.
const MAX_CONTEXT: usize = 1 << 24;

/// The columns of a data set of cached activations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// The activation columns, in file order.
    pub(super) sites: Vec<SiteName>,
    /// Tokens per row.
    pub(super) context: usize,
    /// Elements per activation.
    pub(super) d_model: usize,
    /// The element type: f32 or f16.
    pub(super) dtype: Dtype,
}

/// The name of the type in `datasets`, which has no bfloat16.
fn dtype_name(dtype: Dtype) -> &'static str {
    if dtype == Dtype::F16 { "float16" } else { "float32" }
}

impl Features {
    /// The features as `datasets` writes them into `dataset_info.json`.
    pub(super) fn to_json(&self) -> Value {
        let mut features = Map::new();
        for site in &self.sites {
            let feature =
                json!({"shape": [self.context, self.d_model], "dtype": dtype_name(self.dtype), "_type": "Array2D"});
            features.insert(site.to_string(), feature);
        }
        let token_ids = json!({
            "feature": {"dtype": "int32", "_type": "Value"}, "length": self.context, "_type": "List",
        });
        features.insert(TOKEN_IDS.to_owned(), token_ids);
        Value::Object(features)
    }

    /// Reads the features from the `dataset_info.json` at `path`.
    pub(super) fn from_json(path: &Path, features: &Map<String, Value>) -> Result<Self> {
        let malformed = |expected: &str, got: String| StoreError::Malformed {
            path: path.to_owned(),
            expected: expected.to_owned(),
            got,
        };
        let mut found: Option<Self> = None;
        let mut tokens = None;
        for (name, feature) in features {
            let kind = feature.get("_type").and_then(Value::as_str).unwrap_or_default();
            let text = |key: &str| feature.pointer(key).and_then(Value::as_str);
            match kind {
                "Array2D" => {
                    let one = Self {
                        sites: vec![name.parse()?],
                        context: size(feature, "/shape/0", MAX_CONTEXT),
                        d_model: size(feature, "/shape/1", MAX_D_MODEL),
                        dtype: match text("/dtype") {
                            Some("float32") => Dtype::F32,
                            Some("float16") => Dtype::F16,
                            other => {
                                let got = format!("{} of {name}", other.unwrap_or("none"));
                                return Err(malformed("float32 or float16", got));
                            }
                        },
                    };
                    if one.context == 0 || one.d_model == 0 {
                        return Err(malformed("a shape [context, d_in]", feature["shape"].to_string()));
                    }
                    match &mut found {
                        None => found = Some(one),
                        Some(first) if first.same_shape(&one) => first.sites.extend(one.sites),
                        Some(_) => return Err(malformed("one shape and type for all sites", feature.to_string())),
                    }
                }
                // `datasets` before version 4 calls it `Sequence`.
                "List" | "Sequence" if name == TOKEN_IDS && text("/feature/dtype") == Some("int32") => {
                    // -1 allows any length.
                    tokens = Some(feature.get("length").and_then(Value::as_i64).unwrap_or(-1));
                }
                _ => {
                    let got = format!("{name}: {feature}");
                    return Err(malformed("columns of Array2D, and token_ids of int32, as SAELens writes them", got));
                }
            }
        }
        let found = found.ok_or_else(|| malformed("a column of activations, an Array2D", "none".to_owned()))?;
        match tokens {
            Some(length) if length == -1 || usize::try_from(length) == Ok(found.context) => Ok(found),
            Some(length) => Err(malformed(&format!("{} token_ids a row", found.context), length.to_string())),
            None => {
                let advice = "a column token_ids, without which the tokens of the activations are unknown";
                Err(malformed(advice, "none: an old version of SAELens wrote it".to_owned()))
            }
        }
    }

    fn same_shape(&self, other: &Self) -> bool {
        (self.context, self.d_model, self.dtype) == (other.context, other.d_model, other.dtype)
    }

    /// The Arrow type of an element.
    fn element(&self) -> DataType {
        if self.dtype == Dtype::F16 { DataType::Float16 } else { DataType::Float32 }
    }

    /// The schema of the Arrow files.
    pub(super) fn schema(&self) -> Schema {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let rows = DataType::List(item(DataType::List(item(self.element()))));
        let shape = format!("[[{}, {}], \"{}\"]", self.context, self.d_model, dtype_name(self.dtype));
        let metadata: HashMap<String, String> =
            [("ARROW:extension:name".to_owned(), EXTENSION.to_owned()), ("ARROW:extension:metadata".to_owned(), shape)]
                .into();
        let sites = self.sites.iter();
        let mut fields: Vec<Field> =
            sites.map(|site| Field::new(site.as_str(), rows.clone(), true).with_metadata(metadata.clone())).collect();
        let context = i32::try_from(self.context).unwrap_or(i32::MAX);
        fields.push(Field::new(TOKEN_IDS, DataType::FixedSizeList(item(DataType::Int32), context), true));
        let about = json!({"info": {"features": self.to_json()}}).to_string();
        Schema::new_with_metadata(fields, [("huggingface".to_owned(), about)])
    }

    /// Whether a file with this schema has exactly these columns.
    pub(super) fn fit(&self, schema: &Schema) -> bool {
        let nested = |data_type: &DataType| match data_type {
            DataType::List(outer) => match outer.data_type() {
                DataType::List(inner) => *inner.data_type() == self.element(),
                _ => false,
            },
            _ => false,
        };
        let ids = |data_type: &DataType| match data_type {
            DataType::List(item) => *item.data_type() == DataType::Int32,
            DataType::FixedSizeList(item, length) => {
                *item.data_type() == DataType::Int32 && usize::try_from(*length) == Ok(self.context)
            }
            _ => false,
        };
        schema.fields().len() == self.sites.len() + 1
            && schema.field_with_name(TOKEN_IDS).is_ok_and(|field| ids(field.data_type()))
            && self
                .sites
                .iter()
                .all(|site| schema.field_with_name(site.as_str()).is_ok_and(|field| nested(field.data_type())))
    }
}

/// A size in a feature's JSON. Returns 0 if it is missing or too large.
fn size(feature: &Value, pointer: &str, most: usize) -> usize {
    let value = feature.pointer(pointer).and_then(Value::as_u64);
    value.and_then(|value| usize::try_from(value).ok()).filter(|value| *value <= most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Features {
        Features { sites: vec!["blocks.0.hook_resid_pre".parse().unwrap()], context: 4, d_model: 3, dtype: Dtype::F16 }
    }

    fn read(features: &Value) -> Result<Features> {
        Features::from_json(Path::new("dataset_info.json"), features.as_object().unwrap())
    }

    #[test]
    fn features_come_back_and_fit_their_schema() {
        let features = features();
        assert_eq!(read(&features.to_json()).unwrap(), features);
        assert!(features.fit(&features.schema()));
        for other in [
            Features { context: 5, ..features.clone() },
            Features { dtype: Dtype::F32, ..features.clone() },
            Features { sites: vec!["blocks.1.hook_resid_pre".parse().unwrap()], ..features.clone() },
        ] {
            assert!(!other.fit(&features.schema()), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_cache_of_activations_is_refused() {
        let array = json!({"shape": [4, 3], "dtype": "float32", "_type": "Array2D"});
        let ids = json!({"feature": {"dtype": "int32", "_type": "Value"}, "length": 4, "_type": "Sequence"});
        assert!(read(&json!({"a": array, "token_ids": ids})).is_ok());
        for (features, expected) in [
            (json!({"token_ids": ids}), "a column of activations"),
            (json!({"a": array}), "an old version of SAELens"),
            (json!({"../a": array, "token_ids": ids}), "site name"),
            (
                json!({"a": array, "token_ids": {"feature": {"dtype": "int32"}, "length": 5, "_type": "List"}}),
                "4 token_ids",
            ),
            (json!({"a": {"shape": [4, -3], "dtype": "float32", "_type": "Array2D"}, "token_ids": ids}), "a shape"),
            (
                json!({"a": {"shape": [4, 3], "dtype": "int8", "_type": "Array2D"}, "token_ids": ids}),
                "float32 or float16",
            ),
            (
                json!({"a": array, "b": {"shape": [4, 2], "dtype": "float32", "_type": "Array2D"}, "token_ids": ids}),
                "one shape",
            ),
            (json!({"a": array, "token_ids": ids, "text": {"dtype": "string", "_type": "Value"}}), "text"),
        ] {
            let error = read(&features).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected} is not in {error}");
        }
    }
}
