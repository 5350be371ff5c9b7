//! The program: variables, flags, stdout and stderr.

use std::process::{Command, Output};

use serde_json::Value;

use super::{Field, TOKEN, weights};
use hayloft_hub::test_hub::{Fault, sha256};

fn harvest(field: &Field, words: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harvest"))
        .arg("fetch")
        .arg(field.path("fetch.toml"))
        .args(words)
        .arg("--out")
        .arg(field.path("out"))
        .env_remove("HF_TOKEN")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_HUB_CACHE")
        .env("RUST_LOG", "trace")
        .env("HF_HOME", field.path("home"))
        .env("HF_ENDPOINT", &field.hub.hub)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn variables_reach_the_hub_and_no_log_or_message_has_the_token() {
    let field = Field::new();
    field.hub.fault(&sha256(&weights(100_000)), Fault::Cut(10));
    let output = harvest(&field, &["--json"], &[("HF_TOKEN", TOKEN)]);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["entries"][0]["outcome"], "fetched");
    assert!(stderr.contains("trying again"), "{stderr}");
    assert!(!stdout.contains(TOKEN) && !stderr.contains(TOKEN) && !stderr.contains("s3cret"), "{stderr}");
    let requests = field.hub.requests();
    assert!(requests.iter().any(|request| request.authorization.as_deref() == Some(&format!("Bearer {TOKEN}"))));
}

#[test]
fn the_token_file_and_offline_are_honoured() {
    let field = Field::new();
    std::fs::create_dir(field.path("home")).unwrap();
    std::fs::write(field.path("home/token"), format!("{TOKEN}\n")).unwrap();
    let output = harvest(&field, &["m", "--dry-run"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("to fetch  model m: 4 files"), "{output:?}");
    assert_eq!(field.hub.requests()[0].authorization, Some(format!("Bearer {TOKEN}")));

    for (words, variables, said_by) in
        [(&["--offline"][..], &[][..], "--offline"), (&[][..], &[("HF_HUB_OFFLINE", "1")][..], "HF_HUB_OFFLINE")]
    {
        let output = harvest(&field, words, variables);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(&format!("because of {said_by}")), "{stderr}");
    }
    assert!(field.hub.requests().is_empty());
}
