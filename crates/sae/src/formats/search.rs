//! SAEs below folders and behind patterns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::{FORMATS, SaeFormat, WeightFiles};
use crate::error::SaeError;

/// Deepest level of folders that is searched below the one given; Gemma Scope has three.
const DEEPEST: usize = 8;

/// Returns the SAEs that paths name, in the order of the paths, and below each in the order of names.
///
/// A path is an SAE (its folder or its one file), a folder that holds SAEs at any depth, or a pattern of paths, in which
/// `*`, `?` and `[...]` have their meaning of a shell. A folder that is itself an SAE is not searched, nor are folders
/// whose names begin with a dot. Where several SAEs share a folder, each of its weight files is one. A pattern that matches no SAE is an error; a path that is no SAE is returned, so that
/// opening it says what is missing. Logs how many SAEs a folder or a pattern gives.
pub fn find_saes<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Vec<PathBuf>, SaeError> {
    let mut found = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let own = if is_pattern(path) { matching(path)? } else { below(path) };
        if own.first().is_some_and(|first| first != path) {
            let saes = if own.len() == 1 { "SAE" } else { "SAEs" };
            tracing::info!("{} {saes} in {}", own.len(), path.display());
        }
        found.extend(if own.is_empty() { vec![path.to_path_buf()] } else { own });
    }
    Ok(found)
}

/// Whether a path is a pattern. A file of such a name is taken as it is.
pub fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.contains(['*', '?', '['])) && !path.exists()
}

fn matching(pattern: &Path) -> Result<Vec<PathBuf>, SaeError> {
    let refuse = |problem: String| SaeError::Pattern { pattern: pattern.to_path_buf(), problem };
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let paths = glob::glob_with(&pattern.to_string_lossy(), options).map_err(|error| refuse(error.to_string()))?;
    let mut found = Vec::new();
    let mut matches = 0;
    for path in paths {
        let path = path.map_err(|error| refuse(error.to_string()))?;
        matches += 1;
        if path.is_dir() {
            found.extend(below(&path));
        } else if is_sae_file(&path) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(refuse(format!("{matches} paths match, and no SAE is among them or below them")));
    }
    Ok(found)
}

/// Whether a file is the weights of an SAE of some format.
fn is_sae_file(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    FORMATS.iter().any(|format| match format.weights {
        WeightFiles::Named { name: own, .. } if own == name => true,
        weights => weights.is_whole(&Folder::Local(folder), name),
    })
}

/// The folder itself if it is an SAE, or else the SAEs below it. None for a file.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    search(folder, DEEPEST, &mut BTreeSet::new(), &mut found);
    found
}

/// `seen` has the folders that were searched, which a link may lead to again.
fn search(folder: &Path, levels: usize, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) {
    let Ok(real) = folder.canonicalize() else { return };
    if !real.is_dir() || !seen.insert(real) {
        return;
    }
    let own = SaeFormat::saes_in(folder);
    if !own.is_empty() {
        found.extend(own);
        return;
    }
    // A folder that cannot be read holds no SAE that could be opened.
    let Some(levels) = levels.checked_sub(1) else { return };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let is_shown = |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
    let mut inner: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_shown).collect();
    inner.sort();
    for path in inner {
        search(&path, levels, seen, found);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn saes(root: &Path, folders: &[&str]) {
        for folder in folders {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("params.npz"), "").unwrap();
        }
    }

    #[test]
    fn folders_and_patterns_are_searched_in_the_order_of_names() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        saes(root, &["layer_1/b", "layer_1/a", "layer_2/a", ".cache/a", "layer_1/a/checkpoint"]);
        fs::write(root.join("README.md"), "").unwrap();
        let names = |path: &Path| -> Vec<String> {
            let found = find_saes([path]).unwrap();
            found.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        let all = ["layer_1/a", "layer_1/b", "layer_2/a"];
        assert_eq!(names(root), all);
        assert_eq!(names(&root.join("*")), all);
        assert_eq!(names(&root.join("layer_*/a")), ["layer_1/a", "layer_2/a"]);
        assert_eq!(names(&root.join("layer_1/a")), ["layer_1/a"]);
        assert_eq!(names(&root.join("layer_[2]/a/*.npz")), ["layer_2/a/params.npz"]);
        assert_eq!(names(&root.join("none")), ["none"], "opening it says what is missing");
    }

    #[test]
    fn a_pattern_without_an_sae_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("README.md"), "").unwrap();
        for (pattern, words) in [("*", "1 paths match"), ("none*", "0 paths match"), ("[a", "")] {
            let message = find_saes([root.path().join(pattern)]).unwrap_err().to_string();
            assert!(message.contains(pattern) && message.contains(words), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        saes(root.path(), &["a"]);
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        assert_eq!(find_saes([root.path()]).unwrap(), [root.path().join("a")]);
    }
}
