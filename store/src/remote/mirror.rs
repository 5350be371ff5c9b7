//! A remote cache that is read: its files are brought to a local shelf one by one, as they are asked for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::error::{Result, StoreError};
use crate::format::manifest::MANIFEST_FILE;
use crate::format::records::{FileRecord, ShardRecord};
use crate::format::site::SiteName;
use crate::fs::folder::{Fetch, Located};
use crate::fs::machine::machine;
use crate::fs::staged::create_folders;
use crate::remote::blocking::Remote;
use crate::remote::download::{Earlier, download};
use crate::remote::failure::{mend, variables};
use crate::remote::file_cache::Shelf;
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;
use crate::remote::traffic::Traffic;

/// Hexadecimal digits of a hash that tell one cache, and one version of a file, from another on the shelf.
const DIGITS: usize = 16;

/// A remote cache and the folder of the shelf that is for it.
#[derive(Debug)]
pub(crate) struct Mirror {
    shared: Arc<Shared>,
    /// Takes the files that are to be brought ahead, one after the other.
    ahead: OnceLock<Sender<(String, FileRecord)>>,
}

#[derive(Debug)]
struct Shared {
    remote: Remote,
    shelf: Shelf,
    folder: PathBuf,
}

impl Mirror {
    /// Prepares to read the cache at `location`. Nothing is asked yet.
    pub(crate) fn open(location: &Location, options: &RemoteOptions) -> Result<Self> {
        let remote = Remote::connect(location, options)?;
        let shelf = Shelf::open(options.kept_in()?, options.limit)?;
        let key = blake3::hash(location.to_string().as_bytes()).to_hex();
        let folder = shelf.folder().join(&key[..DIGITS]);
        create_folders(machine().as_ref(), &folder)?;
        // For people who look at the shelf. Nothing reads it.
        let _ = std::fs::write(folder.join("location.txt"), format!("{location}\n"));
        Ok(Self { shared: Arc::new(Shared { remote, shelf, folder }), ahead: OnceLock::new() })
    }

    /// The local folder of this cache.
    pub(crate) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.shared.remote.traffic()
    }

    /// The bytes of `manifest.json`, as they are now.
    pub(crate) fn manifest(&self) -> Result<Vec<u8>> {
        let remote = &self.shared.remote;
        let fetched = remote.get(MANIFEST_FILE)?.ok_or_else(|| no_manifest(remote.location()))?;
        Ok(fetched.bytes.to_vec())
    }

    /// Begins to bring the files that reading `site` of `shard` takes, behind those that were asked for before, and returns at once.
    ///
    /// Whoever reads asks for the shard that follows when it opens one. So no more than one shard waits: further ones would push out
    /// what is read now.
    pub(crate) fn read_ahead(&self, shard: &ShardRecord, site: &SiteName) {
        let site_file = site.file_name();
        let ahead = self.ahead.get_or_init(|| {
            let (sender, wanted) = channel::<(String, FileRecord)>();
            let own = Arc::clone(&self.shared);
            thread::spawn(move || {
                for (name, record) in wanted {
                    if let Err(error) = own.fetch(&name, &record) {
                        // Whoever needs the file meets the same error.
                        tracing::debug!(file = name, %error, "cannot be read ahead");
                    }
                }
            });
            sender
        });
        for file in shard.files.iter().filter(|file| !is_a_site(file) || file.path == site_file) {
            // The thread is there for as long as this is.
            let _ = ahead.send((format!("{}/{}", shard.path, file.path), file.clone()));
        }
    }
}

impl Fetch for Mirror {
    fn fetch(&self, named: &str, record: &FileRecord) -> Result<Located> {
        self.shared.fetch(named, record)
    }
}

impl Shared {
    fn fetch(&self, named: &str, record: &FileRecord) -> Result<Located> {
        // A file that is pushed once more with other bytes is another file.
        let version =
            record.blake3.get(..DIGITS).filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()));
        let version = version.ok_or_else(|| StoreError::Malformed {
            path: self.remote.location().join(named).into(),
            expected: "a BLAKE3 hash in its record".to_owned(),
            got: format!("`{}`", record.blake3.chars().take(80).collect::<String>()),
        })?;
        let path = self.folder.join(format!("{named}.{version}"));
        self.shelf.get(&path, record.bytes, |partial: &Path, file: &mut File| {
            download(&self.remote, named, record, partial, file, Earlier::Overwrite, &|_| ())
        })
    }
}

/// Whether a shard's file holds activations, and not a table or a record.
fn is_a_site(file: &FileRecord) -> bool {
    use crate::format::plan::{SEQUENCES_FILE, TOKENS_FILE};
    use crate::format::shard_record::SHARD_FILE;
    ![SHARD_FILE, SEQUENCES_FILE, TOKENS_FILE].contains(&file.path.as_str())
}

/// The error for a place without a manifest.
pub(crate) fn no_manifest(location: &Location) -> StoreError {
    let advice = match location.service() {
        Service::Web => mend(location),
        service => format!("`store push CACHE {location}` puts one there, its manifest last. {}", variables(service)),
    };
    StoreError::Remote {
        url: location.join(MANIFEST_FILE),
        action: "read",
        expected: "a cache".into(),
        got: "no such object".into(),
        advice: advice.into(),
    }
}
