//! A Hub on loopback: the routes, headers and redirects of the real one, and its failures on order.
//!
//! Small files are served by the Hub itself with git's blob id as `ETag`; large ones are redirected to another origin,
//! the store, under a signed address. Each connection carries one request.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a failing test names the place")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use hayloft_runtime::hexadecimal;
pub use hayloft_runtime::sha256_hex as sha256;
use serde_json::{Value, json};
use sha2::Digest;

/// The first commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of a repository that the Hub has.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// The name.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
    /// Kept in the store rather than in git.
    pub large: bool,
}

/// A request that came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `hub` or `store`.
    pub server: &'static str,
    /// The path and the query.
    pub target: String,
    /// The header `Range`.
    pub range: Option<String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

/// A repository: its commits, of which the last is `main`.
#[derive(Debug)]
struct RemoteRepo {
    /// `models/o/m`.
    path: String,
    commits: Vec<(String, Vec<RemoteFile>)>,
}

/// What goes wrong once, at the next request whose target holds a text.
#[derive(Debug)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Another status, with more header lines.
    Status(u16, &'static str),
    /// The whole file, whatever range is asked for.
    IgnoreRange,
    /// Another body, with the right length said of it.
    Body(Vec<u8>),
    /// A redirect.
    Redirect(String),
}

#[derive(Debug, Default)]
struct State {
    repositories: Vec<RemoteRepo>,
    requests: Vec<Request>,
    faults: VecDeque<(String, Fault)>,
    /// Whether the listing says sizes and hashes, as a mirror may not.
    terse: bool,
    store: String,
}

/// A Hub on loopback, and the store that it redirects to.
#[derive(Debug)]
pub struct TestHub {
    state: Arc<Mutex<State>>,
    /// The address of the Hub.
    pub hub: String,
    /// The address of the store.
    pub store: String,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The git blob id of bytes.
pub fn blob_id(bytes: &[u8]) -> String {
    let hash = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
    hexadecimal(&hash)
}

impl TestHub {
    /// Starts a Hub whose repositories `o/m`, a model, and `o/d`, a dataset, have these files.
    pub fn start(files: Vec<RemoteFile>) -> Self {
        let repo = |path: &str, files: Vec<RemoteFile>| RemoteRepo {
            path: path.to_owned(),
            commits: vec![(COMMIT.to_owned(), files)],
        };
        let repositories = vec![repo("models/o/m", files.clone()), repo("datasets/o/d", files)];
        let state = Arc::new(Mutex::new(State { repositories, ..State::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (mut addresses, mut threads) = (Vec::new(), Vec::new());
        for server in ["hub", "store"] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            addresses.push(format!("http://{}", listener.local_addr().unwrap()));
            let (state, stop) = (state.clone(), stop.clone());
            threads.push(thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    // A client that goes away early is its own affair.
                    let _ = stream.and_then(|stream| serve(server, stream, &state));
                }
            }));
        }
        let [hub, store] = <[String; 2]>::try_from(addresses).unwrap();
        state.lock().unwrap().store.clone_from(&store);
        Self { state, hub, store, stop, threads }
    }

    /// Adds a model repository with these files, or a commit to it; returns the commit.
    pub fn publish(&self, id: &str, files: Vec<RemoteFile>) -> String {
        let mut state = self.state.lock().unwrap();
        let path = format!("models/{id}");
        let known = state.repositories.iter_mut().find(|repo| repo.path == path);
        let count = known.as_ref().map_or(0, |repo| repo.commits.len());
        let commit = if count == 0 { COMMIT.to_owned() } else { format!("{count:040x}") };
        match known {
            Some(repo) => repo.commits.push((commit.clone(), files)),
            None => state.repositories.push(RemoteRepo { path, commits: vec![(commit.clone(), files)] }),
        }
        commit
    }

    /// Lets the next request whose target holds a text fail.
    pub fn fault(&self, target: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push_back((target.to_owned(), fault));
    }

    /// The requests so far, which are then forgotten.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Leaves sizes and hashes out of listings.
    pub fn be_terse(&self) {
        self.state.lock().unwrap().terse = true;
    }

