//! The report as a folder of files: one HTML page, one Markdown document, and each table and figure.

mod folder;
mod html;
mod markdown;
mod provenance;
