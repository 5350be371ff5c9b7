//! An S3 server on loopback that misbehaves as asked: `s3s-fs` over a temporary folder, behind an injector of faults.
//!
//! `s3s-fs` honours `If-None-Match` and `If-Match`, but looks and writes in two steps; so writes that carry one of them
//! are let through one at a time, which makes them what a real service promises.
#![allow(dead_code, reason = "each of those who include it uses some of it")]
#![allow(clippy::unwrap_used, reason = "a server for tests fails by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub const ACCESS_KEY: &str = "FARMHANDACCESSKEY";
pub const SECRET_KEY: &str = "never-to-be-shown-0123456789";

/// The bucket that there is.
pub const BUCKET: &str = "farm";

/// What becomes of a request that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with 500 and not done.
    ServerError,
    /// It is done, and answered with 500: the answer is lost.
    LostAnswer,
    /// It is not answered in any time that one waits.
    Stall,
    /// Its answer ends half-way.
    Truncate,
    /// The connection is closed without an answer.
    Reset,
}

/// An answer in place of the service's own.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What the address of the request ends in.
    pub to: &'static str,
    pub status: u16,
    pub content_type: &'static str,
    pub body: &'static str,
}

/// How the server behaves, and what it saw.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// Every so many requests one fails; 0 for none.
    pub every: AtomicU64,
    /// How they fail, in turn.
    pub kinds: Mutex<Vec<Fault>>,
    /// Requests after so many hang; 0 for none.
    pub hang_after: AtomicU64,
    /// Requests so far.
    pub requests: AtomicU64,
    /// Those of them that failed as asked.
    pub failed: AtomicU64,
    /// Those that hang.
    pub hanging: AtomicU64,
    /// Whether it lacks the copying of objects.
    pub refuse_copies: AtomicBool,
    /// What is answered in place of what the service would.
    pub replies: Mutex<Vec<Reply>>,
    /// Whether a write that must be the first is done all the same.
    pub ignores_conditions: AtomicBool,
    /// Bytes of objects in answers to GET, by the object's name.
    pub read: Mutex<BTreeMap<String, u64>>,
}

impl Behaviour {
    pub fn fail_every(&self, every: u64, kinds: &[Fault]) {
        *self.kinds.lock().unwrap() = kinds.to_vec();
        self.every.store(every, Ordering::SeqCst);
    }

    /// Lets so many requests more through, and no other. 0 lets all through.
    pub fn hang_after(&self, more: u64) {
        let after = if more == 0 { 0 } else { self.requests.load(Ordering::SeqCst) + more };
        self.hang_after.store(after, Ordering::SeqCst);
    }

    /// Lets every request for an address that ends in `to` be answered so.
    pub fn reply(&self, to: &'static str, status: u16, content_type: &'static str, body: &'static str) {
        *self.replies.lock().unwrap() = vec![Reply { to, status, content_type, body }];
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// What was read since the last time this was asked.
    pub fn take_read(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.read.lock().unwrap())
    }

    fn fault(&self) -> Option<Fault> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let hang_after = self.hang_after.load(Ordering::SeqCst);
        if hang_after > 0 && number > hang_after {
            self.hanging.fetch_add(1, Ordering::SeqCst);
            return Some(Fault::Stall);
        }
        let every = self.every.load(Ordering::SeqCst);
        if every == 0 || !number.is_multiple_of(every) {
            return None;
        }
        let turn = self.failed.fetch_add(1, Ordering::SeqCst) as usize;
        let kinds = self.kinds.lock().unwrap();
        kinds.get(turn % kinds.len().max(1)).copied()
    }
}

/// A server, which ends when this is dropped.
pub struct Server {
    pub behaviour: Arc<Behaviour>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    _runtime: Runtime,
}

/// What every request needs.
struct Shared {
    behaviour: Arc<Behaviour>,
    service: S3Service,
    folder: PathBuf,
    /// Held by the one conditional write at a time.
    conditional: tokio::sync::Mutex<()>,
}

