//! Downloads and verifies one file of a remote cache.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::remote::blocking::Remote;
use crate::remote::failure::mend;

/// Bytes read at a time when hashing what is already on disk.
const READ_BYTES: usize = 1 << 20;

/// Tries of a file whose hash does not match. Damage in transit does not recur.
const READINGS: u32 = 2;

/// How to treat bytes that are already in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// They are the beginning of the object.
    Keep,
    /// They only reserve space.
    Overwrite,
}

/// Downloads the object `name`, described by `record`, into `file` and syncs it. Calls `more` with the number of bytes
/// added, starting with those from an earlier download.
///
/// # Errors
/// [`StoreError::Remote`] if the hash is wrong at every try; no bytes are then kept.
pub(crate) fn download(
    remote: &Remote,
    name: &str,
    record: &FileRecord,
    path: &Path,
    file: &mut File,
    earlier: Earlier,
    more: &dyn Fn(u64),
) -> Result<()> {
    let failed = |action| move |source| StoreError::io(path, action, source);
    let mut told = 0;
    let mut got = String::new();
    for reading in 0..READINGS {
        if reading > 0 {
            remote.repeat();
            tracing::debug!(
                object = remote.location().join(name),
                got,
                "its bytes are not those recorded: reading it again"
            );
        }
        let begun = if earlier == Earlier::Keep { beginning(file, record.bytes) } else { start(file) };
        let (mut hasher, mut there) = begun.map_err(failed("read"))?;
        let mut tell = |there: u64| {
            if there > told {
                more(there - told);
                told = there;
            }
        };
        tell(there);
        while there < record.bytes {
            let end = record.bytes.min(there + remote.options().part_bytes);
            let bytes = remote.get_range(name, there..end)?;
            file.write_all(&bytes).map_err(failed("write"))?;
            hasher.update(&bytes);
            there = end;
            tell(there);
        }
        got = hasher.finalize().to_hex().to_string();
        if got == record.blake3 {
            return file.sync_all().map_err(failed("write to the disk"));
        }
        if earlier == Earlier::Keep {
            file.set_len(0).map_err(failed("empty"))?;
        }
    }
    Err(StoreError::Remote {
        url: remote.location().join(name),
        action: "read",
        expected: format!("BLAKE3 {}", record.blake3).into(),
        got: format!("BLAKE3 {got}").into(),
        advice: mend(remote.location()).into(),
    })
}

/// Returns the hash and number of the bytes in the file, positioned after them. A file longer than `bytes` is emptied.
fn beginning(file: &mut File, bytes: u64) -> std::io::Result<(blake3::Hasher, u64)> {
    if file.metadata()?.len() > bytes {
        file.set_len(0)?;
    }
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    let mut there = 0;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher, there)),
            read => {
                hasher.update(&buffer[..read]);
                there += read as u64;
            }
        }
    }
}

/// Returns an empty hash, positioned at the start of the file.
fn start(file: &mut File) -> std::io::Result<(blake3::Hasher, u64)> {
    file.seek(SeekFrom::Start(0))?;
    Ok((blake3::Hasher::new(), 0))
}
