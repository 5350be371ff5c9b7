//! The identity of a model: what it computes, whatever files hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of the recipe, the first line of the hashed text.
const VERSION: &str = "hayloft model 1";

/// The identity of a model: the facts that its configuration resolves to, and the values of its tensors. Models with equal
/// identities compute the same function.
///
/// `hayloft-checkpoint` computes it from a folder. `FORMAT.md` of `hayloft-store` has the recipe, so that other programs can
/// compute it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// The facts that bear on the computation, by name. Where `config.json` has a key for a fact, the name is the key.
    pub facts: BTreeMap<String, String>,
    /// SHA-256 of the list of tensors, hexadecimal.
    pub tensors_sha256: String,
}

/// A fact, or the tensors, in which two models differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityDifference {
    /// The fact's name, or `tensors`.
    pub what: String,
    /// The value in the first model.
    pub expected: String,
    /// The value in the other model.
    pub got: String,
}

impl ModelIdentity {
    /// Digits of a digest in text for people.
    pub const SHORT: usize = 12;

    /// SHA-256 over facts and tensors, hexadecimal.
    pub fn sha256(&self) -> String {
        let mut text = format!("{VERSION}\n");
        for (name, value) in &self.facts {
            text.extend([name, " ", value, "\n"]);
        }
        text.extend(["tensors ", &self.tensors_sha256, "\n"]);
        sha256_hex(text.as_bytes())
    }

    /// The first digits of [`sha256`](Self::sha256), for people.
    pub fn short(&self) -> String {
        let mut digest = self.sha256();
        digest.truncate(Self::SHORT);
        digest
    }

    /// Everything in which the other model differs: facts by name, then the tensors.
    pub fn differences(&self, other: &Self) -> Vec<IdentityDifference> {
        let names: BTreeSet<&String> = self.facts.keys().chain(other.facts.keys()).collect();
        let value =
            |identity: &Self, name: &String| identity.facts.get(name).map_or("absent", String::as_str).to_owned();
        let mut differences: Vec<IdentityDifference> = names
            .into_iter()
            .filter(|name| self.facts.get(*name) != other.facts.get(*name))
            .map(|name| IdentityDifference { what: name.clone(), expected: value(self, name), got: value(other, name) })
            .collect();
        if self.tensors_sha256 != other.tensors_sha256 {
            differences.push(IdentityDifference {
                what: "tensors".to_owned(),
                expected: format!("SHA-256 {}", self.tensors_sha256),
                got: format!("SHA-256 {}", other.tensors_sha256),
            });
        }
        differences
    }

    /// The first difference, for an error. It says in `what` if the tensors differ besides a fact.
    pub fn difference(&self, other: &Self) -> Option<IdentityDifference> {
        let differences = self.differences(other);
        let tensors_too = differences.len() > 1 && self.tensors_sha256 != other.tensors_sha256;
        let mut first = differences.into_iter().next()?;
        if tensors_too {
            first.what.push_str(" (the tensors differ too)");
        }
        Some(first)
    }
}

/// SHA-256 of bytes, hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits in lower case, two each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string never fails.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(facts: &[(&str, &str)], tensors: &str) -> ModelIdentity {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ModelIdentity { facts, tensors_sha256: tensors.to_owned() }
    }

    #[test]
    fn a_difference_names_the_fact_and_tells_of_the_tensors() {
        let ours = identity(&[("dtype", "f32"), ("rope_theta", "10000")], "aa");
        assert_eq!(ours.difference(&ours), None);
        let other = identity(&[("dtype", "f32"), ("rope_theta", "500000")], "aa");
        let differs = ours.difference(&other).unwrap();
        assert_eq!(
            (differs.what.as_str(), differs.expected.as_str(), differs.got.as_str()),
            ("rope_theta", "10000", "500000")
        );
        let both = identity(&[("dtype", "f32")], "bb");
        let differs = ours.difference(&both).unwrap();
        assert_eq!((differs.what.as_str(), differs.got.as_str()), ("rope_theta (the tensors differ too)", "absent"));
        let tensors = identity(&[("dtype", "f32"), ("rope_theta", "10000")], "bb");
        assert_eq!(ours.difference(&tensors).unwrap().what, "tensors");
        let digests: BTreeSet<String> = [&ours, &other, &both, &tensors].map(ModelIdentity::sha256).into();
        assert_eq!(digests.len(), 4);
    }
}
