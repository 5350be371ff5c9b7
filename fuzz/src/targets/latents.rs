//! Files of latents, and what is said of them.

use hayloft_browser::{Explanations, Sources};
use hayloft_latents::{ExamplesReader, LatentsReader};

use crate::guarded::scratch;
use crate::outcome::words;
use crate::{Outcome, seeds};

/// `latents.parquet`.
pub(super) fn latents(input: &[u8]) -> Outcome {
    let path = scratch::folder("latents", |_| ()).join("latents.parquet");
    scratch::write(&path, input);
    let reader = LatentsReader::open(&path).map_err(words)?;
    reader.records().map_err(words)?.try_for_each(|row| row.map(drop)).map_err(words)
}

/// `examples.parquet`.
pub(super) fn examples(input: &[u8]) -> Outcome {
    let path = scratch::folder("examples", |_| ()).join("examples.parquet");
    scratch::write(&path, input);
    ExamplesReader::open(&path).map_err(words)?.try_for_each(|row| row.map(drop)).map_err(words)
}

/// Explanations of the latents of the seed.
pub(super) fn explanations(input: &[u8]) -> Outcome {
    let folder = scratch::folder("explanations", seeds::latents::write_latents);
    let path = folder.join("explanations");
    scratch::write(&path, input);
    let sources = Sources::open(&[folder]).map_err(words)?;
    Explanations::new(&sources).read(&sources, &path.to_string_lossy()).map_err(words)
}
