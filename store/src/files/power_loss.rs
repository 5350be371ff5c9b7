//! A power cut, simulated: what was not brought to the disk is lost, in the worst ways that a file system may lose it.
//!
//! Bytes of a file are safe once the file was synced, a name in a folder once that folder was. Of everything else, each
//! name is there or not and each file is old, new or torn, independently of the order in which it was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::files::watched::{Operation, WatchedDisk, Watcher};

/// The file system, of which a second copy is kept in memory: what is safe.
pub(crate) type PowerLossDisk = WatchedDisk<PowerLoss>;

/// What becomes of what was not safe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// All of it is lost.
    Lost,
    /// Names survive and bytes do not: the way of file systems that allocate late.
    NamesOnly,
    /// Each name by a coin, the bytes of each file old, new or half of them: drawn from this seed.
    Drawn(u64),
}

#[derive(Debug)]
pub(crate) struct PowerLoss {
    root: PathBuf,
    /// How many operations are done before the power is cut.
    lasts: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    passed: u64,
    /// The root is the first.
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    File { now: Vec<u8>, safe: Vec<u8> },
    Folder { now: BTreeMap<String, usize>, safe: BTreeMap<String, usize> },
}

impl PowerLossDisk {
    /// The power is cut after `lasts` operations below `root`; all that is there already is safe.
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

    /// The operations that were done.
    pub(crate) fn passed(&self) -> u64 {
        self.state().passed
    }

    /// Lays out below `into` what is found when the power is back.
    pub(crate) fn lay_out(&self, mut fate: Fate, into: &Path) {
        self.state().lay_out(0, &mut fate, into);
    }
}

impl State {
    /// Adds what is at `path` and all below it; returns its place.
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

    /// The place of what is now at `path`.
    fn find(&mut self, root: &Path, path: &Path) -> usize {
        let below = path.strip_prefix(root).unwrap();
        below.iter().fold(0, |folder, name| self.entries(folder)[name.to_str().unwrap()])
    }

