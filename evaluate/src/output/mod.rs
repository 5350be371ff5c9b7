//! Results for people and for programs.

mod delimited;
mod folder;
mod markdown;
mod table;

pub(crate) use self::table::RULED;
