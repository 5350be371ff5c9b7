//! A shard with fewer sites: the same files without those of the removed sites, under a new record.
//!
//! The remaining files keep their bytes. `tokens.parquet` keeps the norms of the removed sites, in unused columns.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{ShardContents, WrittenShard};
use crate::format::site::SiteName;
use crate::fs::json;

/// The settings of a cache with only these sites; all sites if none is named.
///
/// # Errors
/// [`StoreError::UnknownSite`] for a site that the settings do not have.
pub(crate) fn narrowed_settings(
    folder: &Path,
    settings: &HarvestSettings,
    sites: &[SiteName],
) -> Result<HarvestSettings> {
    if let Some(unknown) = sites.iter().find(|site| !settings.sites.contains(site)) {
        return Err(StoreError::UnknownSite {
            folder: folder.to_owned(),
            site: unknown.to_string(),
            available: settings.sites_in_words(),
        });
    }
    let wanted: BTreeSet<&SiteName> = sites.iter().collect();
    let mut narrowed = settings.clone();
    narrowed.retain_sites(|site| wanted.is_empty() || wanted.contains(site));
    Ok(narrowed)
}

/// A shard's record restricted to the sites of `settings`, and the bytes of its `shard.json`, which goes to `path`.
pub(crate) fn narrowed_shard(
    path: &Path,
    contents: &ShardContents,
    settings: &HarvestSettings,
) -> Result<(WrittenShard, Vec<u8>)> {
    let kept = |site: &SiteName| settings.sites.contains(site);
    let left_out: BTreeSet<String> =
        contents.settings.sites.iter().filter(|site| !kept(site)).map(SiteName::file_name).collect();
    let mut narrowed = contents.clone();
    narrowed.settings.retain_sites(kept);
    narrowed.files.retain(|file| !left_out.contains(&file.path));
    narrowed.sites.retain(|site| kept(&site.name));
    for group in &mut narrowed.statistics {
        group.norms.retain(|norms| kept(&norms.site));
    }
    let bytes = json::seal(path, &narrowed)?;
    Ok((WrittenShard::new(narrowed, &bytes), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::format::shard_record::check_listing;
    use crate::read::cache::Cache;
    use crate::support::{harvest, settings, site, two_sites};
    use hayloft_runtime::Dtype;

    #[test]
    fn a_narrowed_shard_lists_what_is_left_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = harvest(folder.path(), &settings(Dtype::Bf16, Codec::PLANES));
        let all = manifest.settings();
        let [post, pre] = [site("blocks.3.hook_resid_post"), site("blocks.3.hook_resid_pre")];
        let contents = Cache::open(folder.path()).unwrap().shard(0).unwrap().contents().clone();

        let only = narrowed_settings(folder.path(), &all, std::slice::from_ref(&pre)).unwrap();
        let (shard, bytes) = narrowed_shard(Path::new("shard.json"), &contents, &only).unwrap();
        let narrowed: ShardContents = json::unseal(Path::new("shard.json"), &bytes).unwrap();
        assert_eq!(&narrowed, shard.contents());
        check_listing(Path::new("shard.json"), &narrowed, &contents.counts).unwrap();
        assert_eq!(narrowed.settings, only);
        assert_eq!(narrowed.files.len() + 1, contents.files.len());
        assert!(narrowed.files.iter().all(|file| contents.files.contains(file) && file.path != post.file_name()));
        assert_eq!(narrowed.sites[0], contents.sites[1]);
        let (few, all_groups) = (&narrowed.statistics, &contents.statistics);
        assert!(few.iter().zip(all_groups).all(|(few, all)| few.norms == all.norms[1..]));

        let same = narrowed_settings(folder.path(), &all, &[]).unwrap();
        let (_, bytes) = narrowed_shard(Path::new("shard.json"), &contents, &same).unwrap();
        assert_eq!(bytes, std::fs::read(folder.path().join("shards/00000/shard.json")).unwrap());
        assert_eq!(narrowed_settings(folder.path(), &all, &two_sites()).unwrap(), all);
        let error = narrowed_settings(folder.path(), &all, &[site("blocks.9.x")]).unwrap_err();
        assert!(matches!(&error, StoreError::UnknownSite { available, .. } if available.contains("post")), "{error}");
    }
}
