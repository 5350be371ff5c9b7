//! Claims in a bucket.

use std::fs;

use bytes::Bytes;

use super::place::{ClaimPlace, absent_is_done};
use crate::error::{Result, StoreError};
use crate::format::shard_record::CLAIMS_FOLDER;
use crate::remote::Remote;

/// Claims in a bucket, created by conditional writes.
impl ClaimPlace for Remote {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get(name)?.map(|fetched| fetched.bytes.to_vec()))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        if Remote::create(self, name, &Bytes::copy_from_slice(bytes))? {
            return Ok(true);
        }
        // If the response was lost, the object may be this claim.
        Ok(self.get(name)?.is_some_and(|there| there.bytes == bytes))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(name, &Bytes::copy_from_slice(bytes))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.delete(name)
    }

    fn clear(&self) -> Result<()> {
        for name in self.list(CLAIMS_FOLDER)? {
            self.delete(&name)?;
        }
        // In a folder, a file that a killed process left half-written is not listed as an object.
        match self.location().folder() {
            None => Ok(()),
            Some(folder) => {
                let claims = folder.join(CLAIMS_FOLDER);
                absent_is_done(fs::remove_dir_all(&claims)).map_err(|cause| StoreError::io(&claims, "remove", cause))
            }
        }
    }
}
