//! Hook points, with `TransformerLens`'s names.

use std::fmt;
use std::str::FromStr;

use hayloft_checkpoint::{DecoderSpec, NormPlacement, Residuals};
use hayloft_runtime::words::did_you_mean;
use tch::Tensor;

use crate::error::ModelError;

/// A tensor of a block, in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The residual stream entering the block.
    ResidPre,
    /// The concatenated outputs of the attention heads, before the output projection: `[.., n_heads * head_dim]`.
    Z,
    /// The output of attention, as added to the residual stream.
    AttnOut,
    /// The residual stream between attention and feed-forward.
    ResidMid,
    /// The output of the norm before the feed-forward part; for an RMS norm, without the weight.
    Ln2Normalized,
    /// The input of the feed-forward part.
    MlpIn,
    /// The output of the feed-forward part, as added to the residual stream.
    MlpOut,
    /// The residual stream leaving the block.
    ResidPost,
}

impl Hook {
    const ALL: [(Self, &'static str); 8] = [
        (Self::ResidPre, "hook_resid_pre"),
        (Self::Z, "attn.hook_z"),
        (Self::AttnOut, "hook_attn_out"),
        (Self::ResidMid, "hook_resid_mid"),
        (Self::Ln2Normalized, "ln2.hook_normalized"),
        (Self::MlpIn, "mlp.hook_in"),
        (Self::MlpOut, "hook_mlp_out"),
        (Self::ResidPost, "hook_resid_post"),
    ];
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(hook, _)| hook == self);
        formatter.write_str(named.map_or("", |(_, name)| name))
    }
}

/// A site: one tensor `[batch, pos, width]` of every forward pass, such as `blocks.16.hook_resid_pre`. Ordered as in the
/// forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    layer: usize,
    hook: Hook,
}

/// A forward pass stopped at a site, with everything needed to continue.
#[derive(Debug)]
pub struct Stop {
    /// The site.
    pub site: Site,
    /// The activation, `[batch, pos, width]`, in the decoder's precision, on its device.
    pub value: Tensor,
    /// The values at the sites of [`Site::beside`], in order.
    pub beside: Vec<Tensor>,
}

impl Stop {
    /// A copy that shares the tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let beside = self.beside.iter().map(Tensor::shallow_clone).collect();
        Self { site: self.site, value: self.value.shallow_clone(), beside }
    }
}

impl Site {
    /// A site in a block.
    pub fn new(layer: usize, hook: Hook) -> Self {
        Self { layer, hook }
    }

    /// Its block.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Its tensor within the block.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// For a residual stream between two blocks, the block that it enters. The number of blocks means the final norm.
    ///
    /// `blocks.3.hook_resid_post` and `blocks.4.hook_resid_pre` are the same tensor; both return 4.
    pub fn block(&self) -> Option<usize> {
        match self.hook {
            Hook::ResidPre => Some(self.layer),
            Hook::ResidPost => Some(self.layer + 1),
            _ => None,
        }
    }

    /// The first block that remains to be run, fully or in part.
    pub fn rest(&self) -> usize {
        self.block().unwrap_or(self.layer)
    }

    /// Width of a row.
    pub fn width(&self, spec: &DecoderSpec) -> usize {
        match self.hook {
            Hook::Z => spec.attention.n_heads * spec.attention.head_dim,
            _ => spec.d_model,
        }
    }

    /// The other sites whose values are needed to continue from this one. Empty for a residual stream.
    pub fn beside(&self, spec: &DecoderSpec) -> Vec<Self> {
        let hooks: &[Hook] = match (self.hook, spec.block.residuals) {
            (Hook::ResidPre | Hook::ResidMid | Hook::ResidPost, _) => &[],
            (Hook::Z | Hook::AttnOut, _) => &[Hook::ResidPre],
            (_, Residuals::Sequential) => &[Hook::ResidMid],
            (_, Residuals::Parallel) => &[Hook::ResidPre, Hook::AttnOut],
        };
        hooks.iter().map(|&hook| Self { layer: self.layer, hook }).collect()
    }

    /// The error of a name, or a pattern of names, that is none of a site. It asks for the nearest name in the same blocks.
    pub fn unknown(name: &str) -> ModelError {
        let from_block = name.trim_start_matches(|letter: char| !(letter.is_ascii_digit() || "{*".contains(letter)));
        let end = match from_block.chars().next() {
            Some('{') => from_block.find('}').map_or(0, |end| end + 1),
            Some('*') => 1,
            _ => from_block.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(from_block.len()),
        };
        let block = &from_block[..end];
        let known: Vec<String> = Hook::ALL.iter().map(|(_, hook)| format!("blocks.{block}.{hook}")).collect();
        // If the hook is right, it is the block that is not.
        let is_block = block.is_empty() || known.iter().any(|known| known == name);
        let suggestion = if is_block { String::new() } else { did_you_mean(name, known) };
        ModelError::SiteName { name: name.to_owned(), suggestion }
    }

