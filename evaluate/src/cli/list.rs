//! `evaluate list`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hayloft_runtime::words::did_you_mean;
use hayloft_runtime::{TextTable, UNDEFINED, print, stdout_width};
use hayloft_sae::registry::{RegisteredSae, Release, release_of, releases};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  evaluate list                                            # every release
  evaluate list --model gemma-2-2b --site hook_resid_post
  evaluate list gemma-scope-2b-pt-res --site blocks.20.hook_resid_post
  evaluate list gpt2-small-res-jb --json | jq '.[].saes[].path'

The list is SAELens's registry, compiled into this program; nothing is asked of a network. `evaluate run --sae RELEASE/ID`
fetches an SAE, --sae 'RELEASE/PATTERN' several.";

/// What is listed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ListArguments {
    /// A release, whose SAEs are listed one by one
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
    /// Only those of this model, such as gemma-2-2b or google/gemma-3-4b-pt
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only those of this site or hook, such as blocks.12.hook_resid_post or hook_mlp_out
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Print it as JSON, with every SAE
    #[arg(long)]
    json: bool,
}

/// Releases, each with those of its SAEs that are asked for.
type Listed = Vec<(&'static Release, Vec<&'static RegisteredSae>)>;

/// Prints the releases, or the SAEs of one.
pub fn list(arguments: &ListArguments) -> Result<()> {
    let listed = listed(arguments)?;
    print(&if arguments.json {
        serde_json::to_string_pretty(&as_json(&listed)).context("it cannot be written as JSON")?
    } else if arguments.release.is_some() {
        saes(&listed).fit(stdout_width())
    } else {
        table(&listed).fit(stdout_width())
    })
}

fn listed(arguments: &ListArguments) -> Result<Listed> {
    let releases_asked: Vec<&'static Release> = match &arguments.release {
        Some(name) => vec![release_of(name).map_err(anyhow::Error::msg)?],
        None => releases().iter().collect(),
    };
    let of_model = |release: &&Release| arguments.model.as_ref().is_none_or(|model| is_model(release.model, model));
    let of_site = |sae: &&RegisteredSae| arguments.site.as_ref().is_none_or(|site| is_site(sae, site));
    let found: Listed = releases_asked
        .into_iter()
        .filter(of_model)
        .map(|release| (release, release.saes.iter().filter(of_site).collect::<Vec<_>>()))
        .filter(|(_, saes)| !saes.is_empty())
        .collect();
    if let Some(model) = &arguments.model {
        let known: BTreeSet<&str> = releases().iter().map(|release| release.model).collect();
        let near = did_you_mean(model, &known);
        let all = known.iter().copied().collect::<Vec<_>>().join(", ");
        ensure!(known.iter().any(|known| is_model(known, model)), "expected one of {all}, got {model}{near}");
    }
    ensure!(!found.is_empty(), "no SAE of the registry is of this model and site; leave --site out to see the sites");
    Ok(found)
}

/// Whether a model of the registry is the one asked for, with or without its owner.
fn is_model(known: &str, asked: &str) -> bool {
    let name = known.rsplit('/').next().unwrap_or(known);
    known.eq_ignore_ascii_case(asked) || name.eq_ignore_ascii_case(asked)
}

/// Whether an SAE is of the site or hook asked for.
fn is_site(sae: &RegisteredSae, asked: &str) -> bool {
    sae.site.is_some_and(|site| site == asked || hook(site) == asked)
}

/// The hook of a site, without its block.
fn hook(site: &str) -> &str {
    site.splitn(3, '.').nth(2).unwrap_or(site)
}

/// A row for each release.
fn table(listed: &Listed) -> TextTable {
    let row = |(release, saes): &(&'static Release, Vec<&'static RegisteredSae>)| {
        let hooks: BTreeSet<&str> = saes.iter().filter_map(|sae| sae.site).map(hook).collect();
        let hooks = hooks.into_iter().collect::<Vec<_>>().join(", ");
        vec![
            release.name.to_owned(),
            release.model.to_owned(),
            hooks,
            release.format.unwrap_or("not read").to_owned(),
            saes.len().to_string(),
        ]
    };
    TextTable {
        headings: ["release", "model", "sites", "format", "SAEs"].map(str::to_owned).to_vec(),
        names: 2,
        rows: listed.iter().map(row).collect(),
        is_ruled: true,
    }
}

/// A row for each SAE.
fn saes(listed: &Listed) -> TextTable {
    let row = |sae: &&'static RegisteredSae| {
        let number = |number: Option<f64>| number.map_or(UNDEFINED.to_owned(), |number| number.to_string());
        vec![
            sae.id.to_owned(),
            sae.site.unwrap_or(UNDEFINED).to_owned(),
            number(sae.l0),
            number(sae.explained_variance),
        ]
    };
    TextTable {
        headings: ["id", "site", "L0", "explained variance"].map(str::to_owned).to_vec(),
        names: 1,
        rows: listed.iter().flat_map(|(_, saes)| saes.iter().map(row)).collect(),
        is_ruled: true,
    }
}

fn as_json(listed: &Listed) -> Value {
    let release = |(release, saes): &(&'static Release, Vec<&'static RegisteredSae>)| {
        let mut value = json!(release);
        value["saes"] = json!(saes);
        value
    };
    listed.iter().map(release).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(release: Option<&str>, model: Option<&str>, site: Option<&str>) -> Result<Listed> {
        let [release, model, site] = [release, model, site].map(|word| word.map(str::to_owned));
        listed(&ListArguments { release, model, site, json: false })
    }

    #[test]
    fn releases_are_filtered_by_model_and_site() {
        assert_eq!(ask(None, None, None).unwrap().len(), 170);
        let names = |listed: Listed| listed.iter().map(|(release, _)| release.name).collect::<Vec<_>>();
        let found = names(ask(None, Some("gemma-2b"), None).unwrap());
        assert_eq!(found, ["gemma-2b-res-jb"]);
        let gemma_3 = ask(None, Some("gemma-3-4b-pt"), Some("blocks.17.hook_resid_post")).unwrap();
        assert!(gemma_3.iter().all(|(release, saes)| release.model == "google/gemma-3-4b-pt" && !saes.is_empty()));
        assert_eq!(ask(Some("gpt2-small-res-jb"), None, Some("hook_resid_post")).unwrap()[0].1.len(), 1);
    }

    #[test]
    fn what_is_not_there_is_answered_with_the_nearest() {
        let message = |asked: Result<Listed>| asked.unwrap_err().to_string();
        assert!(message(ask(None, Some("gemma-2-2c"), None)).contains("Did you mean gemma-2-2b?"));
        assert!(message(ask(Some("gpt2-small-res-jp"), None, None)).contains("Did you mean gpt2-small-res-jb?"));
        assert!(message(ask(None, Some("mistral-7b"), Some("hook_z"))).contains("leave --site out"));
    }

    #[test]
    fn the_tables_fit_a_terminal() {
        let listed = ask(None, Some("gpt2-small"), None).unwrap();
        for text in [table(&listed).fit(80), saes(&listed).fit(80)] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
    }
}