    /// The entries of the folder that `path` is or will be in, and its name there.
    fn slot(&mut self, root: &Path, path: &Path) -> (&mut BTreeMap<String, usize>, String) {
        let folder = self.find(root, path.parent().unwrap());
        (self.entries(folder), path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn add(&mut self, root: &Path, path: &Path, node: Node) {
        let place = self.nodes.len();
        self.nodes.push(node);
        let (entries, name) = self.slot(root, path);
        // What is there already stays, and the file system says so.
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
                // Each name in it goes by itself, and may go before that of the folder.
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
    /// A number below `bound`, where there is anything to draw.
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
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::cache_writer::CacheWriter;
    use crate::error::Result;
    use crate::files::disk::{Disk, FileSystem};
    use crate::files::staged::write_file;
    use crate::manifest::MANIFEST_FILE;
    use crate::plan::{PLAN_FILE, PlanWriter};
    use crate::settings::{Existing, NonFinite};
    use crate::support::{corpus, files_below, fill_shard, lengths, read_everything, settings, shard_data};
    use crate::{Codec, Dtype, verify};

    type Files = BTreeMap<String, Vec<u8>>;

    /// A folder on a disk in memory, where there is one: thousands of syncs are waited for here.
    fn scratch() -> TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
    }

    fn cache(root: &TempDir) -> PathBuf {
        root.path().join("caches/stories")
    }

    /// Plans a cache unless that has been done, and fills the shards that are not whole. `kept` gets what must not be lost
    /// from then on.
    fn harvest(disk: &Arc<dyn Disk>, folder: &Path, kept: &mut Vec<String>) -> Result<()> {
        if !folder.join(PLAN_FILE).exists() {
            let mut writer = PlanWriter::create_on(Arc::clone(disk), folder)?;
            for shard in 0..lengths().len() {
                let (sequences, tokens) = shard_data(&lengths(), shard);
                writer.add_shard(&sequences, &tokens)?;
            }
            writer.finish(corpus())?;
            kept.push("plan".to_owned());
        }
        let (settings, allowed) = (settings(Dtype::Bf16, Codec::Planes), NonFinite::Refuse);
        let mut writer = CacheWriter::open_on(Arc::clone(disk), folder, settings, allowed, Existing::Resume)?;
        for index in 0..lengths().len() {
            if !writer.is_complete(index) {
                let shard = fill_shard(&writer, index)?;
                kept.push(format!("shards/{index:05}/"));
                writer.record(shard)?;
            }
        }
        writer.finish()?;
        kept.push(MANIFEST_FILE.to_owned());
        Ok(())
    }

    /// Whatever has its own name must be whole, and readable if it is listed; what was said to be done must be there.
    fn check(folder: &Path, expected: &Files, kept: &[String]) {
        let found = if folder.exists() { files_below(folder) } else { Files::new() };
        for (name, bytes) in found.iter().filter(|(name, _)| !name.starts_with('.') && !name.contains("/.")) {
            // The manifest grows; what it lists is checked below.
            assert!(name == MANIFEST_FILE || expected.get(name) == Some(bytes), "{name} is half-written");
        }
        for name in expected.keys() {
            let must_be_there = match name.rsplit_once('/') {
                Some((shard, _)) => folder.join(shard).is_dir() || kept.iter().any(|kept| name.starts_with(kept)),
                None => kept.contains(name),
            };
            assert!(!must_be_there || found.contains_key(name), "{name} is lost");
        }
        if folder.join(MANIFEST_FILE).exists() {
            read_everything(folder).unwrap();
            assert_eq!(verify(folder, &mut |_| ()).unwrap().damages, []);
        }
    }

    fn resumes(root: &TempDir, expected: &Files) {
        harvest(&(Arc::new(FileSystem) as Arc<dyn Disk>), &cache(root), &mut Vec::new()).unwrap();
        assert_eq!(&files_below(&cache(root)), expected);
    }

    #[test]
    fn a_power_cut_at_any_moment_loses_nothing_finished_shows_nothing_half_and_can_be_resumed() {
        let whole = scratch();
        let disk = PowerLossDisk::cut_after(u64::MAX, whole.path());
        harvest(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &cache(&whole), &mut Vec::new()).unwrap();
        let (operations, expected) = (disk.watcher().passed(), files_below(&cache(&whole)));
        assert!(operations > 100, "{operations} operations are too few to be all");

        for lasts in 0..=operations {
            let before = scratch();
            let disk = PowerLossDisk::cut_after(lasts, before.path());
            let mut kept = Vec::new();
            let done = harvest(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &cache(&before), &mut kept);
            assert_eq!(done.is_ok(), lasts == operations);
            for fate in [Fate::Lost, Fate::NamesOnly, Fate::Drawn(lasts), Fate::Drawn(!lasts)] {
                let after = scratch();
                disk.watcher().lay_out(fate, after.path());
                check(&cache(&after), &expected, &kept);
                if let Fate::Drawn(seed) = fate {
                    // The power is cut once more while the harvest goes on.
                    let again = PowerLossDisk::cut_after(seed % operations / 2, after.path());
                    let mut kept = kept.clone();
                    let _ = harvest(&(Arc::new(again.clone()) as Arc<dyn Disk>), &cache(&after), &mut kept);
                    let twice = scratch();
                    again.watcher().lay_out(Fate::Drawn(seed ^ 1), twice.path());
                    check(&cache(&twice), &expected, &kept);
                    resumes(&twice, &expected);
                } else {
                    resumes(&after, &expected);
                }
            }
        }
    }

    #[test]
    fn the_simulation_loses_what_was_not_synced() {
        let root = scratch();
        let disk = PowerLossDisk::cut_after(u64::MAX, root.path());
        write_file(&disk, &root.path().join("a"), b"hay").unwrap();
        let mut unsynced = disk.create(&root.path().join("b")).unwrap();
        unsynced.write_all(b"loft").unwrap();
        let found = |fate| {
            let after = scratch();
            disk.watcher().lay_out(fate, after.path());
            files_below(after.path())
        };
        // The bytes of `a` are safe, but neither name is.
        assert_eq!(found(Fate::Lost), Files::new());
        let names_only = Files::from([("a".to_owned(), b"hay".to_vec()), ("b".to_owned(), Vec::new())]);
        assert_eq!(found(Fate::NamesOnly), names_only);
        disk.sync_folder(root.path()).unwrap();
        assert_eq!(found(Fate::Lost), names_only);
        assert!((0..50).any(|seed| found(Fate::Drawn(seed))["b"] == b"lo\0\0"));
    }
}
