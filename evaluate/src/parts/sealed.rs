//! Files of parts: safetensors, sealed by a hash of all preceding bytes.
//!
//! The first tensor, `header`, is JSON with a field `hayloft_version`. The last, `seal`, is the BLAKE3 of every byte before it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use hayloft_runtime::{TensorBytes, safetensors};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::PartialError;

/// Size of a BLAKE3 hash in bytes.
const SEAL_BYTES: usize = 32;

/// Largest description of tensors that is read, in bytes.
const MOST_METADATA: u64 = 100 << 20;

const HEADER: &str = "header";

/// A tensor to be written: name, type, shape, and little-endian elements.
pub(crate) type OwnedTensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// A kind of sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedFormat {
    /// The key of the version in the file's metadata, by which files of this kind are known.
    pub(crate) key: &'static str,
    /// Version of the file layout and of the meaning of its numbers.
    pub(crate) version: &'static str,
}

/// The tensors of a file whose seal was checked.
pub(crate) struct SealedTensors<'data>(SafeTensors<'data>);

impl SealedFormat {
    /// The bytes of a file.
    pub(crate) fn to_bytes(self, header: &impl Serialize, tensors: Vec<OwnedTensor>) -> io::Result<Vec<u8>> {
        let mut all = vec![bytes_tensor(HEADER.to_owned(), serde_json::to_vec(header)?)];
        all.extend(tensors);
        all.push(bytes_tensor("seal".to_owned(), vec![0; SEAL_BYTES]));
        let borrowed: Vec<TensorBytes<'_>> = all
            .iter()
            .map(|(name, dtype, shape, bytes)| (name.clone(), *dtype, shape.clone(), bytes.as_slice()))
            .collect();
        let mut file = safetensors(&[(self.key, self.version.to_owned())], &borrowed)?;
        seal(&mut file);
        Ok(file)
    }

    /// Whether a file is of this kind, by its metadata. The seal is not looked at.
    pub(crate) fn is_that_of(self, path: &Path) -> Result<bool, PartialError> {
        let (_, metadata) = metadata(path)?;
        Ok(metadata.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(self.key)))
    }

    /// Checks the seal and the versions of the bytes of a file, which the expected version of hayloft wrote, or any if `None`.
    /// `path` is for errors.
    pub(crate) fn open<'data>(
        self,
        path: &Path,
        bytes: &'data [u8],
        hayloft_version: Option<&str>,
    ) -> Result<SealedTensors<'data>, PartialError> {
        let damaged = |got: String| PartialError::Damaged { path: path.to_path_buf(), got };
        let body = bytes.len().checked_sub(SEAL_BYTES).ok_or_else(|| damaged(format!("{} bytes", bytes.len())))?;
        if blake3::hash(&bytes[..body]).as_bytes() != &bytes[body..] {
            return Err(damaged("bytes that are not those that its seal (BLAKE3) is of".to_owned()));
        }
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let version = metadata.metadata().as_ref().and_then(|metadata| metadata.get(self.key));
        match version {
            Some(version) if version == self.version => {}
            Some(version) => {
                let (path, expected, got) = (path.to_path_buf(), self.version.to_owned(), version.clone());
                return Err(PartialError::Format { path, expected, got });
            }
            None => return Err(damaged("a file of another kind".to_owned())),
        }
        let tensors = SealedTensors(SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?);
        // A header of another version may have other fields, so the version is checked first.
        let VersionOnly { hayloft_version: got } = tensors.header().map_err(damaged)?;
        if let Some(expected) = hayloft_version.filter(|expected| got != *expected) {
            return Err(PartialError::Version { path: path.to_path_buf(), expected: expected.to_owned(), got });
        }
        Ok(tensors)
    }
}

impl SealedTensors<'_> {
    /// The header; an error says what was found in its place.
    pub(crate) fn header<Header: DeserializeOwned>(&self) -> Result<Header, String> {
        let json = self.data(HEADER, Dtype::U8, None)?;
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// The bytes of a tensor, which must have this dtype and shape.
    pub(crate) fn data(&self, name: &str, dtype: Dtype, shape: Option<&[usize]>) -> Result<&[u8], String> {
        let view = self.0.tensor(name).map_err(|error| format!("no tensor {name} ({error})"))?;
        if view.dtype() != dtype || shape.is_some_and(|shape| view.shape() != shape) {
            let expected = shape.map_or_else(String::new, |shape| format!(" {shape:?}"));
            return Err(format!("{name} of {:?} {:?} in place of {dtype:?}{expected}", view.dtype(), view.shape()));
        }
        Ok(view.data())
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }
}

/// A tensor of bytes.
pub(crate) fn bytes_tensor(name: String, bytes: Vec<u8>) -> OwnedTensor {
    (name, Dtype::U8, vec![bytes.len()], bytes)
}

/// Reads one tensor of bytes of a file whose seal was checked before.
pub(crate) fn one_tensor(path: &Path, name: &str) -> Result<Vec<u8>, PartialError> {
    let (start, metadata) = metadata(path)?;
    let damaged = || PartialError::Damaged { path: path.to_path_buf(), got: format!("no tensor {name}") };
    let &TensorInfo { data_offsets: (first, end), .. } = metadata.info(name).ok_or_else(damaged)?;
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start + first as u64))?;
        let mut bytes = Vec::new();
        file.take(end.saturating_sub(first) as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|cause| PartialError::Read { path: path.to_path_buf(), cause })
}

/// Overwrites the last bytes of a file with the hash of all preceding ones.
pub(crate) fn seal(file: &mut [u8]) {
    if let Some(body) = file.len().checked_sub(SEAL_BYTES) {
        let hash = blake3::hash(&file[..body]);
        file[body..].copy_from_slice(hash.as_bytes());
    }
}

/// The description of a file's tensors, and where their data start.
fn metadata(path: &Path) -> Result<(u64, Metadata), PartialError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut length = [0; 8];
        let mut header = Vec::new();
        // A shorter file is found to be damaged below.
        if file.read_exact(&mut length).is_ok() {
            let most = u64::from_le_bytes(length).min(MOST_METADATA);
            file.take(most).read_to_end(&mut header)?;
        }
        Ok(header)
    };
    let header: Vec<u8> = read().map_err(|cause| PartialError::Read { path: path.to_path_buf(), cause })?;
    let damaged = |_| PartialError::Damaged { path: path.to_path_buf(), got: "a file of another kind".to_owned() };
    let metadata = serde_json::from_slice(&header).map_err(damaged)?;
    Ok((size_of::<u64>() as u64 + header.len() as u64, metadata))
}

/// The one field of the header that every version has.
#[derive(serde::Deserialize)]
struct VersionOnly {
    hayloft_version: String,
}
