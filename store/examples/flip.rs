//! Reads and verifies a cache once for each of many flipped bits, and says what was noticed: the inner loop of
//! `scripts/check flip`.
//!
//! ```text
//! cargo run --example flip -- CACHE <FLIPS
//! ```
//!
//! Each line of FLIPS is a file relative to CACHE, a byte in it and a bit, 0 to 7, with tabs between. The bit is flipped,
//! everything that can be read from the cache is read, the cache is verified, and the bit is flipped back. For each there
//! is a line: `read`, where reading it is an error that names the file; `verify`, where only `verify` names it and what was
//! read is the same; else what is wrong, beginning with `WRONG`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a small program for a script")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hayloft_store::{PlanReader, Result, Sequence, Tokens, verify};

/// What can be read: the cache, and the plan that it was made by.
type Read = (support::Everything, Vec<(Vec<Sequence>, Tokens)>);

fn read(folder: &Path) -> Result<Read> {
    let everything = support::read_everything(folder)?;
    let plan = PlanReader::open(folder)?;
    let shards = 0..plan.plan().shards.len();
    Ok((everything, shards.map(|shard| plan.sequences_and_tokens(shard)).collect::<Result<_>>()?))
}

fn judge(folder: &Path, name: &str, whole: &Read) -> String {
    // By the shard's record an error of its tables and sites is one of the file that it lists.
    let names_it = |text: &str| text.contains(name);
    let read_as_written = match read(folder) {
        Err(error) if names_it(&error.to_string()) => return "read".to_owned(),
        Err(error) => return format!("WRONG: an error that does not name it: {error}"),
        Ok(read) => read == *whole,
    };
    if !read_as_written {
        return "WRONG: other numbers were read, without an error".to_owned();
    }
    match verify(folder, &mut |_| ()) {
        Err(error) if names_it(&error.to_string()) => "verify".to_owned(),
        Ok(report) if report.damages.iter().any(|damage| names_it(&damage.file)) => "verify".to_owned(),
        Err(error) => format!("WRONG: verify fails and does not name it: {error}"),
        Ok(report) if report.damages.is_empty() => "WRONG: not noticed".to_owned(),
        Ok(report) => format!("WRONG: verify names other files: {:?}", report.damages),
    }
}

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("the cache's folder"));
    let whole = read(&folder).unwrap();
    assert_eq!(verify(&folder, &mut |_| ()).unwrap().damages, []);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, position, bit] = fields.as_slice() else { panic!("expected FILE BYTE BIT, got {line:?}") };
        let (position, bit): (u64, u32) = (position.parse().unwrap(), bit.parse().unwrap());
        let path = folder.join(name);
        let before = fs::read(&path).unwrap()[position as usize];
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[before ^ 1 << bit], position).unwrap();
        let judged = judge(&folder, name, &whole);
        file.write_all_at(&[before], position).unwrap();
        println!("{}", judged.replace('\n', " "));
        std::io::stdout().flush().unwrap();
    }
}
