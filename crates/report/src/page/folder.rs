//! The report as a folder of files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use hayloft_runtime::write_whole;

use crate::error::ReportError;
use crate::experiment::open::Report;
use crate::plot::Palette;
use crate::tables::summary::Summary;

impl Report {
    /// Writes `report.md`, `report.html`, `summary.json`, `tables/{table}.csv` and `.tex`, and `figures/{figure}.svg` and
    /// `.pdf`.
    /// Creates the folder and returns the path of `report.html`. Each file is written by atomic rename; other files are
    /// not touched.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let write = |name: &str, bytes: io::Result<Vec<u8>>| {
            let path = folder.join(name);
            bytes.and_then(|bytes| write_whole(&path, &bytes)).map_err(|cause| ReportError::Write { path, cause })
        };
        for table in self.tables() {
            write(&format!("tables/{}.csv", table.id), table.csv().map_err(io::Error::other))?;
            write(&format!("tables/{}.tex", table.id), Ok(table.latex().into_bytes()))?;
        }
        let mut lacking = BTreeSet::new();
        for figure in self.galleries().into_iter().flat_map(|gallery| gallery.figures) {
            lacking.extend(figure.drawing.lacking());
            write(&format!("figures/{}.svg", figure.id), Ok(figure.drawing.svg(Palette::Plain).into_bytes()))?;
            write(&format!("figures/{}.pdf", figure.id), figure.drawing.pdf())?;
        }
        if !lacking.is_empty() {
            let letters = lacking.into_iter().map(String::from).collect::<Vec<_>>().join(" ");
            tracing::warn!(
                "the PDF pictures have ? for letters that their font lacks: {letters}. The SVG pictures have them"
            );
        }
        write("report.md", Ok(self.markdown().into_bytes()))?;
        write("summary.json", self.summary().json().map(String::into_bytes).map_err(io::Error::other))?;
        write("report.html", Ok(self.html()?.into_bytes()))?;
        Ok(folder.join("report.html"))
    }
}

impl Summary {
    /// Indented JSON with a trailing newline.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}
