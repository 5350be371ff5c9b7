//! The names of the files in a folder: of this machine, or of a repository of the Hub.

use std::path::Path;

use hayloft_runtime::file_names;

/// The names of the files in a folder. A format is detected from them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Folder<'own> {
    /// A folder of this machine.
    Local(&'own Path),
    /// A folder of a repository, `""` or ending with `/`, and the names of the repository's files.
    Published(&'own str, &'own [&'own str]),
}

impl Folder<'_> {
    /// Whether the folder has a file of this name, which may be in a folder below it.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Local(path) => path.join(name).exists(),
            Self::Published(folder, names) => names.iter().any(|known| known.strip_prefix(folder) == Some(name)),
        }
    }

    /// The names of the files that lie directly in the folder, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Local(path) => file_names(path),
            Self::Published(folder, names) => {
                let own = names.iter().filter_map(|name| name.strip_prefix(folder));
                let mut own: Vec<String> = own.filter(|name| !name.contains('/')).map(str::to_owned).collect();
                own.sort();
                own
            }
        }
    }
}
