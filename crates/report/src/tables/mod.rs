//! Rows, and the tables of them: one form, printed as text, CSV, Markdown and LaTeX.

mod csv;
pub(crate) mod format;
mod latex;
pub(crate) mod markdown;
pub(crate) mod summary;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod text;
