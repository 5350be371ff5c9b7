//! Recovers the tables of a plan and of its shards from one another, byte for byte.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::format::plan::{PLAN_FILE, PlanReader, SEQUENCES_FILE, TOKENS_FILE, write_tokens};
use crate::format::records::FileRecord;
use crate::format::shard_record::{SHARD_FILE, ShardContents};
use crate::format::tables::{sequences, tokens};
use crate::fs::folder::Folder;
use crate::fs::hash::{blake3_hex, read_verified};
use crate::fs::json;
use crate::fs::map::map_file;

/// A damaged table, and its bytes if they could be recovered.
pub(super) struct DamagedTable {
    /// Relative to the cache's folder.
    pub(super) file: String,
    /// What is wrong with it.
    pub(super) problem: String,
    /// The recovered bytes, which have the recorded hash.
    pub(super) bytes: Option<Vec<u8>>,
    /// Where they were recovered from.
    pub(super) source: String,
}

/// The damaged tables of planned shard `index`: those of the plan, and the sequences in `shard`, the shard's folder
/// relative to `cache`, if it exists.
pub(super) fn damaged_tables(cache: &Path, plan: &PlanReader, index: usize, shard: &str) -> Result<Vec<DamagedTable>> {
    let planned = plan.shard(index)?;
    let (plan_path, folder) = (cache.join(PLAN_FILE), Folder::new(cache));
    let contents = contents(&cache.join(shard));
    let mut damaged = Vec::new();
    let [sequences_record, tokens_record] = planned.files.as_slice() else {
        return Ok(damaged);
    };
    let of_plan = intact(&folder, &plan_path, sequences_record);
    let in_shard = contents.as_ref().filter(|contents| {
        contents.files.first().is_some_and(|file| {
            // The records match, so either copy can replace the other.
            (file.blake3.as_str(), file.bytes) == (&*sequences_record.blake3, sequences_record.bytes)
        })
    });
    let shard_sequences = format!("{shard}/{SEQUENCES_FILE}");
    let of_shard = in_shard.map(|_| {
        let record = FileRecord { path: shard_sequences.clone(), ..sequences_record.clone() };
        intact(&folder, &plan_path, &record)
    });
    if let Err(problem) = &of_plan {
        let bytes = of_shard.as_ref().and_then(|bytes| bytes.as_ref().ok()).cloned();
        damaged.push(DamagedTable {
            file: sequences_record.path.clone(),
            problem: problem.clone(),
            bytes,
            source: shard_sequences.clone(),
        });
    }
    if let Some(Err(problem)) = &of_shard {
        damaged.push(DamagedTable {
            file: shard_sequences.clone(),
            problem: problem.clone(),
            bytes: of_plan.as_ref().ok().cloned(),
            source: sequences_record.path.clone(),
        });
    }
    if let Err(problem) = intact(&folder, &plan_path, tokens_record) {
        let sequences = of_plan.ok().or_else(|| of_shard.and_then(Result::ok));
        let bytes = contents
            .as_ref()
            .zip(sequences)
            .and_then(|(contents, sequences)| planned_tokens(cache, shard, contents, sequences, tokens_record));
        let source = format!("{shard}/{TOKENS_FILE}");
        damaged.push(DamagedTable { file: tokens_record.path.clone(), problem, bytes, source });
    }
    Ok(damaged)
}

/// The bytes of a recorded file, or a description of what is wrong with it.
fn intact(folder: &Folder, named_in: &Path, record: &FileRecord) -> Result<Vec<u8>, String> {
    let read = folder.locate(named_in, &record.path).and_then(|path| read_verified(&path, record));
    read.map(|bytes| bytes.to_vec()).map_err(|error| error.to_string())
}

/// A shard's record, if it is intact.
fn contents(shard: &Path) -> Option<ShardContents> {
    let path = shard.join(SHARD_FILE);
    let bytes = json::read(&path).ok()?;
    json::unseal(&path, &bytes).ok()
}

/// Rebuilds the plan's token table from the shard's, if the hashes of both match their records.
fn planned_tokens(
    cache: &Path,
    shard: &str,
    contents: &ShardContents,
    sequences: Vec<u8>,
    wanted: &FileRecord,
) -> Option<Vec<u8>> {
    let record = contents.files.get(1)?;
    let path: PathBuf = cache.join(shard).join(TOKENS_FILE);
    let bytes = map_file(&path).ok()?.bytes;
    if blake3_hex(&bytes) != record.blake3 {
        return None;
    }
    let counts = &contents.counts;
    let sequences = sequences::read(&path, sequences.into(), counts.sequences, counts.tokens).ok()?;
    let tokens = tokens::read(&path, bytes, counts.tokens, &sequences).ok()?;
    let mut made: io::Cursor<Vec<u8>> = io::Cursor::default();
    write_tokens(&path, &mut made, &tokens).ok()?;
    let made = made.into_inner();
    (blake3_hex(&made) == wanted.blake3).then_some(made)
}
