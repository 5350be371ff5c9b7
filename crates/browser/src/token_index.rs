//! The index of tokens in top examples.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::BrowserError;
use crate::scripts::{DataFolder, Pieces};

/// For each term, the latents that fire at it in their top examples, and how often.
#[derive(Debug, Default)]
pub(crate) struct TokenIndex {
    latents: BTreeMap<String, Vec<(u32, u32)>>,
}

/// All terms in order, and where the pieces of their latents begin.
#[derive(Serialize)]
struct Terms<'index> {
    terms: Vec<&'index str>,
    starts: &'index [u32],
}

impl TokenIndex {
    /// Adds a latent, above those before it, with the terms of its top examples.
    pub(crate) fn add(&mut self, latent: u32, terms: impl IntoIterator<Item = (String, u32)>) {
        for (term, count) in terms {
            self.latents.entry(term).or_default().push((latent, count));
        }
    }

    /// Writes `terms`, and `postings` in pieces: for each term pairs of a latent, less the one before, and a count.
    pub(crate) fn write(&self, prefix: &str, into: &mut DataFolder) -> Result<usize, BrowserError> {
        let mut pieces = Pieces::new(format!("{prefix}/postings"));
        for latents in self.latents.values() {
            let mut before = 0;
            let flat: Vec<u32> = latents
                .iter()
                .flat_map(|&(latent, count)| [latent - std::mem::replace(&mut before, latent), count])
                .collect();
            pieces.write(&flat, into)?;
        }
        pieces.end(None::<&()>, into)?;
        let terms = self.latents.keys().map(String::as_str).collect();
        into.write(&format!("{prefix}/terms"), &Terms { terms, starts: &pieces.starts })?;
        Ok(self.latents.len())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn latents_of_a_term_are_differences_and_counts() {
        let folder = tempdir().unwrap();
        let mut into = DataFolder::new(folder.path());
        let mut index = TokenIndex::default();
        index.add(3, [("the".to_owned(), 20), ("</script>".to_owned(), 1)]);
        index.add(7, [("the".to_owned(), 2)]);
        assert_eq!(index.write("0", &mut into).unwrap(), 2);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let terms = r#"hayloft.add("0/terms",{"terms":["\u003c/script\u003e","the"],"starts":[0]});"#;
        assert_eq!(read("0/terms.js").trim_end(), terms);
        assert!(read("0/postings-0.js").contains("\"items\":[[3,1],[3,20,4,2]]"), "{}", read("0/postings-0.js"));
    }
}
