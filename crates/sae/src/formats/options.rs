//! What a user says of an SAE that its files do not say.

use super::SaeFormat;
use super::source::Source;
use crate::config::{Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::normalisation::Normalisation;

/// What a user says of an SAE that its files do not say. The default leaves all to the files.
#[derive(Debug, Clone, Default)]
pub struct SaeOptions {
    /// The format; `None` detects it from the files.
    pub format: Option<SaeFormat>,
    /// The normalisation of the input, for files that name none.
    pub normalisation: Option<Normalisation>,
    /// That the SAE is a transcoder, for files that do not say what it reconstructs.
    pub transcoder: Option<Transcoded>,
}

/// What a transcoder reconstructs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transcoded {
    /// The output of the module that the format names by its path.
    Module,
    /// The activations at this site, such as `blocks.5.hook_mlp_out`.
    Site(String),
}

impl SaeOptions {
    /// Puts what the user says into the configuration, or refuses what the files contradict.
    pub(super) fn apply(&self, source: &Source<'_>, config: &mut SaeConfig) -> Result<(), SaeError> {
        if let Some(normalisation) = self.normalisation {
            self.apply_normalisation(source, config, normalisation)?;
        }
        if let Some(transcoded) = &self.transcoder {
            if config.role == Role::Autoencoder {
                config.role = Role::Transcoder(Skip::None);
            }
            if let Transcoded::Site(site) = transcoded {
                if let Some(named) = config.output_site.as_ref().filter(|named| *named != site) {
                    return Err(source.field("--transcode", format!("{named}, as the files say"), site));
                }
                config.output_site = Some(site.clone());
            }
            if config.output_site.is_none() {
                let expected = "the site that the transcoder reconstructs, --transcode=SITE, as the files name none";
                return Err(source.field("--transcode", expected, "no site"));
            }
        }
        Ok(())
    }

    fn apply_normalisation(
        &self,
        source: &Source<'_>,
        config: &mut SaeConfig,
        normalisation: Normalisation,
    ) -> Result<(), SaeError> {
        if config.normalisation != Normalisation::None && config.normalisation != normalisation {
            let said = format!("{}, as the files say", config.normalisation.as_str());
            return Err(source.field("--sae-normalise", said, normalisation.as_str()));
        }
        let plain = matches!(normalisation, Normalisation::None | Normalisation::ExpectedAverageOnlyIn);
        if (config.role != Role::Autoencoder || self.transcoder.is_some()) && !plain {
            let expected = "none or expected_average_only_in in a transcoder, whose output is of another site";
            return Err(source.field("--sae-normalise", expected, normalisation.as_str()));
        }
        config.normalisation = normalisation;
        Ok(())
    }
}
