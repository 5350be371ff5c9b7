//! One file of a remote cache, brought into a file of this machine and checked.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::remote::blocking::Remote;
use crate::remote::failure::mend;

/// What is read back at a time to take up the hash of what is there already.
const READ_BYTES: usize = 1 << 20;

/// How often a file whose bytes are not those recorded is read: what was damaged on its way is whole the second time.
const READINGS: u32 = 2;

/// What to make of bytes that are in the file already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// They are the beginning.
    Keep,
    /// They only take up room.
    Overwrite,
}

/// Brings what `record` describes from the object `name` into `file`, and waits until all is on the disk. Calls `more`
/// with the bytes that are there, first those from earlier.
///
/// # Errors
/// [`StoreError::Remote`] where the bytes are not those recorded, each time they were asked for; none is then kept.
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

/// The hash of the bytes that are there, which the next are written after, and how many they are. More than there should
/// be is as good as none.
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

/// The hash of nothing, and the start of the file.
fn start(file: &mut File) -> std::io::Result<(blake3::Hasher, u64)> {
    file.seek(SeekFrom::Start(0))?;
    Ok((blake3::Hasher::new(), 0))
}
