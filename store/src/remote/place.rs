//! Parses the paths and locations that programs take as arguments.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::error::ErrorKind;

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
    fn of(path: &Path) -> Result<Self> {
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

/// A value parser that, unlike clap's, does not repeat a refused argument: it may contain a password.
#[derive(Clone)]
pub struct PlaceParser<T>(fn(&Path) -> Result<T>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for PlaceParser<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let name = argument.map(ToString::to_string).unwrap_or_default();
        if value.is_empty() {
            let words = format!("a value is required for '{name}' but none was supplied\n");
            return Err(clap::Error::raw(ErrorKind::InvalidValue, words).with_cmd(command));
        }
        (self.0)(Path::new(value)).map_err(|error| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{name}: {error}\n")).with_cmd(command)
        })
    }
}

impl ValueParserFactory for Place {
    type Parser = PlaceParser<Self>;

    fn value_parser() -> Self::Parser {
        PlaceParser(Self::of)
    }
}

impl ValueParserFactory for LocalPath {
    type Parser = PlaceParser<Self>;

    fn value_parser() -> Self::Parser {
        PlaceParser(Self::of)
    }
}

impl ValueParserFactory for Location {
    type Parser = PlaceParser<Self>;

    fn value_parser() -> Self::Parser {
        PlaceParser(|path| path.to_str().unwrap_or_default().parse())
    }
}

/// Panics if an argument of a command or subcommand takes a path without these parsers.
#[doc(hidden)]
pub fn check_arguments(command: &clap::Command) {
    let bare = [clap::builder::ValueParser::path_buf().type_id(), clap::builder::ValueParser::os_string().type_id()];
    for argument in command.get_arguments() {
        let name = argument.get_id();
        let is_bare = bare.contains(&argument.get_value_parser().type_id());
        assert!(!is_bare, "{} takes {name} as it comes: make it a LocalPath or a Place", command.get_name());
    }
    command.get_subcommands().for_each(check_arguments);
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
