//! Files and folders, below anything that knows what is in them: written whole or not at all, hashed, mapped, locked.

pub(crate) mod disk;
pub(crate) mod folder;
pub(crate) mod hash;
pub(crate) mod json;
mod json_layout;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod open;
pub(crate) mod staged;
