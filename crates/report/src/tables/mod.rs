//! Rows, and the tables of them: one form, printed as text, CSV, Markdown and LaTeX.

mod csv;
mod figures;
pub(crate) mod format;
mod kinds;
mod latex;
pub(crate) mod markdown;
pub(crate) mod summary;
pub(crate) mod table;
mod text;
pub(crate) mod words;
