//! Models by their ids, from a Hub on loopback.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_runtime::Progress;

use crate::error::HubError;
use crate::model::{ModelFiles, model_folder};
use crate::settings::{Endpoint, HubSettings, NetworkAccess, RetrySettings, Token};
use crate::test_hub::{COMMIT, Fault, RemoteFile, TestHub, sha256};

const ALL: ModelFiles = ModelFiles::All;

/// A Hub with the model `o/m`, and a cache.
struct Field {
    hub: TestHub,
    home: tempfile::TempDir,
    settings: HubSettings,
}

fn weights(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 31 + index / 251) as u8).collect()
}

fn file(name: &str, bytes: impl Into<Vec<u8>>, large: bool) -> RemoteFile {
    RemoteFile { name: name.to_owned(), bytes: bytes.into(), large }
}

fn model(config: &str) -> Vec<RemoteFile> {
    vec![
        file("README.md", "# m", false),
        file("config.json", config, false),
        file("tokenizer.json", "{\"t\": 1}", false),
        file("tokenizer_config.json", "{}\n", false),
        file("model.safetensors", weights(100_000), true),
        file("pytorch_model.bin", "a pickle", true),
        file("onnx/model.safetensors", "other", true),
    ]
}

impl Field {
    fn new() -> Self {
        Self::with(model("{}"))
    }

    fn with(files: Vec<RemoteFile>) -> Self {
        let (hub, home) = (TestHub::start(files), tempfile::tempdir().unwrap());
        let settings = HubSettings {
            endpoint: Endpoint::new(&hub.hub, "HF_ENDPOINT").unwrap(),
            token: None,
            cache: home.path().join("hub"),
            network: NetworkAccess::Online,
            retries: RetrySettings { attempts: 2, first_wait: Duration::from_millis(1), ..RetrySettings::default() },
        };
        Self { hub, home, settings }
    }

    fn find_with(id: &str, files: ModelFiles, settings: &HubSettings) -> Result<PathBuf, HubError> {
        model_folder(Path::new(id), files, || Ok(settings.clone()), Progress::Silent)
    }

    fn find(&self, id: &str, files: ModelFiles) -> PathBuf {
        Self::find_with(id, files, &self.settings).unwrap()
    }

    fn refusal(&self, id: &str, files: ModelFiles) -> String {
        Self::find_with(id, files, &self.settings).unwrap_err().to_string()
    }

    fn offline(&self) -> HubSettings {
        HubSettings { network: NetworkAccess::Offline { said_by: "HF_HUB_OFFLINE" }, ..self.settings.clone() }
    }

    fn repo(&self) -> PathBuf {
        self.settings.cache.join("models--o--m")
    }

    fn snapshot(&self) -> PathBuf {
        self.repo().join("snapshots").join(COMMIT)
    }

