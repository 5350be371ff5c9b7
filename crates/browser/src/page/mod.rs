//! The page as a folder of files.

mod folder;
mod sae;

use std::path::Path;

use hayloft_latents::QUANTILES;

use crate::comparison::{Comparison, Match};
use crate::error::BrowserError;
use crate::explanations::Explanations;
use crate::scripts::DataFolder;
use crate::sources::Sources;
use crate::summary::{ComparisonContents, Contents, PageSummary};
use folder::NewFolder;
use sae::FolderRows;

/// The page's own files, which hold no data.
const FILES: [(&str, &str); 12] = [
    ("index.html", include_str!("index.html")),
    ("page.css", include_str!("page.css")),
    ("data.js", include_str!("data.js")),
    ("words.js", include_str!("words.js")),
    ("address.js", include_str!("address.js")),
    ("search.js", include_str!("search.js")),
    ("table.js", include_str!("table.js")),
    ("chart.js", include_str!("chart.js")),
    ("contexts.js", include_str!("contexts.js")),
    ("latent.js", include_str!("latent.js")),
    ("compare.js", include_str!("compare.js")),
    ("main.js", include_str!("main.js")),
];

/// The number in place of the match of a latent that has none.
const NO_MATCH: u32 = u32::MAX;

/// What a page is made of.
#[derive(Debug)]
pub struct Page<'run> {
    /// The latents.
    pub sources: &'run Sources,
    /// What is said of them.
    pub explanations: &'run Explanations,
    /// SAEs side by side.
    pub comparisons: &'run [Comparison],
}

impl Page<'_> {
    /// Writes the page into a folder that does not exist, is empty, or holds an earlier page, which it replaces. The folder
    /// appears when it is whole. `told` is given the bytes of the sources that were read, as they are.
    pub fn write(&self, out: &Path, told: &mut dyn FnMut(u64)) -> Result<PageSummary, BrowserError> {
        let folder = NewFolder::begin(out)?;
        let mut data = DataFolder::new(&folder.path().join("data"));
        let mut contents =
            Contents { quantiles: QUANTILES.map(|(_, share)| share), saes: Vec::new(), comparisons: Vec::new() };
        let mut counts = Vec::new();
        for (number, own) in self.sources.folders.iter().enumerate() {
            let mut rows = FolderRows::open(own, told)?;
            for (place, sae) in self.sources.saes().iter().enumerate().filter(|(_, sae)| sae.folder == number) {
                let (own, of_it) = rows.sae(place, sae, self.explanations, &mut data)?;
                contents.saes.push(own);
                counts.push(of_it);
            }
            rows.end()?;
        }
        for (place, comparison) in self.comparisons.iter().enumerate() {
            contents.comparisons.push(write_comparison(place, comparison, &mut data)?);
        }
        data.write("page", &contents)?;
        let (mut files, mut bytes) = (data.files, data.bytes);
        for (name, text) in FILES {
            folder.write(name, text)?;
            files += 1;
            bytes += text.len() as u64;
        }
        folder.finish()?;
        Ok(PageSummary { page: out.join("index.html"), files, bytes, saes: counts })
    }
}

/// Writes the matches of a comparison, where they are not the latents' numbers.
fn write_comparison(
    place: usize,
    comparison: &Comparison,
    data: &mut DataFolder,
) -> Result<ComparisonContents, BrowserError> {
    let Comparison { left, right, matching } = comparison;
    let matching = match matching {
        Match::Index => "index",
        Match::Cosine(pairs) => {
            let latents = pairs.iter().map(|pair| pair.map_or(NO_MATCH, |(latent, _)| latent).to_le_bytes());
            data.write_numbers(&format!("match-{place}-latents"), "u32", latents)?;
            let cosines = pairs.iter().map(|pair| pair.map_or(f32::NAN, |(_, cosine)| cosine).to_le_bytes());
            data.write_numbers(&format!("match-{place}-cosines"), "f32", cosines)?;
            "cosine"
        }
    };
    Ok(ComparisonContents { left: *left, right: *right, matching })
}
