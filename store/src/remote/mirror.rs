//! Reads a remote cache: files are fetched to a local file cache on demand.

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
use crate::remote::file_cache::FileCache;
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;
use crate::remote::traffic::Traffic;

/// Hexadecimal digits of a hash that identify a cache, or a version of a file, in the file cache.
const DIGITS: usize = 16;

/// A remote cache and its folder in the file cache.
#[derive(Debug)]
pub(crate) struct Mirror {
    shared: Arc<Shared>,
    /// The queue of files to prefetch.
    ahead: OnceLock<Sender<(String, FileRecord)>>,
}

#[derive(Debug)]
struct Shared {
    remote: Remote,
    files: FileCache,
    folder: PathBuf,
}

impl Mirror {
    /// Prepares to read the cache at `location`, without sending a request.
    pub(crate) fn open(location: &Location, options: &RemoteOptions) -> Result<Self> {
        let remote = Remote::connect(location, options)?;
        let files = FileCache::open(options.kept_in()?, options.limit)?;
        let key = blake3::hash(location.to_string().as_bytes()).to_hex();
        let folder = files.folder().join(&key[..DIGITS]);
        create_folders(machine().as_ref(), &folder)?;
        // For users who look at the folder; no code reads it.
        let _ = std::fs::write(folder.join("location.txt"), format!("{location}\n"));
        Ok(Self { shared: Arc::new(Shared { remote, files, folder }), ahead: OnceLock::new() })
    }

    /// Returns the local folder of this cache.
    pub(crate) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.shared.remote.traffic()
    }

    /// Returns the current bytes of `manifest.json`.
    pub(crate) fn manifest(&self) -> Result<Vec<u8>> {
        let remote = &self.shared.remote;
        let fetched = remote.get(MANIFEST_FILE)?.ok_or_else(|| no_manifest(remote.location()))?;
        Ok(fetched.bytes.to_vec())
    }

    /// Queues the files that reading `site` of `shard` needs for prefetch, and returns at once.
    ///
    /// A reader calls this for the next shard when it opens one, so at most one shard is queued. More would evict files in
    /// use.
    pub(crate) fn read_ahead(&self, shard: &ShardRecord, site: &SiteName) {
        let site_file = site.file_name();
        let ahead = self.ahead.get_or_init(|| {
            let (sender, wanted) = channel::<(String, FileRecord)>();
            let own = Arc::clone(&self.shared);
            thread::spawn(move || {
                for (name, record) in wanted {
                    if let Err(error) = own.fetch(&name, &record) {
                        // A reader that needs the file meets the same error.
                        tracing::debug!(file = name, %error, "cannot be read ahead");
                    }
                }
            });
            sender
        });
        for file in shard.files.iter().filter(|file| !is_a_site(file) || file.path == site_file) {
            // The thread lives as long as this mirror.
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
        // A file that is pushed again with other bytes gets another name.
        let version =
            record.blake3.get(..DIGITS).filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()));
        let version = version.ok_or_else(|| StoreError::Malformed {
            path: self.remote.location().join(named).into(),
            expected: "a BLAKE3 hash in its record".to_owned(),
            got: format!("`{}`", record.blake3.chars().take(80).collect::<String>()),
        })?;
        let path = self.folder.join(format!("{named}.{version}"));
        self.files.get(&path, record.bytes, |partial: &Path, file: &mut File| {
            download(&self.remote, named, record, partial, file, Earlier::Overwrite, &|_| ())
        })
    }
}

/// Whether a shard's file holds activations rather than a table or a record.
fn is_a_site(file: &FileRecord) -> bool {
    use crate::format::plan::{SEQUENCES_FILE, TOKENS_FILE};
    use crate::format::shard_record::SHARD_FILE;
    ![SHARD_FILE, SEQUENCES_FILE, TOKENS_FILE].contains(&file.path.as_str())
}

/// Returns the error for a location without a manifest.
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