impl Server {
    /// Starts a server with one empty bucket, on a port that is free.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let behaviour = Arc::new(Behaviour::default());
        let (service, conditional) = (builder.build(), tokio::sync::Mutex::new(()));
        let shared = Arc::new(Shared {
            behaviour: Arc::clone(&behaviour),
            service,
            folder: folder.path().to_owned(),
            conditional,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                tokio::spawn(connection);
            }
        });
        Self { behaviour, address, folder, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The variables that let a client in.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let variables = [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Forgets all that is kept beside objects.
    pub fn forget_metadata(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap().flatten() {
            if entry.path().is_file() {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Where objects of the bucket are on the disk.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Answer>, std::io::Error> {
    let fault = shared.behaviour.fault();
    let failed = || {
        let mut response =
            Response::new(Answer::whole(Bytes::from_static(b"<Error><Code>InternalError</Code></Error>")));
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    };
    match fault {
        Some(Fault::ServerError) => return Ok(failed()),
        Some(Fault::Reset) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Stall) => tokio::time::sleep(Duration::from_secs(3600)).await,
        Some(Fault::LostAnswer | Fault::Truncate) | None => {}
    }
    if request.headers().contains_key("x-amz-copy-source") && shared.behaviour.refuse_copies.load(Ordering::SeqCst) {
        let mut refused =
            Response::new(Answer::whole(Bytes::from_static(b"<Error><Code>NotImplemented</Code></Error>")));
        *refused.status_mut() = hyper::StatusCode::BAD_REQUEST;
        return Ok(refused);
    }
    let reply =
        shared.behaviour.replies.lock().unwrap().iter().find(|reply| request.uri().path().ends_with(reply.to)).cloned();
    if let Some(reply) = reply {
        let body = Answer::whole(Bytes::from_static(reply.body.as_bytes()));
        let response = Response::builder().status(reply.status).header("content-type", reply.content_type).body(body);
        return response.map_err(std::io::Error::other);
    }
    // As with several services of S3's kind, objects are removed one by one.
    if request.method() == Method::POST && request.uri().query().is_some_and(|query| query.contains("delete")) {
        let mut response = Response::new(Answer::whole(Bytes::from_static(
            b"<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>",
        )));
        *response.status_mut() = hyper::StatusCode::NOT_IMPLEMENTED;
        return Ok(response);
    }
    let object = (request.method() == Method::GET).then(|| request.uri().path().to_owned());
    let conditional = request.headers().contains_key("if-match") || request.headers().contains_key("if-none-match");
    let turn = if conditional { Some(shared.conditional.lock().await) } else { None };
    if shared.behaviour.ignores_conditions.load(Ordering::SeqCst) && request.headers().contains_key("if-none-match") {
        let _ = std::fs::remove_file(shared.folder.join(request.uri().path().trim_start_matches('/')));
    }
    let response = Service::call(&shared.service, request).await.map_err(std::io::Error::other)?;
    drop(turn);
    if fault == Some(Fault::LostAnswer) {
        return Ok(failed());
    }
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let truncated = fault == Some(Fault::Truncate) && bytes.len() > 1;
    if let Some(object) = object.filter(|_| parts.status.is_success() && !truncated) {
        let name = object.trim_start_matches('/').trim_start_matches(BUCKET).trim_start_matches('/').to_owned();
        *shared.behaviour.read.lock().unwrap().entry(name).or_default() += bytes.len() as u64;
    }
    let body = if truncated { Answer::half(&bytes) } else { Answer::whole(bytes) };
    Ok(Response::from_parts(parts, body))
}

/// A body that is all there, or breaks off after its first half.
pub struct Answer {
    whole: Full<Bytes>,
    /// What is sent of it, once, and how long it was said to be.
    half: Option<(Option<Bytes>, u64)>,
}

impl Answer {
    fn whole(bytes: Bytes) -> Self {
        Self { whole: Full::new(bytes), half: None }
    }

    fn half(bytes: &Bytes) -> Self {
        let half = bytes.slice(..bytes.len() / 2);
        Self { whole: Full::default(), half: Some((Some(half), bytes.len() as u64)) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut self.half {
            Some((half, _)) => Poll::Ready(Some(match half.take() {
                Some(half) => Ok(Frame::data(half)),
                None => Err(std::io::ErrorKind::UnexpectedEof.into()),
            })),
            None => Pin::new(&mut self.whole).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.half.is_none() && self.whole.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.half.as_ref().map_or_else(|| self.whole.size_hint(), |(_, length)| SizeHint::with_exact(*length))
    }
}
