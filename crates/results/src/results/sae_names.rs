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

fn parts_of(folder: &Path) -> Vec<String> {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let parts = real.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().chars().map(plain).collect()),
        _ => None,
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { vec!["sae".to_owned()] } else { parts }
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
    fn the_same_folder_twice_is_numbered() {
        assert_eq!(names(&["a/x", "a/x", "a/x"]), ["a__x", "a__x-2", "a__x-3"]);
        assert_eq!(names(&["/"]), ["sae"]);
        assert_eq!(names(&["x", "x", "x-2"]), ["x", "x-3", "x-2"]);
    }
}
