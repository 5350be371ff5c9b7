//! Value parsers of paths and locations, for programs that use clap.

use std::ffi::OsStr;
use std::path::Path;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::error::ErrorKind;

use crate::error::Result;
use crate::remote::location::Location;
use crate::remote::place::{LocalPath, Place};

/// A value parser that, unlike clap's, does not repeat a refused argument: it may contain a password.
#[derive(Clone, Debug)]
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

/// Checks that each argument of a command and its subcommands that takes a path has one of these parsers. For tests.
///
/// # Panics
/// If one has not.
pub fn check_arguments(command: &clap::Command) {
    let bare = [clap::builder::ValueParser::path_buf().type_id(), clap::builder::ValueParser::os_string().type_id()];
    for argument in command.get_arguments() {
        let name = argument.get_id();
        let is_bare = bare.contains(&argument.get_value_parser().type_id());
        assert!(!is_bare, "{} takes {name} as it comes: make it a LocalPath or a Place", command.get_name());
    }
    command.get_subcommands().for_each(check_arguments);
}
