//! Puts the files of parts together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hayloft_runtime::{Part, Progress};

use super::PartialLatents;
use super::file::{from_bytes, sequences_of};
use crate::error::EvaluateError;
use crate::latents::collect::collected::Collected;
use crate::latents::output::contexts::{LabelledSequence, Sequences};
use crate::latents::output::files::{Texts, write};
use crate::latents::report::LatentsReport;
use crate::parts::sealed::seal;
use crate::parts::{Difference, Mismatch, PartKind, PartialError, Tile, find_parts_of, first_difference, tile};

/// What was read of all parts so far.
struct Merged {
    /// The file of the first part, which others are compared with.
    path: PathBuf,
    parts: Vec<(PathBuf, Part)>,
    all_shards: Vec<usize>,
    collected: Collected,
    texts: Option<BTreeMap<u32, String>>,
}

/// The sequences of parts, in their files.
struct FileSequences<'run>(&'run [(PathBuf, Part)]);

/// Merges statistics of latents on parts of a cache's shards, given as files or folders of files, and writes the files of
/// [`latents`](crate::latents) into a folder, byte for byte those of one run. One part is in memory at a time. `out` may be a
/// folder of parts.
///
/// ```no_run
/// use hayloft_evaluate::{LatentsSettings, latents_part, merge_latents};
/// use hayloft_runtime::Progress;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = LatentsSettings::new("cache", vec!["saes/base".into()], "parts");
/// for part in ["0/2", "1/2"] {
///     latents_part(&settings, part.parse()?, Progress::Silent)?.write(&settings.out)?;
/// }
/// merge_latents(&["parts".into()], "latents".as_ref(), Progress::Silent)?;
/// # Ok(()) }
/// ```
pub fn merge_latents(paths: &[PathBuf], out: &Path, progress: Progress) -> Result<LatentsReport, EvaluateError> {
    let files = find_parts_of(PartKind::Latents, paths)?;
    let sizes = files.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len()));
    let gauge = progress.bytes("parts", Some(sizes.sum()));
    let mut merged: Option<Merged> = None;
    for path in files {
        let bytes = std::fs::read(&path).map_err(|cause| PartialError::Read { path: path.clone(), cause })?;
        let next = from_bytes(&path, &bytes, Some(env!("CARGO_PKG_VERSION")))?;
        gauge.advance(bytes.len() as u64);
        drop(bytes);
        match &mut merged {
            Some(merged) => merged.add(path, next)?,
            None => merged = Some(Merged::begin(path, next)),
        }
    }
    drop(gauge);
    let Some(Merged { parts, all_shards, collected, texts, .. }) = merged else {
        return Err(PartialError::None { path: paths.first().cloned().unwrap_or_default() }.into());
    };
    // All parts have the same SAEs.
    if let Some(sae) = collected.report.saes.first() {
        let tiles = parts.iter().enumerate().map(|(place, (path, part))| Tile { place, path, part: *part });
        tile(tiles.collect(), &all_shards, &sae.name)?;
    }
    let (report, finished) = collected.finish()?;
    let texts = texts.as_ref().map_or(Texts::None, Texts::Known);
    write(out, &report, &finished, &FileSequences(&parts), &texts)?;
    Ok(report)
}

/// Merges the single part in these bytes with itself; ignores the seal and the version that wrote them.
pub(crate) fn merge_sealed_again(bytes: &[u8], out: &Path) -> Result<LatentsReport, EvaluateError> {
    let mut bytes = bytes.to_vec();
    seal(&mut bytes);
    let partial = from_bytes(Path::new("input"), &bytes, None)?;
    let PartialLatents { collected: mut twice, sequences, texts, .. } = partial;
    twice.add(twice.clone());
    let (report, finished) = twice.finish()?;
    let texts = texts.as_ref().map_or(Texts::None, Texts::Known);
    write(out, &report, &finished, &ReadSequences(&sequences), &texts)?;
    Ok(report)
}

impl Merged {
    fn begin(path: PathBuf, first: PartialLatents) -> Self {
        let PartialLatents { part, all_shards, collected, texts, .. } = first;
        Self { path: path.clone(), parts: vec![(path, part)], all_shards, collected, texts }
    }

    fn add(&mut self, path: PathBuf, next: PartialLatents) -> Result<(), PartialError> {
        let (expected, got) = (&self.collected.report, &next.collected.report);
        let mismatch = |Difference { field, expected, got }: Difference| {
            Box::new(Mismatch { path: path.clone(), first: self.path.clone(), what: field, expected, got })
        };
        if let Some(difference) = first_difference(expected.cache(), got.cache()) {
            return Err(PartialError::OtherCache(mismatch(difference)));
        }
        let called = |field: &str, found: Option<Difference>| {
            found.map(|difference| Difference { field: field.to_owned(), ..difference })
        };
        let has_texts = |own: &Option<BTreeMap<u32, String>>| own.is_some();
        let other = expected.first_difference_of_settings(got);
        let other = other.or_else(|| called("shards", first_difference(&self.all_shards, &next.all_shards)));
        let other = other
            .or_else(|| called("texts of tokens", first_difference(&has_texts(&self.texts), &has_texts(&next.texts))));
        if let Some(difference) = other {
            return Err(PartialError::OtherSetting(mismatch(difference)));
        }
        for (place, (expected, got)) in expected.saes.iter().zip(&got.saes).enumerate() {
            let settings = |own: &Collected| own.saes[place].statistics.settings().clone();
            let found = expected.first_difference(got);
            let found = found.or_else(|| first_difference(&settings(&self.collected), &settings(&next.collected)));
            if let Some(difference) = found {
                return Err(PartialError::OtherSae(mismatch(difference), expected.name.clone()));
            }
        }
        self.collected.add(next.collected);
        if let (Some(own), Some(other)) = (&mut self.texts, next.texts) {
            own.extend(other);
        }
        self.parts.push((path, next.part));
        Ok(())
    }
}

/// Sequences in memory.
struct ReadSequences<'run>(&'run [LabelledSequence]);

impl Sequences for ReadSequences<'_> {
    fn for_each(&self, wanted: &BTreeSet<u64>, look: &mut dyn FnMut(&LabelledSequence)) -> Result<(), EvaluateError> {
        self.0.iter().filter(|sequence| wanted.contains(&sequence.id)).for_each(look);
        Ok(())
    }
}

impl Sequences for FileSequences<'_> {
    fn for_each(&self, wanted: &BTreeSet<u64>, look: &mut dyn FnMut(&LabelledSequence)) -> Result<(), EvaluateError> {
        if wanted.is_empty() {
            return Ok(());
        }
        for (path, _) in self.0 {
            ReadSequences(&sequences_of(path)?).for_each(wanted, look)?;
        }
        Ok(())
    }
}