    fn names(&self) -> Vec<String> {
        names(&self.snapshot())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_model_is_fetched_once_and_then_found_without_a_request() {
    let field = Field::new();
    let folder = field.find("o/m", ALL);
    assert_eq!(folder, field.snapshot());
    assert_eq!(field.names(), ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights(100_000));
    let target = fs::read_link(folder.join("model.safetensors")).unwrap();
    assert_eq!(target, PathBuf::from(format!("../../blobs/{}", sha256(&weights(100_000)))));
    assert_eq!(fs::read_to_string(field.repo().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(names(&field.repo().join("blobs")).len(), 4, "nothing is left beside the blobs");
    assert!(field.repo().join(".no_exist").join(COMMIT).join("chat_template.jinja").is_file());

    field.hub.requests();
    assert_eq!(field.find("o/m", ALL), folder);
    assert_eq!(field.find(&format!("o/m@{COMMIT}"), ALL), folder);
    assert_eq!(Field::find_with("o/m", ALL, &field.offline()).unwrap(), folder);
    assert!(field.hub.requests().is_empty());
}

#[test]
fn no_more_is_fetched_than_is_needed() {
    let field = Field::new();
    field.find("o/m", ModelFiles::Config);
    assert_eq!(field.names(), ["config.json"]);
    field.find("o/m", ModelFiles::Tokenizer);
    assert_eq!(field.names(), ["config.json", "tokenizer.json", "tokenizer_config.json"]);
    field.hub.requests();
    field.find("o/m", ALL);
    let of_files = |target: &str| target.contains("/resolve/");
    assert_eq!(field.hub.requests().iter().filter(|request| of_files(&request.target)).count(), 1, "the weights alone");
}

#[test]
fn a_branch_that_moved_stays_as_long_as_its_commit_is_whole() {
    let field = Field::new();
    let before = field.find("o/m", ALL);
    let commit = field.hub.publish("o/m", model("{\"moved\": 1}"));
    assert_eq!(field.find("o/m", ALL), before);

    field.hub.requests();
    let after = field.find(&format!("o/m@{commit}"), ALL);
    assert_eq!(fs::read_to_string(after.join("config.json")).unwrap(), "{\"moved\": 1}");
    let from_store = field.hub.requests().iter().filter(|request| request.server == "store").count();
    assert_eq!(from_store, 0, "the weights are the same blob");
    assert_eq!(field.find("o/m", ALL), before, "main is what the cache has of it");

    fs::remove_file(before.join("model.safetensors")).unwrap();
    assert_eq!(field.find("o/m", ALL), after);
    assert_eq!(fs::read_to_string(field.repo().join("refs/main")).unwrap(), commit);
}

#[test]
fn a_folder_that_exists_comes_first_and_a_path_is_never_asked_for() {
    let field = Field::new();
    let folder = field.home.path().join("here");
    fs::create_dir(&folder).unwrap();
    let unasked = || -> Result<HubSettings, HubError> { panic!("the settings are asked for") };
    assert_eq!(model_folder(&folder, ALL, unasked, Progress::Silent).unwrap(), folder);
    for path in ["./m", "/none/m", "../none", "a/b/c", "models/o/m/", "o/m@", "~/m"] {
        let message = model_folder(Path::new(path), ALL, unasked, Progress::Silent).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{path}: no such folder")), "{message}");
    }
}

#[test]
fn what_would_be_fetched_is_told_offline() {
    let field = Field::new();
    let refuse = |id: &str, files| Field::find_with(id, files, &field.offline()).unwrap_err().to_string();
    let message = refuse("o/m", ALL);
    let cache = field.settings.cache.display().to_string();
    for words in
        ["o/m: no such folder here", "HF_HUB_OFFLINE", "config.json and model.safetensors", &field.hub.hub, &cache]
    {
        assert!(message.contains(words), "{message}");
    }
    field.find("o/m", ModelFiles::Tokenizer);
    let message = refuse("o/m", ALL);
    assert!(message.contains("got config.json, tokenizer.json"), "{message}");
    assert!(refuse("o/m@v9", ModelFiles::Config).contains("o/m at v9"));
}

#[test]
fn a_cache_of_another_program_is_used_and_completed() {
    let field = Field::new();
    field.find("o/m", ALL);
    // What transformers leaves where only the model was opened.
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::remove_file(field.snapshot().join(name)).unwrap();
    }
    fs::remove_dir_all(field.repo().join(".no_exist")).unwrap();
    assert_eq!(Field::find_with("o/m", ALL, &field.offline()).unwrap(), field.snapshot(), "with a warning");
    let mut unreachable = field.settings.clone();
    unreachable.endpoint = Endpoint::new("http://127.0.0.1:9", "HF_ENDPOINT").unwrap();
    assert_eq!(Field::find_with("o/m", ALL, &unreachable).unwrap(), field.snapshot(), "with a warning");
    field.find("o/m", ALL);
    assert_eq!(field.names(), ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
}

#[test]
fn blobs_that_repositories_share_are_followed() {
    let field = Field::new();
    field.find("o/m", ALL);
    let blob = field.repo().join("blobs").join(sha256(&weights(100_000)));
    let shared = field.settings.cache.join("blobs/ab").join("ab".repeat(32));
    fs::create_dir_all(shared.parent().unwrap()).unwrap();
    fs::rename(&blob, &shared).unwrap();
    symlink(format!("../../blobs/ab/{}", "ab".repeat(32)), &blob).unwrap();
    field.hub.requests();
    assert_eq!(field.find("o/m", ALL), field.snapshot());
    assert!(field.hub.requests().is_empty());
    // A link out of the cache is none of its files.
    let outside = field.home.path().join("outside");
    fs::rename(&shared, &outside).unwrap();
    symlink(&outside, &shared).unwrap();
    field.find("o/m", ALL);
    assert!(!field.hub.requests().is_empty());
}

#[test]
fn a_gated_model_names_the_page_where_access_is_granted() {
    let field = Field::new();
    for (status, target) in [(403, "/resolve/"), (401, "/api/")] {
        field.hub.fault(target, Fault::Status(status, "X-Error-Code: GatedRepo\r\n"));
        let message = field.refusal("o/m", ALL);
        assert!(message.contains(&format!("Accept its terms at {}/o/m", field.hub.hub)), "{message}");
        assert!(message.contains("HF_TOKEN"), "{message}");
    }
    assert!(!field.snapshot().join("config.json").exists() && !field.repo().join("refs").exists());
}

#[test]
fn a_missing_repository_revision_or_file_is_named() {
    let field = Field::new();
    let message = field.refusal("o/none", ALL);
    assert!(message.contains("o/none: no such folder here") && message.contains("no such repository"), "{message}");
    let message = field.refusal("o/m@mian", ALL);
    assert!(message.contains("no such revision. It has \"main\". Did you mean main?"), "{message}");
    field.hub.publish("o/p", vec![file("config.json", "{}", false), file("pytorch_model.bin", "pickle", true)]);
    let message = field.refusal("o/p", ALL);
    assert!(message.contains("model.safetensors.index.json") && message.contains("save_pretrained"), "{message}");
    assert!(message.contains("got config.json, pytorch_model.bin"), "{message}");
    field.hub.publish("o/lora", vec![file("adapter_config.json", "{}", false)]);
    assert!(field.refusal("o/lora", ALL).contains("merge_and_unload"));
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let field = Field::new();
    let token = Some(Token::new("hf_do_not_tell", "HF_TOKEN").unwrap());
    Field::find_with("o/m", ALL, &HubSettings { token, ..field.settings.clone() }).unwrap();
    let requests = field.hub.requests();
    assert!(requests.iter().any(|request| request.server == "store"));
    for request in requests {
        assert_eq!(request.authorization.is_some(), request.server == "hub", "{request:?}");
    }
}

#[test]
fn a_broken_download_is_never_in_a_snapshot() {
    let field = Field::new();
    let hash = sha256(&weights(100_000));
    for fault in [Fault::Cut(40_000), Fault::Cut(1000)] {
        field.hub.fault(&hash, fault);
    }
    let message = field.refusal("o/m", ALL);
    assert!(message.contains("expected 100000 bytes, got 41000"), "{message}");
    assert!(!field.snapshot().join("model.safetensors").exists() && !field.repo().join("refs").exists());
    field.hub.requests();
    field.find("o/m", ALL);
    // The Hub leads to the store, which is asked for the same range.
    let ranges: Vec<_> = field.hub.requests().into_iter().filter(|request| request.server == "store").collect();
    assert_eq!(ranges.iter().map(|request| request.range.as_deref()).collect::<Vec<_>>(), [Some("bytes=41000-")]);
}

#[test]
fn a_wrong_hash_or_size_is_not_kept() {
    for body in [vec![1; 100_000], vec![1; 200_000]] {
        let field = Field::new();
        field.hub.fault(&sha256(&weights(100_000)), Fault::Body(body));
        let message = field.refusal("o/m", ALL);
        assert!(message.contains("o/m: model.safetensors"), "{message}");
        assert!(!field.snapshot().join("model.safetensors").exists());
        field.find("o/m", ALL);
    }
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for hostile in ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt"] {
        let field = Field::with([model("{}"), vec![file(hostile, "evil", false)]].concat());
        assert!(field.refusal("o/m", ALL).contains("nothing of this repository is fetched"));
        assert!(!field.repo().exists());
    }
    let index = |name: &str| format!("{{\"weight_map\": {{\"a\": \"{name}\", \"b\": \"part-2.safetensors\"}}}}");
    let sharded = |name: &str| {
        let files = [
            ("config.json", "{}"),
            ("part-1.safetensors", "1"),
            ("part-2.safetensors", "2"),
            ("other.safetensors", "3"),
        ];
        let files = files.map(|(name, text)| file(name, text, false)).to_vec();
        [files, vec![file("model.safetensors.index.json", index(name), false)]].concat()
    };
    let field = Field::with(sharded("../../x"));
    assert!(field.refusal("o/m", ALL).contains("expected a relative path of plain names"));
    let field = Field::with(sharded("part-3.safetensors"));
    assert!(field.refusal("o/m", ALL).contains("expected part-3.safetensors, got "));
    let field = Field::with(sharded("part-1.safetensors"));
    field.find("o/m", ALL);
    let expected = ["config.json", "model.safetensors.index.json", "part-1.safetensors", "part-2.safetensors"];
    assert_eq!(field.names(), expected);
    fs::remove_file(field.snapshot().join("part-2.safetensors")).unwrap();
    assert!(Field::find_with("o/m", ALL, &field.offline()).unwrap_err().to_string().contains("part-2.safetensors"));
}

#[test]
fn two_processes_fetch_each_file_once() {
    let field = Field::new();
    // A first request that fails keeps one of them waiting.
    field.hub.fault(&sha256(&weights(100_000)), Fault::Status(503, ""));
    let folders: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| field.find("o/m", ALL))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(folders.iter().all(|folder| *folder == field.snapshot()));
    let from_store = field.hub.requests().iter().filter(|request| request.server == "store").count();
    assert_eq!(from_store, 2, "the failure, and the one download");
    assert_eq!(names(&field.repo().join("blobs")).len(), 4);
}

#[test]
fn a_mirror_that_lists_names_alone_will_do() {
    let field = Field::new();
    field.hub.be_terse();
    let folder = field.find("o/m", ALL);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights(100_000));
    let blobs = names(&field.repo().join("blobs"));
    assert!(blobs.contains(&sha256(&weights(100_000))), "{blobs:?}");
    field.hub.requests();
    field.find("o/m", ALL);
    assert!(field.hub.requests().is_empty());
}
