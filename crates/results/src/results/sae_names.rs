//! Names of SAEs: the shortest unique ends of their paths, in characters that suit files and tables.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Returns a unique name for each folder: the last part of its path, or as many of the last parts as make it unique,
/// joined by `__`. A folder that is given more than once gets a number.
pub fn unique_names(folders: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> = folders.iter().map(|folder| parts_of(folder)).collect();
    let mut depths = vec![1; folders.len()];
    loop {
        let names: Vec<String> = parts.iter().zip(&depths).map(|(parts, &depth)| last(parts, depth)).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &names {
            *counts.entry(name).or_default() += 1;
        }
        let mut deeper = false;
        for ((name, parts), depth) in names.iter().zip(&parts).zip(&mut depths) {
            if counts[name.as_str()] > 1 && *depth < parts.len() {
                *depth += 1;
                deeper = true;
            }
        }
        if !deeper {
            return number_repeats(&names, &counts);
        }
    }
}

fn number_repeats(names: &[String], counts: &BTreeMap<&str, usize>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let mut candidate = name.clone();
        let mut number = 1;
        while unique.contains(&candidate) || (number > 1 && counts.contains_key(candidate.as_str())) {
            number += 1;
            candidate = format!("{name}-{number}");
        }
        unique.push(candidate);
    }
    unique
}

/// Returns the parts of a path, in plain characters. In the Hugging Face cache, the folder
/// `models--OWNER--NAME/snapshots/COMMIT` has the parts `OWNER` and `NAME`.
fn parts_of(folder: &Path) -> Vec<String> {
    let parts = real(folder).unwrap_or_else(|| folder.to_path_buf());
    let parts = parts.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    let parts: Vec<String> = parts.collect();
    let repository = parts.windows(2).position(|pair| pair[0].starts_with("models--") && pair[1] == "snapshots");
    let parts = match repository {
        Some(place) => {
            parts[place].split("--").skip(1).chain(parts[place..].iter().skip(3).map(String::as_str)).collect()
        }
        None => parts.iter().map(String::as_str).collect::<Vec<_>>(),
    };
    let plain = |part: &str| part.chars().map(plain).collect();
    if parts.is_empty() { vec!["sae".to_owned()] } else { parts.into_iter().map(plain).collect() }
}

/// Returns a path without links in its folders, if it exists. A file may be a link to one with another name.
fn real(path: &Path) -> Option<PathBuf> {
    let canonical = path.canonicalize().ok()?;
    if canonical.is_dir() {
        return Some(canonical);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(parent.canonicalize().ok()?.join(path.file_name()?))
}

fn plain(character: char) -> char {
    if is_plain(character) { character } else { '_' }
}

/// Whether a name may contain the character unchanged.
pub fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || "-_.".contains(character)
}

fn last(parts: &[String], depth: usize) -> String {
    parts[parts.len() - depth..].join("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folders: &[&str]) -> Vec<String> {
        unique_names(&folders.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_part_is_enough_where_it_is_unique() {
        assert_eq!(names(&["a/standard", "b/jumprelu/"]), ["standard", "jumprelu"]);
    }

    #[test]
    fn equal_last_parts_take_more_of_their_paths() {
        assert_eq!(names(&["a/x/layer 3", "b/x/layer 3", "c"]), ["a__x__layer_3", "b__x__layer_3", "c"]);
        assert_eq!(names(&["x", "a/x"]), ["x", "a__x"]);
    }

    #[test]
    fn saes_in_the_hubs_cache_have_the_names_of_their_repositories() {
        let home = tempfile::tempdir().unwrap();
        let repo = home.path().join("models--Qwen--SAE-Res/snapshots/0123");
        std::fs::create_dir_all(&repo).unwrap();
        std::fs::write(home.path().join("ab12"), "").unwrap();
        std::os::unix::fs::symlink("../../../ab12", repo.join("layer0.sae.pt")).unwrap();
        assert_eq!(unique_names(&[repo.join("layer0.sae.pt")]), ["layer0.sae.pt"]);
        assert_eq!(unique_names(std::slice::from_ref(&repo)), ["SAE-Res"]);
        assert_eq!(names(&["a/models--o--n/snapshots/0/x", "b/x"]), ["n__x", "b__x"]);
    }

    #[test]
    fn the_same_folder_twice_is_numbered() {
        assert_eq!(names(&["a/x", "a/x", "a/x"]), ["a__x", "a__x-2", "a__x-3"]);
        assert_eq!(names(&["/"]), ["sae"]);
        assert_eq!(names(&["x", "x", "x-2"]), ["x", "x-3", "x-2"]);
    }
}
