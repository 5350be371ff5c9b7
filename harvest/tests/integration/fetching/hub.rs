//! A Hub on loopback: the routes, headers and redirects of the real one, and its failures on order.
//!
//! Small files are served by the Hub itself with git's blob id as `ETag`; large ones are redirected to another origin,
//! the store, under a signed address. Each connection carries one request.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use sha2::Digest;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the repository that the Hub has.
pub struct RemoteFile {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Kept in the store rather than in git.
    pub large: bool,
}

/// A request that came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `hub` or `store`.
    pub server: &'static str,
    pub target: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// What goes wrong once, at the next request whose target holds a text.
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

#[derive(Default)]
struct State {
    files: Vec<RemoteFile>,
    requests: Vec<Request>,
    faults: VecDeque<(String, Fault)>,
    /// Whether the listing says sizes and hashes, as a mirror may not.
    terse: bool,
    store: String,
}

pub struct TestHub {
    state: Arc<Mutex<State>>,
    pub hub: String,
    pub store: String,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&sha2::Sha256::digest(bytes))
}

fn blob_id(bytes: &[u8]) -> String {
    let hash = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
    hexadecimal(&hash)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl TestHub {
    pub fn start(files: Vec<RemoteFile>) -> Self {
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
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

    pub fn fault(&self, target: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push_back((target.to_owned(), fault));
    }

    /// The requests so far, which are then forgotten.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    pub fn be_terse(&self) {
        self.state.lock().unwrap().terse = true;
    }

    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.files.iter_mut().find(|file| file.name == name).unwrap().bytes = bytes.to_vec();
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
    if request.server == "store" {
        let file = state.files.iter().find(|file| target == format!("/{}", sha256(&file.bytes)));
        return match file {
            Some(file) => part(request, "ETag: \"an-md5\"\r\n", &file.bytes, fault),
            None => respond(403, "", b"", None),
        };
    }
    if let Some(rest) = target.strip_prefix("/api/models/o/m/").or_else(|| target.strip_prefix("/api/datasets/o/d/")) {
        return match rest {
            "revision/main" | "revision/0123456789abcdef0123456789abcdef01234567" => {
                let files: Vec<Value> = state.files.iter().map(|file| described(file, state.terse)).collect();
                let listing = json!({ "id": "o/m", "sha": COMMIT, "siblings": files }).to_string();
                part(request, "", listing.as_bytes(), fault)
            }
            _ => respond(404, "X-Error-Code: RevisionNotFound\r\n", b"", None),
        };
    }
    let resolve = format!("/resolve/{COMMIT}/");
    let name = target.strip_prefix("/datasets/o/d").or_else(|| target.strip_prefix("/o/m"));
    let Some(name) = name.and_then(|rest| rest.strip_prefix(resolve.as_str())) else {
        return respond(404, "X-Error-Code: RepoNotFound\r\n", b"", None);
    };
    let name = name.replace("%20", " ").replace("%23", "#");
    let Some(file) = state.files.iter().find(|file| file.name == name) else {
        return respond(404, "X-Error-Code: EntryNotFound\r\n", b"", None);
    };
    let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
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
