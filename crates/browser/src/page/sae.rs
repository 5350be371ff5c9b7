//! The rows of a folder's files, SAE by SAE, as data of the page.

use std::iter::Peekable;
use std::path::PathBuf;

use hayloft_latents::{ExampleKind, ExampleRecord, ExamplesReader, LatentRecord, LatentRecords};
use serde::Serialize;
use serde_json::Value;

use crate::error::BrowserError;
use crate::explanations::{Explanation, Explanations};
use crate::latent_pieces::LatentPieces;
use crate::scripts::{DataFolder, Pieces};
use crate::sources::{Folder, SaeSource};
use crate::spelling::Spelling;
use crate::summary::{GroupContents, SaeContents, SaeCounts};
use crate::token_index::TokenIndex;

/// Examples whose texts show how a vocabulary spells.
const SPELLING_ROWS: usize = 1000;

/// Latents and examples of a folder, in step.
pub(super) struct FolderRows<'run> {
    folder: &'run Folder,
    latents: LatentRecords,
    examples: Peekable<ExamplesReader>,
    has_texts: bool,
    spelling: Spelling,
    told: Told<'run>,
}

/// How much of a folder's files was read, from its rows.
struct Told<'run> {
    tell: &'run mut dyn FnMut(u64),
    bytes: u64,
    rows: u64,
    rows_read: u64,
    passed_on: u64,
}

impl Told<'_> {
    fn read(&mut self, rows: u64) {
        self.rows_read += rows;
        let bytes = (self.bytes as f64 * (self.rows_read as f64 / self.rows.max(1) as f64)) as u64;
        (self.tell)(bytes.saturating_sub(self.passed_on));
        self.passed_on = self.passed_on.max(bytes);
    }
}

/// A latent in the table: the tokens of its top examples, and what is said of it.
#[derive(Serialize)]
struct Label<'own> {
    tokens: &'own [String],
    explanations: &'own [Explanation],
}

/// Figures of all latents of an SAE, which the table sorts and filters by.
#[derive(Default)]
struct Columns {
    firings: Vec<f64>,
    mean: Vec<f32>,
    max: Vec<f32>,
    nearest: Vec<f32>,
    ablation: Vec<f32>,
    sections: Vec<Vec<f64>>,
}

impl<'run> FolderRows<'run> {
    pub(super) fn open(folder: &'run Folder, tell: &'run mut dyn FnMut(u64)) -> Result<Self, BrowserError> {
        let path = folder.examples_path();
        let examples = ExamplesReader::open(&path)?;
        // A tool that wrote a file again may have left the record out.
        if let (Some(of_latents), Some(of_examples)) = (folder.latents.about(), examples.about())
            && of_latents != of_examples
        {
            let expected = "the examples of the same run as latents.parquet beside it".to_owned();
            return Err(BrowserError::Misfit { path, expected, got: "those of another run".to_owned() });
        }
        let has_texts = examples.has_texts();
        let size = |path: PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
        let latents: u64 = folder.latents.saes().iter().map(|sae| u64::from(sae.width)).sum();
        let told = Told {
            tell,
            bytes: size(folder.latents_path()) + size(path.clone()),
            rows: examples.rows() + latents,
            rows_read: 0,
            passed_on: 0,
        };
        let mut spelling = Spelling::Plain;
        if has_texts {
            let first = ExamplesReader::open(&path)?.take(SPELLING_ROWS).collect::<Result<Vec<_>, _>>()?;
            let texts = first.iter().flat_map(|own| (0..own.tokens().len()).filter_map(|place| own.text_at(place)));
            spelling = Spelling::of(texts);
        }
        let latents = folder.latents.records()?;
        Ok(Self { folder, latents, examples: examples.peekable(), has_texts, spelling, told })
    }