    /// Refuses a site that the model does not have.
    pub fn check(&self, spec: &DecoderSpec) -> Result<(), ModelError> {
        let site = || self.to_string();
        if self.layer >= spec.n_blocks {
            return Err(ModelError::SiteRange { site: site(), block: self.layer, n_blocks: spec.n_blocks });
        }
        let reason = match self.hook {
            Hook::ResidMid if spec.block.residuals == Residuals::Parallel => {
                "its feed-forward part reads what attention reads, so that no stream lies between them"
            }
            Hook::Ln2Normalized if spec.block.norms == NormPlacement::Behind => {
                "it has no norm before the feed-forward part"
            }
            _ => return Ok(()),
        };
        Err(ModelError::SiteAbsent { site: site(), model_type: spec.model_type.clone(), reason })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "blocks.{}.{}", self.layer, self.hook)
    }
}

impl FromStr for Site {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let parse = || {
            let (layer, hook) = name.strip_prefix("blocks.")?.split_once('.')?;
            let (hook, _) = Hook::ALL.into_iter().find(|(_, known)| *known == hook)?;
            // A leading zero or sign would give a site two names.
            let canonical = layer == "0" || !layer.starts_with(['0', '+']);
            let layer = layer.parse::<u32>().ok().filter(|_| canonical)?;
            Some(Self { layer: layer as usize, hook })
        };
        parse().ok_or_else(|| Self::unknown(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> DecoderSpec {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/decoder/llama2"));
        hayloft_checkpoint::Checkpoint::read_spec(folder).unwrap()
    }

    #[test]
    fn names_round_trip() {
        for (_, hook) in Hook::ALL {
            let name = format!("blocks.31.{hook}");
            assert_eq!(name.parse::<Site>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn post_is_the_next_blocks_pre() {
        let post: Site = "blocks.3.hook_resid_post".parse().unwrap();
        let pre: Site = "blocks.4.hook_resid_pre".parse().unwrap();
        assert_eq!(post.block(), pre.block());
        assert!(post < pre);
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "blocks.3",
            "blocks.x.hook_resid_pre",
            "blocks.03.hook_resid_pre",
            "blocks.+3.hook_resid_pre",
            "blocks.3.hook_pre",
            "blocks.99999999999.hook_resid_pre",
        ] {
            assert!(name.parse::<Site>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_misspelt_name_is_put_right() {
        for (name, meant) in [
            ("blocks.16.hook_resid_pr", "blocks.16.hook_resid_pre"),
            ("block.3.hook_mlp_out", "blocks.3.hook_mlp_out"),
            ("blocks.3.attn.hook_zz", "blocks.3.attn.hook_z"),
            ("blocks.{4,8..12}.hook_resid_pots", "blocks.{4,8..12}.hook_resid_post"),
            ("blocks.*.mlp_out", "blocks.*.hook_mlp_out"),
        ] {
            let message = name.parse::<Site>().unwrap_err().to_string();
            assert!(message.ends_with(&format!(". Did you mean {meant}?")), "{message}");
        }
        for name in ["tokens", "blocks.03.hook_resid_pre", "blocks.{}.hook_resid_pre", "blocks.{1"] {
            let message = name.parse::<Site>().unwrap_err().to_string();
            assert!(!message.contains("Did you mean"), "{message}");
        }
    }

    #[test]
    fn range_and_family_are_checked() {
        let site: Site = "blocks.5.hook_resid_post".parse().unwrap();
        let message = site.check(&spec()).unwrap_err().to_string();
        assert!(message.contains("block 5") && message.contains("0 to 2"), "{message}");

        let mut parallel = spec();
        parallel.block.residuals = Residuals::Parallel;
        let mid: Site = "blocks.1.hook_resid_mid".parse().unwrap();
        assert!(mid.check(&spec()).is_ok());
        let message = mid.check(&parallel).unwrap_err().to_string();
        assert!(message.contains("blocks.1.hook_resid_mid") && message.contains("llama"), "{message}");
        let mlp_out: Site = "blocks.1.hook_mlp_out".parse().unwrap();
        let beside = |spec: &DecoderSpec| mlp_out.beside(spec).iter().map(Site::to_string).collect::<Vec<_>>();
        assert_eq!(beside(&spec()), ["blocks.1.hook_resid_mid"]);
        assert_eq!(beside(&parallel), ["blocks.1.hook_resid_pre", "blocks.1.hook_attn_out"]);

        let mut behind = spec();
        behind.block.norms = NormPlacement::Behind;
        let normalized: Site = "blocks.1.ln2.hook_normalized".parse().unwrap();
        assert!(normalized.check(&behind).unwrap_err().to_string().contains("no norm before"));
    }
}
