//! The flat part of a YAML file: `key: value` lines at the left margin.

use std::collections::BTreeMap;

use super::source::Source;
use crate::error::SaeError;

/// Returns the scalars at the top level, as texts without their quotes. Lists and mappings below a key are passed over.
/// What is neither is an error, as are anchors, tags and texts of several lines.
pub(super) fn scalars(source: &Source<'_>, bytes: &[u8]) -> Result<BTreeMap<String, String>, SaeError> {
    let refuse = |line: usize, problem: &str| source.problem(format!("{problem} in line {}", line + 1));
    let text = std::str::from_utf8(bytes).map_err(|error| source.problem(error))?;
    let mut scalars = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let is_inner = line.starts_with([' ', '\t', '-']) && line != "---";
        if line.is_empty() || line == "---" || line.starts_with('#') || is_inner {
            continue;
        }
        let Some((key, value)) = line.split_once(':') else { return Err(refuse(number, "no key")) };
        let value = value.split(" #").next().unwrap_or_default().trim();
        if value.starts_with(['&', '*', '!', '|', '>', '{', '%', '@', '`']) {
            return Err(refuse(number, "a value that is no plain text"));
        }
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        if !value.is_empty() && !value.starts_with('[') {
            scalars.insert(key.trim().to_owned(), value.to_owned());
        }
    }
    Ok(scalars)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, SaeError> {
        scalars(&Source { path: Path::new("config.yaml") }, text.as_bytes())
    }

    #[test]
    fn scalars_of_the_top_level_are_read() {
        let read =
            read("# of a set\nmodel_name: \"a/b\"\nkind: 'c' # d\ntranscoders:\n- \"hf://x: y\"\nk: 128\nscan: [a]\n")
                .unwrap();
        let pairs: Vec<(&str, &str)> = read.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("k", "128"), ("kind", "c"), ("model_name", "a/b")]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_line() {
        for text in ["a: b\nmodel", "a: b\nc: |\n  d", "a: b\nc: !!x d"] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{text}: {message}");
        }
    }
}
