//! An S3 server on loopback for trying things out: one empty bucket, `farm`, in a temporary folder that goes with it.
//!
//! ```text
//! cargo run -p hayloft-store --example loopback
//! ```
//!
//! Prints the variables that let a client in, as lines for a shell to evaluate, and then does what its standard input
//! says: `fail 10` lets every tenth request fail from then on, in turn in each of the ways that requests fail, `fail 0`
//! none; `counts` prints a line of JSON. It ends when its input does.
#![allow(clippy::print_stdout, reason = "that is what it is for")]
#![allow(clippy::unwrap_used, reason = "it is no program for users")]

#[path = "../tests/remote/server.rs"]
mod server;

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::atomic::Ordering;

use server::{Fault, Server};

fn main() {
    let server = Server::start();
    for (name, value) in server.environment() {
        println!("export {name}={value}");
    }
    println!("ready");
    for line in stdin().lock().lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("fail", every) => {
                let kinds = [Fault::ServerError, Fault::Truncate, Fault::Reset, Fault::LostAnswer];
                server.behaviour.fail_every(every.trim().parse().unwrap(), &kinds);
                println!("ready");
            }
            ("counts", _) => {
                let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
                let read = server.behaviour.take_read();
                let counts = serde_json::json!({
                    "requests": count(&server.behaviour.requests),
                    "failed": count(&server.behaviour.failed),
                    "bytes_read": read.values().sum::<u64>(),
                    "objects_read": read.len(),
                });
                println!("{counts}");
            }
            (other, _) => println!("unknown: {other}"),
        }
        stdout().flush().unwrap();
    }
}
