//! A simulated power cut: data that was not synced is lost, in the worst ways that a file system may lose it.
//!
//! The bytes of a file are safe once the file was synced, and a name in a folder once that folder was synced. Otherwise
//! each name is present or not and each file is old, new or torn, independently of the order of the operations.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fs::watched::{Operation, WatchedDisk, Watcher};

/// The file system, with a copy in memory of its synced state.
pub(crate) type PowerLossDisk = WatchedDisk<PowerLoss>;

/// The fate of unsynced data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// All of it is lost.
    Lost,
    /// Names survive and bytes do not, as on file systems with delayed allocation.
    NamesOnly,
    /// Each name survives or not, and each file is old, new or torn, at random from this seed.
    Drawn(u64),
}

#[derive(Debug)]
pub(crate) struct PowerLoss {
    root: PathBuf,
    /// The number of operations before the power is cut.
    lasts: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    passed: u64,
    /// The first is the root.
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    File { now: Vec<u8>, safe: Vec<u8> },
    Folder { now: BTreeMap<String, usize>, safe: BTreeMap<String, usize> },
}

impl PowerLossDisk {
    /// Cuts the power after `lasts` operations below `root`. Existing files are safe.
    pub(crate) fn cut_after(lasts: u64, root: &Path) -> Self {
        let mut state = State { passed: 0, nodes: Vec::new() };
        state.take_in(root);
        Self::new(PowerLoss { root: root.to_owned(), lasts, state: Mutex::new(state) })
    }
}

impl PowerLoss {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of operations done.
    pub(crate) fn passed(&self) -> u64 {
        self.state().passed
    }

    /// Writes the state after the power cut to `into`.
    pub(crate) fn lay_out(&self, mut fate: Fate, into: &Path) {
        self.state().lay_out(0, &mut fate, into);
    }
}

impl State {
    /// Adds the file or folder at `path`, recursively. Returns its index.
    fn take_in(&mut self, path: &Path) -> usize {
        let place = self.nodes.len();
        if path.is_dir() {
            self.nodes.push(Node::Folder { now: BTreeMap::new(), safe: BTreeMap::new() });
            let mut entries = BTreeMap::new();
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                entries.insert(entry.file_name().into_string().unwrap(), self.take_in(&entry.path()));
            }
            self.nodes[place] = Node::Folder { now: entries.clone(), safe: entries };
        } else {
            let bytes = fs::read(path).unwrap();
            self.nodes.push(Node::File { now: bytes.clone(), safe: bytes });
        }
        place
    }

    fn entries(&mut self, folder: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.nodes[folder] {
            Node::Folder { now, .. } => now,
            Node::File { .. } => panic!("a file is used as a folder"),
        }
    }

    /// The index of the current node at `path`.
    fn find(&mut self, root: &Path, path: &Path) -> usize {
        let below = path.strip_prefix(root).unwrap();
        below.iter().fold(0, |folder, name| self.entries(folder)[name.to_str().unwrap()])
    }

    /// The entries of the parent folder of `path`, and its name there.
    fn slot(&mut self, root: &Path, path: &Path) -> (&mut BTreeMap<String, usize>, String) {
        let folder = self.find(root, path.parent().unwrap());
        (self.entries(folder), path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn add(&mut self, root: &Path, path: &Path, node: Node) {
        let place = self.nodes.len();
        self.nodes.push(node);
        let (entries, name) = self.slot(root, path);
        // An existing entry stays, and the file system reports the error.
        entries.entry(name).or_insert(place);
    }

    fn apply(&mut self, root: &Path, operation: Operation<'_>) {
        match operation {
            Operation::Create(path) => self.add(root, path, Node::File { now: Vec::new(), safe: Vec::new() }),
            Operation::CreateFolder(path) => {
                self.add(root, path, Node::Folder { now: BTreeMap::new(), safe: BTreeMap::new() });
            }
            Operation::Write(path, bytes) => {
                let place = self.find(root, path);
                if let Node::File { now, .. } = &mut self.nodes[place] {
                    now.extend_from_slice(bytes);
                }
            }
            Operation::Sync(path) | Operation::SyncFolder(path) => {
                let place = self.find(root, path);
                match &mut self.nodes[place] {
                    Node::File { now, safe } => safe.clone_from(now),
                    Node::Folder { now, safe } => safe.clone_from(now),
                }
            }
            Operation::Rename(from, to) => {
                let (entries, name) = self.slot(root, from);
                let place = entries.remove(&name).unwrap();
                let (entries, name) = self.slot(root, to);
                entries.insert(name, place);
            }
            Operation::Link(from, to) => {
                let place = self.find(root, from);
                let (entries, name) = self.slot(root, to);
                entries.entry(name).or_insert(place);
            }
            Operation::RemoveFile(path) => {
                let (entries, name) = self.slot(root, path);
                entries.remove(&name);
            }
            Operation::RemoveFolder(path) => {
                let (entries, name) = self.slot(root, path);
                // Each name in the folder is removed separately, and may be lost before that of the folder.
                let mut places: Vec<usize> = entries.remove(&name).into_iter().collect();
                while let Some(place) = places.pop() {
                    if let Node::Folder { now, .. } = &mut self.nodes[place] {
                        places.extend(std::mem::take(now).into_values());
                    }
                }
            }
        }
    }

    fn lay_out(&self, place: usize, fate: &mut Fate, into: &Path) {
        match &self.nodes[place] {
            Node::File { now, safe } if now == safe => fs::write(into, now).unwrap(),
            Node::File { now, safe } => match fate.draw(3) {
                Some(0) => fs::write(into, now).unwrap(),
                Some(1) => {
                    let mut torn = now.clone();
                    torn[now.len() / 2..].fill(0);
                    fs::write(into, torn).unwrap();
                }
                _ => fs::write(into, safe).unwrap(),
            },
            Node::Folder { now, safe } => {
                if place != 0 {
                    fs::create_dir(into).unwrap();
                }
                let names: BTreeSet<&String> = now.keys().chain(safe.keys()).collect();
                for name in names {
                    let survives = match (now.get(name), safe.get(name)) {
                        (now, safe) if now == safe => now,
                        (now, safe) => match fate {
                            Fate::Lost => safe,
                            Fate::NamesOnly => now,
                            Fate::Drawn(_) => {
                                if fate.draw(2) == Some(0) {
                                    now
                                } else {
                                    safe
                                }
                            }
                        },
                    };
                    if let Some(place) = survives {
                        self.lay_out(*place, fate, &into.join(name));
                    }
                }
            }
        }
    }
}

impl Fate {
    /// A random number below `bound`, if the fate is random.
    fn draw(&mut self, bound: u64) -> Option<u64> {
        let Self::Drawn(state) = self else { return None };
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 33) % bound)
    }
}

impl Watcher for PowerLoss {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        let mut state = self.state();
        if state.passed == self.lasts {
            return Err(io::Error::other("the power is gone"));
        }
        state.passed += 1;
        state.apply(&self.root, operation);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