    /// Writes the data of the next SAE, which is the page's `place`th.
    pub(super) fn sae(
        &mut self,
        place: usize,
        sae: &SaeSource,
        explanations: &Explanations,
        data: &mut DataFolder,
    ) -> Result<(SaeContents, SaeCounts), BrowserError> {
        let prefix = place.to_string();
        let mut pieces = LatentPieces::new(&prefix, self.spelling);
        let mut labels = Pieces::new(format!("{prefix}/labels"));
        let (mut index, mut columns) = (TokenIndex::default(), Columns::default());
        let mut groups: Option<[Vec<GroupContents>; 3]> = None;
        let (mut tokens, mut examples, mut dead) = (0, 0, 0);
        for number in 0..sae.width {
            let latent = self.latents.next().transpose()?.filter(|own| own.sae == sae.own_name && own.latent == number);
            let latent =
                latent.ok_or_else(|| self.misfit(format!("latent {number} of {}", sae.name), "another file"))?;
            let own = [&latent.sections, &latent.subsets, &latent.turns].map(|groups| GroupContents::of(groups));
            if number == 0 {
                tokens = latent.tokens;
            }
            if latent.tokens != tokens || groups.get_or_insert_with(|| own.clone()) != &own {
                let expected = format!("the same tokens, sections, subsets and turns for all latents of {}", sae.name);
                return Err(self.misfit(expected, &format!("others for latent {number}")));
            }
            dead += u32::from(latent.firings == 0);
            let of_it = self.examples_of(&latent)?;
            examples += of_it.len() as u64;
            let top = pieces.add(&latent, &of_it, data)?;
            let label = Label { tokens: &top.label, explanations: explanations.of(place, number) };
            labels.write(&label, data)?;
            index.add(number, top.terms);
            columns.add(&latent);
            self.told.read(1 + of_it.len() as u64);
        }
        pieces.end(data)?;
        labels.end(None::<&()>, data)?;
        columns.write(&prefix, data)?;
        let terms = index.write(&prefix, data)?;
        let [sections, subsets, turns] = groups.unwrap_or_default();
        let (run, about) = self.record_of(sae);
        let explanations = explanations.count(place);
        let contents = SaeContents {
            name: sae.name.clone(),
            folder: self.folder.path.display().to_string(),
            own_name: sae.own_name.to_string(),
            width: sae.width,
            tokens,
            has_texts: self.has_texts,
            missing: self.folder.latents.missing(),
            sections,
            subsets,
            turns,
            latents: pieces.pieces.starts,
            labels: labels.starts,
            terms,
            examples,
            explanations,
            dead,
            run,
            about,
        };
        Ok((contents, SaeCounts { name: sae.name.clone(), latents: sae.width, examples, terms, explanations }))
    }

    /// Returns an error if there are examples of no latent.
    pub(super) fn end(mut self) -> Result<(), BrowserError> {
        match self.examples.next().transpose()? {
            None => Ok(()),
            Some(own) => Err(self.disorder(&own)),
        }
    }

    /// The examples of a latent, which come next or are none.
    fn examples_of(&mut self, latent: &LatentRecord) -> Result<Vec<ExampleRecord>, BrowserError> {
        let is_its = |own: &ExampleRecord| own.sae == latent.sae && own.latent == latent.latent;
        let mut found: Vec<ExampleRecord> = Vec::new();
        while let Some(own) = self.examples.next_if(|own| own.as_ref().map_or(true, is_its)).transpose()? {
            let next = match found.last() {
                Some(last) if last.kind == own.kind => last.rank + 1,
                Some(last) if last.kind == ExampleKind::Sampled => return Err(self.disorder(&own)),
                _ => 0,
            };
            if own.rank != next {
                return Err(self.disorder(&own));
            }
            found.push(own);
        }
        Ok(found)
    }

    fn disorder(&self, own: &ExampleRecord) -> BrowserError {
        let expected = "examples by SAE and latent as in latents.parquet, then top before sampled, then by rank";
        let got = format!("{} example {} of latent {} of {}", own.kind, own.rank, own.latent, own.sae);
        BrowserError::Misfit { path: self.folder.examples_path(), expected: expected.to_owned(), got }
    }

    fn misfit(&self, expected: String, got: &str) -> BrowserError {
        BrowserError::Misfit { path: self.folder.latents_path(), expected, got: got.to_owned() }
    }

    /// How the files were made, and what the record says of the SAE; null without a record.
    fn record_of(&self, sae: &SaeSource) -> (Value, Value) {
        let record = self.folder.latents.about().and_then(|about| serde_json::from_str(about).ok());
        let Some(Value::Object(mut run)) = record else { return (Value::Null, Value::Null) };
        let is_it = |own: &&Value| own.get("name").and_then(Value::as_str) == Some(&*sae.own_name);
        let about = run.get("saes").and_then(Value::as_array).and_then(|all| all.iter().find(is_it)).cloned();
        run.shift_remove("saes");
        (Value::Object(run), about.unwrap_or_default())
    }
}

impl Columns {
    fn add(&mut self, latent: &LatentRecord) {
        self.firings.push(latent.firings as f64);
        self.mean.push(latent.mean.map_or(f32::NAN, |mean| mean as f32));
        self.max.push(latent.max.unwrap_or(f32::NAN));
        self.nearest.push(latent.nearest.first().map_or(f32::NAN, |(_, cosine)| *cosine));
        self.ablation.push(latent.ablation.map_or(f32::NAN, |own| own.ce_delta as f32));
        self.sections.resize_with(latent.sections.len(), Vec::new);
        for (column, section) in self.sections.iter_mut().zip(&latent.sections) {
            column.push(section.firings as f64);
        }
    }

    fn write(self, prefix: &str, data: &mut DataFolder) -> Result<(), BrowserError> {
        let wide = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_le_bytes);
        data.write_numbers(&format!("{prefix}/firings"), "f64", wide(self.firings))?;
        for (name, numbers) in
            [("mean", self.mean), ("max", self.max), ("nearest", self.nearest), ("ablation", self.ablation)]
        {
            data.write_numbers(&format!("{prefix}/{name}"), "f32", numbers.into_iter().map(f32::to_le_bytes))?;
        }
        for (place, numbers) in self.sections.into_iter().enumerate() {
            data.write_numbers(&format!("{prefix}/section-{place}"), "f64", wide(numbers))?;
        }
        Ok(())
    }
}
