//! Parses the paths and locations that programs take as arguments.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Result, StoreError};
use crate::remote::location::Location;

/// Where a cache is: a local folder or a remote location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path of a folder.
    Local(PathBuf),
    /// A bucket, a web server, or a folder given as a location.
    Remote(Location),
}

impl Place {
    /// Parses `path` as a place.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a malformed location.
    pub fn of(path: &Path) -> Result<Self> {
        Ok(Location::of_place(path)?.map_or_else(|| Self::Local(path.to_owned()), Self::Remote))
    }

    /// Returns the place as a path, for the settings of programs.
    pub fn into_path(self) -> PathBuf {
        match self {
            Self::Local(path) => path,
            Self::Remote(location) => location.to_string().into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(formatter),
            Self::Remote(location) => location.fmt(formatter),
        }
    }
}

/// A local file or folder. Its path may be given as `file://`; other locations are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath(PathBuf);

impl LocalPath {
    pub(super) fn of(path: &Path) -> Result<Self> {
        match Place::of(path)? {
            Place::Local(path) => Ok(Self(path)),
            Place::Remote(location) => location.folder().map(Self).ok_or_else(|| {
                let expected = format!(
                    "a path of this machine (`store pull {location} DIR` brings a cache here first, and `store push DIR {location}` puts one there afterwards)"
                );
                StoreError::invalid("path", expected, location)
            }),
        }
    }
}

impl Deref for LocalPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for LocalPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl From<LocalPath> for PathBuf {
    fn from(path: LocalPath) -> Self {
        path.0
    }
}

impl FromStr for LocalPath {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        Self::of(Path::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_location() {
        assert_eq!(Place::of(Path::new("caches/a")).unwrap(), Place::Local("caches/a".into()));
        let remote = Place::of(Path::new("s3://farm/a/")).unwrap();
        assert_eq!((remote.to_string(), remote.into_path()), ("s3://farm/a".to_owned(), "s3://farm/a".into()));
        assert!(Place::of(Path::new("ftp://farm/a")).is_err());
    }

    #[test]
    fn a_path_of_this_machine_is_no_location_elsewhere() {
        assert_eq!(&*"caches/a".parse::<LocalPath>().unwrap(), Path::new("caches/a"));
        assert_eq!(&*"file:///a%20b/c".parse::<LocalPath>().unwrap(), Path::new("/a b/c"));
        for text in ["s3://farm/a", "https://hay.example/a", "ftp://farm/a", "s3://farm:1/a"] {
            assert!(text.parse::<LocalPath>().is_err(), "{text}");
        }
        let error = "gs://farm/a".parse::<LocalPath>().unwrap_err().to_string();
        assert!(error.contains("store pull gs://farm/a DIR"), "{error}");
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        let argument = clap::Arg::new("out").long("out").value_parser(clap::value_parser!(LocalPath));
        let command = clap::Command::new("program").arg(argument);
        for value in ["s3://user:hunter2@farm/a", "s3://farm/a?sig=hunter2"] {
            let error = command.clone().try_get_matches_from(["program", "--out", value]).unwrap_err().to_string();
            assert!(error.contains("--out <out>: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
