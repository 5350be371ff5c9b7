//! Finds the data files that a path of the data manifest names: one file, those of a pattern, or those of a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hayloft_hub::Sha256;
use serde::Deserialize;

use super::{DataError, DataFile, FileKind};

/// Limit on the depth of folders, in case one links to a parent.
const MOST_DEPTH: usize = 8;

/// Files beside the data in repositories of the Hub and in folders that programs save datasets to.
const NO_DATA: [&str; 5] =
    ["dataset_infos.json", "dataset_info.json", "state.json", "fetched.json", "dataset_dict.json"];

/// The name of the split that is taken of a folder, and the names of others.
const TRAIN: &str = "train";
const OTHER_SPLITS: [&str; 6] = ["test", "testing", "valid", "validation", "dev", "eval"];

/// Returns the files of a path, relative to `root`, in the order of their names; `None` if a file's name tells no kind.
///
/// A path with `*`, `?` or `[…]` that is no file is a pattern. Of a folder, those of the split `train` are taken, as in
/// the layout of datasets on the Hugging Face Hub, or else all.
pub(super) fn data_files(root: &Path, named: &str, sha256: Option<Sha256>) -> Result<Option<Vec<DataFile>>, DataError> {
    let path = root.join(named);
    let found = if path.is_dir() {
        of_folder(&path)?
    } else if named.contains(['*', '?', '[']) && !path.is_file() {
        of_pattern(&path)?
    } else {
        let file = |kind| DataFile { named: named.to_owned(), path: path.clone(), kind, sha256 };
        let kind = FileKind::of(&path);
        if kind.is_none() && path.extension().is_none() {
            path.metadata().map_err(|cause| DataError::file(&path, "find", cause))?;
        }
        return Ok(kind.map(|kind| vec![file(kind)]));
    };
    if let (Some(_), [_, _, ..]) = (&sha256, found.as_slice()) {
        let expected = "no sha256 beside a path of several files".to_owned();
        return Err(DataError::Files { path, expected, got: format!("{} files", found.len()) });
    }
    let files = found.into_iter().map(|(file, kind)| {
        let named = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        DataFile { named, path: file, kind, sha256: sha256.clone() }
    });
    Ok(Some(files.collect()))
}

type Found = (PathBuf, FileKind);

fn of_pattern(pattern: &Path) -> Result<Vec<Found>, DataError> {
    let wrong = |got: String| DataError::Files {
        path: pattern.to_owned(),
        expected: format!("a pattern of files that end in {}", FileKind::ENDINGS),
        got,
    };
    let text = pattern.to_str().ok_or_else(|| wrong("a path that is not UTF-8".to_owned()))?;
    let options =
        glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..Default::default() };
    let mut files = BTreeSet::new();
    for file in glob::glob_with(text, options).map_err(|error| wrong(error.to_string()))? {
        let file =
            file.map_err(|error| DataError::file(error.path(), "list", std::io::Error::from(error.error().kind())))?;
        if file.is_file() {
            files.insert(file);
        }
    }
    if files.is_empty() {
        return Err(wrong("no file".to_owned()));
    }
    let kind = |file: PathBuf| match FileKind::of(&file) {
        Some(kind) => Ok((file, kind)),
        None => Err(wrong(format!("{} too", file.display()))),
    };
    files.into_iter().map(kind).collect()
}

