//! Names of datasets, models and SAEs, and their order.

/// A name, ordered by its rank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) rank: usize,
    /// In files.
    pub(crate) key: String,
    /// In tables and pictures.
    pub(crate) label: String,
}

impl Name {
    /// A name that is its own label.
    pub(crate) fn new(name: &str, rank: usize) -> Self {
        Self { rank, key: name.to_owned(), label: name.to_owned() }
    }
}

/// Names in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Order {
    names: Vec<String>,
}

impl Order {
    /// Ranks a name behind those before it.
    pub(crate) fn name(&mut self, name: &str) -> Name {
        let rank = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Name::new(name, rank)
    }
}
