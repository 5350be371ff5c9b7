//! Validated names from manifests, arguments and servers, safe to use in paths and URLs.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// A Hub repository: `owner/name`, or a legacy `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoId(String);

/// A revision: a branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

/// A commit: 40 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(String);

/// A file of a repository: plain names joined by `/`. It cannot leave its folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

/// Limits on the length of a name and of its parts; file systems have similar limits.
const LONGEST_NAME: usize = 1024;
const LONGEST_PART: usize = 255;

/// Leaves room for characters added to a name while its file or folder is filled.
const LONGEST_PLAIN: usize = 200;

fn is_plain(text: &str) -> bool {
    let character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= LONGEST_PLAIN && text.chars().all(character) && !text.starts_with('.')
}

impl TryFrom<String> for RepoId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split('/').count();
        if parts <= 2 && text.split('/').all(|part| is_plain(part) && !part.contains("..")) {
            return Ok(Self(text));
        }
        Err(format!("expected a repository of the Hub, such as \"mistralai/Mistral-7B-v0.1\", got {text:?}"))
    }
}

impl TryFrom<String> for Revision {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() <= LONGEST_PLAIN && text.split('/').all(is_plain) && !text.contains("..") {
            return Ok(Self(text));
        }
        Err(format!("expected a commit of 40 hexadecimal digits, a branch or a tag, got {text:?}"))
    }
}

impl TryFrom<String> for Commit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_hexadecimal(&text, 40) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!("expected a commit of 40 hexadecimal digits, got {text:?}"))
    }
}

impl TryFrom<String> for FileName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.len() <= LONGEST_PART
                // A backslash is a separator on other systems, and control characters would be printed.
                && !part.contains(|c: char| c.is_control() || c == '\\')
        };
        if text.len() <= LONGEST_NAME && text.split('/').all(part) {
            return Ok(Self(text));
        }
        Err(format!("expected a relative path of plain names, got {text:?}"))
    }
}

/// Returns whether a text is this number of hexadecimal digits.
pub(crate) fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Revision {
    /// Returns the default branch.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Returns the commit, if the revision is one and not a name that may move.
    pub fn commit(&self) -> Option<Commit> {
        Commit::try_from(self.0.clone()).ok()
    }
}

/// Characters that are not escaped in a URL path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

impl FileName {
    /// Returns the name, escaped for a URL path.
    pub(crate) fn in_address(&self) -> String {
        utf8_percent_encode(&self.0, IN_PATH).to_string()
    }

    /// Returns the path within a folder.
    pub fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// Returns the name relative to a folder of the repository; `None` if it is outside.
    pub fn seen_from(&self, folder: Option<&Self>) -> Option<Self> {
        let Some(Self(folder)) = folder else { return Some(self.clone()) };
        self.0.strip_prefix(folder.as_str())?.strip_prefix('/').map(|below| Self(below.to_owned()))
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )*};
}

text!(RepoId, Revision, Commit, FileName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_that_would_leave_their_folder_are_refused() {
        for hostile in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            &"a".repeat(256),
            &"a/".repeat(600),
        ] {
            assert!(FileName::try_from(hostile.to_owned()).is_err(), "{hostile:?}");
        }
        for good in ["config.json", "data/train-00000-of-00001.parquet", "..a", "a b#?.txt", "é/ü", ".gitattributes"]
        {
            assert_eq!(FileName::try_from(good.to_owned()).unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_are_escaped_in_addresses() {
        let name = FileName::try_from("data/a b#?%é.txt".to_owned()).unwrap();
        assert_eq!(name.in_address(), "data/a%20b%23%3F%25%C3%A9.txt");
    }

    #[test]
    fn a_name_is_seen_from_its_folder_only() {
        let name = FileName::try_from("layer/9/cfg.json".to_owned()).unwrap();
        let seen = |folder: &str| name.seen_from(Some(&FileName::try_from(folder.to_owned()).unwrap()));
        assert_eq!(seen("layer/9").unwrap().as_str(), "cfg.json");
        assert_eq!(seen("layer/91"), None);
        assert_eq!(name.seen_from(None), Some(name.clone()));
    }

    #[test]
    fn repositories_and_revisions_are_plain() {
        for hostile in ["", "a/b/c", "../a", "a/..", "a b/c", "a/b?x", "https://h/a", "/a", "a/"] {
            assert!(RepoId::try_from(hostile.to_owned()).is_err(), "{hostile}");
        }
        for hostile in ["", "../x", "a b", "a?b", "refs/../x", "/a"] {
            assert!(Revision::try_from(hostile.to_owned()).is_err(), "{hostile}");
        }
        for good in ["main", "refs/pr/3", "v1.0", &"a".repeat(40)] {
            assert!(Revision::try_from(good.to_owned()).is_ok(), "{good}");
        }
        assert_eq!(Revision::main().commit(), None);
        assert!(Revision::try_from("AB".repeat(20)).unwrap().commit().is_some());
    }
}