fn of_folder(folder: &Path) -> Result<Vec<Found>, DataError> {
    let mut found = Vec::new();
    list(folder, 0, &mut found)?;
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let wrong = |expected: String, got: String| DataError::Files { path: folder.to_owned(), expected, got };
    let splits = |(file, _): &Found| words(file.strip_prefix(folder).unwrap_or(file));
    if found.iter().any(|file| splits(file).contains(TRAIN)) {
        let all = found.len();
        found.retain(|file| splits(file).contains(TRAIN));
        if found.len() < all {
            tracing::info!(
                "{}: {} of {all} files are taken, those of the split {TRAIN}",
                folder.display(),
                found.len()
            );
        }
    } else if let Some((file, _)) =
        found.iter().find(|file| OTHER_SPLITS.iter().any(|split| splits(file).contains(*split)))
    {
        let expected = format!("files of the split {TRAIN}, or of none. Name files of another split by a pattern");
        return Err(wrong(expected, file.display().to_string()));
    }
    let Some((_, kind)) = found.first() else {
        let expected = format!("a folder with files that end in {}", FileKind::ENDINGS);
        return Err(wrong(expected, "none".to_owned()));
    };
    let folders: BTreeSet<String> =
        found.iter().filter_map(|(file, _)| file.parent()).map(|parent| parent.display().to_string()).collect();
    if folders.len() > 1 {
        let expected = "files in one folder. Name one of them, or files by a pattern".to_owned();
        return Err(wrong(expected, folders.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if let Some((other, _)) = found.iter().find(|(_, other)| other != kind) {
        let expected = "files of one kind. Name files by a pattern".to_owned();
        return Err(wrong(expected, format!("{} and {}", found[0].0.display(), other.display())));
    }
    if let (FileKind::Arrow, Some(saved)) = (kind, found[0].0.parent()) {
        check_saved(saved, &found)?;
    }
    Ok(found)
}

/// Checks a folder of Arrow files against the `state.json` that `save_to_disk` of the `datasets` library writes beside them.
fn check_saved(folder: &Path, found: &[Found]) -> Result<(), DataError> {
    #[derive(Deserialize)]
    struct State {
        #[serde(rename = "_data_files")]
        data: Vec<Named>,
        #[serde(default, rename = "_indices_data_files")]
        indices: Option<Vec<Named>>,
    }
    #[derive(Deserialize)]
    struct Named {
        filename: String,
    }
    let path = folder.join("state.json");
    if !path.is_file() {
        return Ok(());
    }
    let text = std::fs::read(&path).map_err(|cause| DataError::file(&path, "read", cause))?;
    let wrong =
        |expected: &str, got: String| DataError::Files { path: path.clone(), expected: expected.to_owned(), got };
    let expected = "the state of a dataset, as save_to_disk of the datasets library writes it";
    let state: State = serde_json::from_slice(&text).map_err(|error| wrong(expected, error.to_string()))?;
    if state.indices.is_some_and(|indices| !indices.is_empty()) {
        let expected = "rows in the order of the files. Save the dataset after flatten_indices()";
        return Err(wrong(expected, "a list of indices".to_owned()));
    }
    let named: BTreeSet<String> = state.data.into_iter().map(|file| file.filename).collect();
    let got: BTreeSet<String> =
        found.iter().filter_map(|(file, _)| Some(file.file_name()?.to_string_lossy().into_owned())).collect();
    if named != got {
        let list = |files: &BTreeSet<String>| files.iter().cloned().collect::<Vec<_>>().join(", ");
        return Err(wrong(&format!("the files {}", list(&named)), list(&got)));
    }
    Ok(())
}

/// Adds the data files of a folder and of those in it. Hidden ones are passed over.
fn list(folder: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), DataError> {
    let error = |cause| DataError::file(folder, "list", cause);
    for entry in folder.read_dir().map_err(error)? {
        let path = entry.map_err(error)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // What `map` and the like leave in a folder that `datasets` saved.
        let is_cached = name.starts_with("cache-") && path.extension().is_some_and(|ending| ending == "arrow");
        if name.starts_with('.') || is_cached || NO_DATA.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            if depth < MOST_DEPTH {
                list(&path, depth + 1, found)?;
            }
        } else if let Some(kind) = FileKind::of(&path) {
            found.push((path, kind));
        }
    }
    Ok(())
}

/// Returns the words of a path: `data/train-00000-of-00002.parquet` has `train`.
fn words(path: &Path) -> BTreeSet<String> {
    let text = path.to_string_lossy().to_lowercase();
    text.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str], named: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = data_files(folder.path(), named, None).map_err(|error| error.to_string())?;
        Ok(found.expect("known kinds").into_iter().map(|file| file.named).collect())
    }

    const HUB: [&str; 6] = [
        "README.md",
        ".cache/x.parquet",
        "data/train-00001-of-00002-ab.parquet",
        "data/train-00000-of-00002-ab.parquet",
        "data/test-00000-of-00001-ab.parquet",
        "dataset_infos.json",
    ];

    #[test]
    fn patterns_and_folders_are_files_by_name() {
        let train = ["data/train-00000-of-00002-ab.parquet", "data/train-00001-of-00002-ab.parquet"];
        for named in ["data/train-*.parquet", "data", ".", "**/train-*"] {
            assert_eq!(
                names(&HUB, named).unwrap().iter().map(|it| it.trim_start_matches("./")).collect::<Vec<_>>(),
                train
            );
        }
        assert_eq!(names(&HUB, "data/test*").unwrap(), ["data/test-00000-of-00001-ab.parquet"]);
        assert_eq!(names(&["a/2.jsonl.gz", "a/1.jsonl.gz"], "a").unwrap(), ["a/1.jsonl.gz", "a/2.jsonl.gz"]);
        assert_eq!(names(&["a[1].jsonl"], "a[1].jsonl").unwrap(), ["a[1].jsonl"]);
    }

    #[test]
    fn what_is_no_one_dataset_is_refused() {
        for (files, named, words) in [
            (&["data/x.parquet"][..], "data/*.jsonl", "got no file"),
            (&["data/x.md"], "data", "none"),
            (&["data/x.md"], "data/*", "x.md too"),
            (&["a/train.jsonl", "b/train.jsonl"], ".", "files in one folder"),
            (&["a/x.jsonl", "a/y.parquet"], "a", "files of one kind"),
            (&["a/test.jsonl"], "a", "the split train"),
        ] {
            let message = names(files, named).unwrap_err();
            assert!(message.contains(words), "{named}: {message}");
        }
    }
}
