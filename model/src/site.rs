//! Where in the model an activation is taken, by `TransformerLens`'s names.

use std::fmt;
use std::str::FromStr;

use crate::ModelError;

/// Which tensor of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The residual stream entering the block.
    ResidPre,
    /// The residual stream leaving the block.
    ResidPost,
}

/// A site: one tensor `[batch, pos, d_model]` of every forward pass, such as `blocks.16.hook_resid_pre`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    layer: usize,
    hook: Hook,
}

impl Site {
    /// The block whose input this residual is; the number of blocks means the input of the final norm.
    ///
    /// `blocks.3.hook_resid_post` and `blocks.4.hook_resid_pre` are one tensor, and both answer 4.
    pub fn block(&self) -> usize {
        match self.hook {
            Hook::ResidPre => self.layer,
            Hook::ResidPost => self.layer + 1,
        }
    }

    /// Refuses a site that a model of `n_blocks` blocks does not have.
    pub fn check(&self, n_blocks: usize) -> Result<(), ModelError> {
        if self.layer < n_blocks {
            return Ok(());
        }
        Err(ModelError::SiteRange { site: self.to_string(), block: self.layer, n_blocks })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = match self.hook {
            Hook::ResidPre => "hook_resid_pre",
            Hook::ResidPost => "hook_resid_post",
        };
        write!(formatter, "blocks.{}.{hook}", self.layer)
    }
}

impl FromStr for Site {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let parse = || {
            let (layer, hook) = name.strip_prefix("blocks.")?.split_once('.')?;
            let hook = match hook {
                "hook_resid_pre" => Hook::ResidPre,
                "hook_resid_post" => Hook::ResidPost,
                _ => return None,
            };
            // A leading zero or sign would make two names for one site.
            let canonical = layer == "0" || !layer.starts_with(['0', '+']);
            let layer = layer.parse::<u32>().ok().filter(|_| canonical)?;
            Some(Self { layer: layer as usize, hook })
        };
        parse().ok_or_else(|| ModelError::SiteName { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["blocks.0.hook_resid_pre", "blocks.31.hook_resid_post"] {
            assert_eq!(name.parse::<Site>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn post_is_the_next_blocks_pre() {
        let post: Site = "blocks.3.hook_resid_post".parse().unwrap();
        let pre: Site = "blocks.4.hook_resid_pre".parse().unwrap();
        assert_eq!(post.block(), pre.block());
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "blocks.3",
            "blocks.x.hook_resid_pre",
            "blocks.03.hook_resid_pre",
            "blocks.+3.hook_resid_pre",
            "blocks.3.hook_resid_mid",
            "blocks.99999999999.hook_resid_pre",
        ] {
            assert!(name.parse::<Site>().is_err(), "{name}");
        }
    }

    #[test]
    fn range_is_checked() {
        let site: Site = "blocks.5.hook_resid_post".parse().unwrap();
        assert!(site.check(6).is_ok());
        let message = site.check(5).unwrap_err().to_string();
        assert!(message.contains("block 5") && message.contains("0 to 4"), "{message}");
    }
}
