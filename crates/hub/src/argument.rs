//! Ids on a command line: `OWNER/NAME[/PATH][@REVISION]`.

use crate::identifiers::{FileName, RepoId, Revision};
use crate::repository::{NamedIn, RepoKind, Repository};

/// A model repository of the Hub, or a folder or file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFolder {
    /// The repository.
    pub repository: Repository,
    /// The folder or file; `None` for the root.
    pub path: Option<FileName>,
}

/// Returns whether an argument can only be a path: `/x`, `./x`, `../x`, `~/x`, `x/`.
pub fn is_path(argument: &str) -> bool {
    let starts = ["/", "./", "../", "~"].iter().any(|start| argument.starts_with(start));
    starts || matches!(argument, "" | "." | "..") || argument.ends_with('/') || argument.contains(['\\', ':'])
}

impl HubFolder {
    /// Parses `OWNER/NAME`, `OWNER/NAME/PATH` or a legacy `NAME`, each with `@REVISION` if a branch, a tag or a commit
    /// other than `main` is meant.
    ///
    /// # Errors
    /// A message that says what was expected.
    pub fn parse(argument: &str) -> Result<Self, String> {
        let (id, revision) = match argument.split_once('@') {
            Some((id, revision)) => (id, Revision::try_from(revision.to_owned())?),
            None => (argument, Revision::main()),
        };
        let mut parts = id.splitn(3, '/');
        let name: Vec<&str> = parts.by_ref().take(2).collect();
        let id = RepoId::try_from(name.join("/"))?;
        let path = parts.next().map(|path| FileName::try_from(path.to_owned())).transpose()?;
        Ok(Self { repository: Repository { kind: RepoKind::Model, id, revision, named_in: NamedIn::Argument }, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_path_and_a_revision() {
        let read = |text: &str| {
            let HubFolder { repository, path } = HubFolder::parse(text).unwrap();
            (repository.id.to_string(), path.map(String::from), repository.revision.to_string())
        };
        let of = |id: &str, path: Option<&str>, revision: &str| {
            (id.to_owned(), path.map(str::to_owned), revision.to_owned())
        };
        assert_eq!(read("google/gemma-2-2b"), of("google/gemma-2-2b", None, "main"));
        assert_eq!(read("gpt2@refs/pr/3"), of("gpt2", None, "refs/pr/3"));
        assert_eq!(read("g/s/layer_20/a b.npz@v1"), of("g/s", Some("layer_20/a b.npz"), "v1"));
        for wrong in ["", "a b/c", "o/m@", "o/m@../x", "o/m/../x", "o/m@a@b", "../m"] {
            assert!(HubFolder::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_are_no_ids() {
        for path in ["/x", "./x", "../x/y", "~/x", "x/", ".", "C:\\x", "a\\b"] {
            assert!(is_path(path), "{path}");
        }
        assert!(!is_path("google/gemma-2-2b@main") && !is_path("gpt2"));
    }
}
