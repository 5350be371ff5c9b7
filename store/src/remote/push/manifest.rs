//! The last step of a push: updates the manifest, conditional on the version it was made from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PlanReader, shard_name};
use crate::format::records::ShardRecord;
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, WrittenShard};
use crate::format::totals::manifest_of;
use crate::fs::hash::blake3_hex;
use crate::fs::json;
use crate::read::cache::check_contents;
use crate::remote::blocking::Remote;
use crate::remote::failure::mend;
use crate::remote::location::Location;
use crate::remote::push::Push;
use crate::remote::workers::in_parallel;

/// Upper bound on lost races. More than the number of concurrent pushes, each of which can win once.
const ROUNDS: u32 = 100;

/// Checks that the manifest at the location describes the same cache.
///
/// # Errors
/// [`StoreError::Mismatch`] with what differs: plan, settings, or a shard's bytes.
pub(crate) fn check_same(location: &Location, there: &Manifest, ours: &Manifest) -> Result<()> {
    let differs = |name: &str, field: &str, expected: &str, got: &str| {
        let (path, field) = (location.join(name).into(), field.to_owned());
        Err(StoreError::Mismatch { path, field, expected: expected.to_owned(), got: got.to_owned() })
    };
    if there.plan_blake3 != ours.plan_blake3 {
        return differs(MANIFEST_FILE, "plan_blake3", &ours.plan_blake3, &there.plan_blake3);
    }
    if let Some((field, expected, got)) = ours.settings().difference(&there.settings()) {
        return differs(MANIFEST_FILE, &field, &expected, &got);
    }
    let by_index: BTreeMap<usize, &ShardRecord> = there.shards.iter().map(|shard| (shard.index, shard)).collect();
    for shard in &ours.shards {
        let Some(other) = by_index.get(&shard.index).filter(|other| **other != shard) else { continue };
        // In reverse: `shard.json` comes first, differs whenever another file does, and says less.
        let differing = shard.files.iter().zip(&other.files).rev().find(|(ours, theirs)| ours != theirs);
        let (file, got) = differing.map_or((&shard.files[0], &other.path), |(ours, theirs)| (ours, &theirs.blake3));
        return differs(&format!("{}/{}", shard.path, file.path), "BLAKE3", &file.blake3, got);
    }
    Ok(())
}

/// Updates the remote manifest to cover all shards there; `ours` are those of `manifest`. Returns it and its BLAKE3.
pub(crate) fn push_manifest(
    push: &Push<'_>,
    manifest: &Manifest,
    plan: &PlanReader,
    ours: Vec<WrittenShard>,
) -> Result<(Manifest, String)> {
    let (remote, settings) = (push.remote.as_ref(), manifest.settings());
    let url = remote.location().join(MANIFEST_FILE);
    let mut shards: BTreeMap<usize, WrittenShard> = ours.into_iter().map(|shard| (shard.index(), shard)).collect();
    for _ in 0..ROUNDS {
        let there = remote.get(MANIFEST_FILE)?;
        let listed = there.as_ref().map(|there| read_manifest(remote.location(), &there.bytes)).transpose()?;
        let is_damaged = matches!(listed, Some(None));
        if is_damaged {
            find_shards(remote, plan, &settings, &mut shards)?;
        }
        if let (Some(there), Some(listed)) = (&there, listed.flatten()) {
            check_same(remote.location(), &listed, manifest)?;
            for record in &listed.shards {
                if let Entry::Vacant(place) = shards.entry(record.index) {
                    place.insert(theirs(remote, &listed, record)?);
                }
            }
            if listed.shards.len() == shards.len() {
                push.done.find();
                return Ok((listed, blake3_hex(&there.bytes)));
            }
        }
        let manifest = manifest_of(plan, &settings, &shards);
        let bytes = Bytes::from(json::seal(url.as_ref(), &manifest)?);
        let written = match there {
            Some(there) => remote.update(MANIFEST_FILE, &bytes, there.version)?,
            None => remote.create(MANIFEST_FILE, &bytes)?,
        };
        if written {
            push.done.write(is_damaged);
            return Ok((manifest, blake3_hex(&bytes)));
        }
        tracing::debug!("another push wrote {url} meanwhile: putting both together");
    }
    Err(too_many_writers(url))
}