    /// Replaces a file's content in every commit that has it.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let commits = state.repositories.iter_mut().flat_map(|repo| &mut repo.commits);
        for file in commits.flat_map(|(_, files)| files).filter(|file| file.name == name) {
            file.bytes = bytes.to_vec();
        }
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for address in [&self.hub, &self.store] {
            let _ = TcpStream::connect(address.trim_start_matches("http://"));
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn serve(server: &'static str, mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { server, target, ..Request::default() };
    for line in lines {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => request.range = Some(value.trim().to_owned()),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                request.authorization = Some(value.trim().to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let position = state.faults.iter().position(|(target, _)| request.target.contains(target.as_str()));
        let fault = position.and_then(|position| state.faults.remove(position)).map(|(_, fault)| fault);
        answer(&state, &request, fault)
    };
    stream.write_all(&answer)?;
    stream.shutdown(std::net::Shutdown::Both)
}

fn answer(state: &State, request: &Request, fault: Option<Fault>) -> Vec<u8> {
    let target = request.target.split('?').next().unwrap();
    match fault {
        Some(Fault::Status(status, headers)) => return respond(status, headers, b"", None),
        Some(Fault::Redirect(location)) => return respond(302, &format!("Location: {location}\r\n"), b"", None),
        _ => {}
    }
    let all = || state.repositories.iter().flat_map(|repo| &repo.commits).flat_map(|(_, files)| files);
    if request.server == "store" {
        let file = all().find(|file| target == format!("/{}", sha256(&file.bytes)));
        return match file {
            Some(file) => part(request, "ETag: \"an-md5\"\r\n", &file.bytes, fault),
            None => respond(403, "", b"", None),
        };
    }
    let missing = |what: &str| respond(404, &format!("X-Error-Code: {what}NotFound\r\n"), b"", None);
    let below = |repo: &RemoteRepo, api: bool| {
        let path =
            if api { format!("/api/{}/", repo.path) } else { format!("/{}/", repo.path.trim_start_matches("models/")) };
        target.strip_prefix(&path).map(str::to_owned)
    };
    let found = |api| state.repositories.iter().find_map(|repo| Some((repo, below(repo, api)?)));
    if let Some((repo, rest)) = found(true) {
        return api(state, request, repo, &rest, fault).unwrap_or_else(|| missing("Revision"));
    }
    let Some((repo, rest)) = found(false) else { return missing("Repo") };
    let Some((commit, name)) = rest.strip_prefix("resolve/").and_then(|rest| rest.split_once('/')) else {
        return missing("Entry");
    };
    let name = name.replace("%20", " ").replace("%23", "#");
    let Some((_, files)) = repo.commits.iter().find(|(known, _)| known == commit) else { return missing("Revision") };
    let Some(file) = files.iter().find(|file| file.name == name) else { return missing("Entry") };
    let commit = format!("X-Repo-Commit: {commit}\r\n");
    if file.large {
        let (hash, size) = (sha256(&file.bytes), file.bytes.len());
        let store = &state.store;
        let headers = format!(
            "{commit}X-Linked-Size: {size}\r\nX-Linked-Etag: \"{hash}\"\r\nLocation: {store}/{hash}?signature=s3cret\r\n"
        );
        respond(302, &headers, b"", None)
    } else {
        part(request, &format!("{commit}ETag: \"{}\"\r\n", blob_id(&file.bytes)), &file.bytes, fault)
    }
}

/// A listing, or the branches and tags; `None` for a revision that the repository lacks.
fn api(state: &State, request: &Request, repo: &RemoteRepo, rest: &str, fault: Option<Fault>) -> Option<Vec<u8>> {
    if rest == "refs" {
        let main = json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": repo.commits.last()?.0 });
        return Some(part(request, "", json!({ "branches": [main], "tags": [] }).to_string().as_bytes(), fault));
    }
    let revision = rest.strip_prefix("revision/")?;
    let mut commits = repo.commits.iter();
    let (commit, files) =
        if revision == "main" { commits.next_back()? } else { commits.find(|(own, _)| own == revision)? };
    let files: Vec<Value> = files.iter().map(|file| described(file, state.terse)).collect();
    let listing = json!({ "id": repo.path, "sha": commit, "siblings": files }).to_string();
    Some(part(request, "", listing.as_bytes(), fault))
}

fn described(file: &RemoteFile, terse: bool) -> Value {
    let RemoteFile { name, bytes, large } = file;
    if terse {
        return json!({ "rfilename": name });
    }
    let mut described = json!({ "rfilename": name, "size": bytes.len(), "blobId": blob_id(bytes) });
    if *large {
        described["lfs"] = json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 });
    }
    described
}

/// The bytes that are asked for.
fn part(request: &Request, headers: &str, bytes: &[u8], fault: Option<Fault>) -> Vec<u8> {
    let from = request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match (fault, from) {
        (Some(Fault::Cut(after)), from) => {
            let rest = &bytes[from.unwrap_or(0)..];
            let headers = ranged(headers, from, bytes.len());
            respond(if from.is_some() { 206 } else { 200 }, &headers, &rest[..after.min(rest.len())], Some(rest.len()))
        }
        (Some(Fault::Body(body)), _) => respond(200, headers, &body, None),
        (None, Some(from)) if from >= bytes.len() => respond(416, headers, b"", None),
        (None, Some(from)) => respond(206, &ranged(headers, Some(from), bytes.len()), &bytes[from..], None),
        _ => respond(200, headers, bytes, None),
    }
}

fn ranged(headers: &str, from: Option<usize>, length: usize) -> String {
    from.map_or(headers.to_owned(), |from| format!("{headers}Content-Range: bytes {from}-{}/{length}\r\n", length - 1))
}

fn respond(status: u16, headers: &str, body: &[u8], length: Option<usize>) -> Vec<u8> {
    let length = length.unwrap_or(body.len());
    let head = format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
