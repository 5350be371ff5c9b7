//! Memory for rows.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::error::RowsError;

/// Bytes from which released memory is kept. The allocator keeps less by itself.
const LARGE: usize = 1 << 20;

/// Bytes of released memory that are kept for the next rows. The system has to clear what it hands out, which takes as long
/// as decoding.
const KEPT: usize = 256 << 20;

static RELEASED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory for rows, with any contents at first. It may be used again after it is dropped.
#[derive(Debug)]
pub struct RowMemory {
    bytes: Vec<u8>,
    len: usize,
}

impl RowMemory {
    /// Memory of `len` bytes.
    ///
    /// # Errors
    /// [`RowsError::Memory`] if the system has no more.
    pub fn new(len: usize) -> Result<Self, RowsError> {
        if let Some(bytes) = take_released(len) {
            return Ok(Self { bytes, len });
        }
        // The macro below ends the process if there is no memory, and asks for zeroed pages, which need no filling.
        Vec::<u8>::new().try_reserve_exact(len).map_err(|_| RowsError::Memory { bytes: len })?;
        Ok(Self { bytes: vec![0; len], len })
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// Released memory of just this size. No lock is waited for: in a child process that was forked it may stay taken.
fn take_released(len: usize) -> Option<Vec<u8>> {
    let mut released = RELEASED.try_lock().ok().filter(|_| len >= LARGE)?;
    let found = released.iter().rposition(|bytes| bytes.len() == len)?;
    Some(released.remove(found))
}

impl Drop for RowMemory {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if (LARGE..=KEPT).contains(&bytes.len())
            && let Ok(mut released) = RELEASED.try_lock()
        {
            released.push(bytes);
            // The oldest go first.
            while released.iter().map(Vec::len).sum::<usize>() > KEPT {
                released.remove(0);
            }
        }
    }
}

impl Deref for RowMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for RowMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_any_size_holds_what_is_written() {
        for bytes in [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE] {
            for _ in 0..2 {
                let mut memory = RowMemory::new(bytes).unwrap();
                assert_eq!(memory.len(), bytes);
                memory.fill(7);
                memory.truncate(bytes / 2);
                assert!(memory.len() == bytes / 2 && memory.iter().all(|byte| *byte == 7));
                memory.truncate(bytes);
                assert_eq!(memory.len(), bytes / 2);
            }
        }
    }

    #[test]
    fn released_memory_is_bounded_and_given_to_one_alone() {
        let size = KEPT / 4 + 1;
        let held: Vec<RowMemory> = (0..6).map(|_| RowMemory::new(size).unwrap()).collect();
        drop(held);
        let kept: usize = RELEASED.lock().unwrap().iter().map(Vec::len).sum();
        assert!(kept <= KEPT, "{kept}");
        let again: Vec<RowMemory> = (0..6).map(|_| RowMemory::new(size).unwrap()).collect();
        let mut places: Vec<usize> = again.iter().map(|memory| memory.as_ptr() as usize).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 6);
    }

    #[test]
    fn more_than_the_system_has_is_refused() {
        let error = RowMemory::new(1 << 60).unwrap_err().to_string();
        assert!(error.contains("1152921504606846976 bytes"), "{error}");
    }
}