/// Writes the manifest of all planned shards unless it is there. Replaces one that lists fewer.
pub(crate) fn put_whole_manifest(remote: &Remote, manifest: &Manifest) -> Result<()> {
    let url = remote.location().join(MANIFEST_FILE);
    let bytes = Bytes::from(json::seal(url.as_ref(), manifest)?);
    for _ in 0..ROUNDS {
        let written = match remote.get(MANIFEST_FILE)? {
            Some(there) if there.bytes == bytes => true,
            Some(there) => {
                if let Some(listed) = read_manifest(remote.location(), &there.bytes)? {
                    check_same(remote.location(), &listed, manifest)?;
                }
                remote.update(MANIFEST_FILE, &bytes, there.version)?
            }
            None => remote.create(MANIFEST_FILE, &bytes)?,
        };
        if written {
            return Ok(());
        }
    }
    Err(too_many_writers(url))
}

fn too_many_writers(url: String) -> StoreError {
    StoreError::Remote {
        url,
        action: "write",
        expected: "to be the only one who writes, once in a while".into(),
        got: format!("another version before each of {ROUNDS} tries").into(),
        advice: "Run the same command again: all other files are there".into(),
    }
}

/// Parses the remote manifest; `None` if it is damaged and may be replaced.
///
/// # Errors
/// All errors other than damage, such as another format version.
pub(crate) fn read_manifest(location: &Location, bytes: &[u8]) -> Result<Option<Manifest>> {
    match json::unseal(location.join(MANIFEST_FILE).as_ref(), bytes) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Adds the planned shards that are whole at the location, without a manifest that lists them.
fn find_shards(
    remote: &Remote,
    plan: &PlanReader,
    settings: &HarvestSettings,
    shards: &mut BTreeMap<usize, WrittenShard>,
) -> Result<()> {
    let missing: Vec<usize> = (0..plan.plan().shards.len()).filter(|index| !shards.contains_key(index)).collect();
    let found = Mutex::new(Vec::new());
    in_parallel(remote.options().jobs, &missing, |&index| {
        let folder = format!("{SHARDS_FOLDER}/{}", shard_name(index));
        let name = format!("{folder}/{SHARD_FILE}");
        let Some(there) = remote.get(&name)? else { return Ok(()) };
        let url = remote.location().join(&name);
        let Some(shard) = WrittenShard::read(url.as_ref(), &there.bytes, index, plan, settings)? else { return Ok(()) };
        for file in &shard.contents.files {
            if remote.size(&format!("{folder}/{}", file.path))? != Some(file.bytes) {
                return Ok(());
            }
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).push(shard);
        Ok(())
    })?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    shards.extend(found.into_iter().map(|shard| (shard.index(), shard)));
    Ok(())
}

/// Reads a shard's record that another process pushed.
fn theirs(remote: &Remote, manifest: &Manifest, record: &ShardRecord) -> Result<WrittenShard> {
    let own = record.files.first().ok_or_else(|| {
        StoreError::invalid(remote.location().join(MANIFEST_FILE), "shard.json first among a shard's files", "none")
    })?;
    let name = format!("{}/{}", record.path, own.path);
    let url = remote.location().join(&name);
    let bytes = remote.get(&name)?.map(|fetched| fetched.bytes).unwrap_or_default();
    let got = blake3_hex(&bytes);
    if got != own.blake3 {
        return Err(StoreError::Remote {
            url,
            action: "read",
            expected: format!("BLAKE3 {}", own.blake3).into(),
            got: if bytes.is_empty() { "no such object".into() } else { format!("BLAKE3 {got}").into() },
            advice: mend(remote.location()).into(),
        });
    }
    let contents = check_contents(url.as_ref(), manifest, record, &bytes)?;
    Ok(WrittenShard { contents, record: record.clone() })
}
