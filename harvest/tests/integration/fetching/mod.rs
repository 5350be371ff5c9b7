//! Fetching from a Hub on loopback.

mod fetches;
mod program;
mod refusals;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hayloft_harvest::{FetchError, FetchMode, FetchSettings, FetchSummary, fetch};
use hayloft_hub::test_hub::{RemoteFile, TestHub};
use hayloft_hub::{Endpoint, HubSettings, NetworkAccess, RetrySettings, Token};
use hayloft_runtime::Progress;

const TOKEN: &str = "hf_do_not_tell";

/// A Hub with one repository, a fetch manifest, and a folder to fetch into.
struct Field {
    hub: TestHub,
    folder: tempfile::TempDir,
}

/// Bytes that differ everywhere.
fn weights(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 31 + index / 251) as u8).collect()
}

fn file(name: &str, bytes: impl Into<Vec<u8>>, large: bool) -> RemoteFile {
    RemoteFile { name: name.to_owned(), bytes: bytes.into(), large }
}

impl Field {
    fn new() -> Self {
        Self::with(vec![
            file(".gitattributes", "* text", false),
            file("README.md", "# m", false),
            file("config.json", "{}", false),
            file("tokenizer.json", "{\"t\": 1}", false),
            file("tokenizer_config.json", "{}\n", false),
            file("model.safetensors", weights(100_000), true),
            file("pytorch_model.bin", "a pickle", true),
            file("onnx/model.safetensors", "other", true),
        ])
    }

    fn with(files: Vec<RemoteFile>) -> Self {
        let field = Self { hub: TestHub::start(files), folder: tempfile::tempdir().unwrap() };
        field.manifest("[[models]]\nname = \"m\"\nrepo = \"o/m\"\n");
        field
    }

    fn manifest(&self, text: &str) {
        fs::write(self.path("fetch.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> FetchSettings {
        let hub = HubSettings {
            endpoint: Endpoint::new(&self.hub.hub, "HF_ENDPOINT").unwrap(),
            token: None,
            cache: self.path("home/hub"),
            network: NetworkAccess::Online,
            retries: RetrySettings { attempts: 3, first_wait: Duration::from_millis(1), ..RetrySettings::default() },
        };
        let (manifest, out) = (self.path("fetch.toml"), self.path("out"));
        FetchSettings { manifest, out, names: Vec::new(), mode: FetchMode::Fetch, hub }
    }

    /// Settings that give up at once.
    fn impatient(&self) -> FetchSettings {
        let mut settings = self.settings();
        settings.hub.retries.attempts = 1;
        settings
    }

    fn with_token(&self) -> FetchSettings {
        let mut settings = self.settings();
        settings.hub.token = Some(Token::new(TOKEN, "HF_TOKEN").unwrap());
        settings
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names in the folder of an entry, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

fn fetched(settings: &FetchSettings) -> FetchSummary {
    fetch(settings, Progress::Silent).unwrap()
}

fn refusal(settings: &FetchSettings) -> FetchError {
    fetch(settings, Progress::Silent).unwrap_err()
}
