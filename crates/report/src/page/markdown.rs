//! The report as one Markdown document: tables, definitions and provenance.

use std::fmt::Write;

use hayloft_results::{Column, ColumnTable};

use crate::experiment::open::Report;
use crate::tables::markdown::escape;

impl Report {
    /// Renders the document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n", escape(&self.experiment.title));
        if let Some(description) = &self.experiment.description {
            text.extend(["\n", &escape(description), "\n"]);
        }
        if !self.left_out.is_empty() {
            text.push_str("\n## Left out\n\n");
            for left_out in &self.left_out {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "- {}", escape(&left_out.to_string()));
            }
        }
        for table in self.tables() {
            text.push_str(&table.markdown());
        }
        text.push_str("\n## Definitions\n\n");
        for column in Column::of(ColumnTable::Main) {
            let _ = writeln!(text, "- {}: {}", escape(column.title), escape(column.definition));
        }
        text.push_str("\n## Provenance\n\n");
        for fact in self.provenance() {
            let _ = writeln!(text, "- {}: {}", escape(&fact.what), escape(&fact.value));
        }
        text
    }
}
