//! What a service said, as an error for people: with what to do, and without anything secret.

use object_store::Error;

use crate::error::StoreError;
use crate::remote::environment::Environment;
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;

/// Variables that hold something which must never be shown.
const SECRET: [&str; 4] = ["SECRET", "TOKEN", "KEY", "PASSWORD"];

/// Shorter values are no secrets, and would be found everywhere.
const SHORTEST_SECRET: usize = 4;

/// The error for what went wrong with an object.
pub(crate) fn failed(
    location: &Location,
    options: &RemoteOptions,
    url: String,
    action: &'static str,
    tries: u32,
    error: &Error,
) -> StoreError {
    let mut got = scrubbed(&with_causes(error), &options.environment);
    if tries > 1 {
        got = format!("{got}, after {tries} tries");
    }
    StoreError::Remote {
        url,
        action,
        expected: "an answer".into(),
        got: got.into(),
        advice: advice(location, error).into(),
    }
}

/// An error with what it was caused by, each said once.
fn with_causes(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    // The body of an answer may be a page.
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(1000).collect()
}

fn advice(location: &Location, error: &Error) -> String {
    let looked_at = variables(location.service());
    match error {
        Error::NotFound { .. } => format!("Is there such a bucket or folder? {looked_at}"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            format!("Are the credentials right, and do they allow it? {looked_at}")
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            "The service lacks what this needs: ranges, to be read, or conditional writes, to be pushed to".to_owned()
        }
        _ => format!(
            "Is the service up, and can it be reached from here? {looked_at} Then run the same command again: it goes on where it stopped"
        ),
    }
}

/// Which variables say who we are and where the service is.
pub(crate) fn variables(service: Service) -> &'static str {
    match service {
        Service::S3 => {
            "Looked at are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP and AWS_SKIP_SIGNATURE."
        }
        Service::Google => {
            "Looked at are GOOGLE_SERVICE_ACCOUNT, GOOGLE_SERVICE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_SKIP_SIGNATURE."
        }
        Service::Azure => {
            "Looked at are AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID."
        }
        Service::Web | Service::Folder => "No credentials are used.",
    }
}

/// `words` without the queries of addresses, which may be signed, and without what secret variables hold.
pub(crate) fn scrubbed(words: &str, environment: &Environment) -> String {
    let variables = environment.variables(&["AWS_", "GOOGLE_", "AZURE_"]).into_iter();
    let secrets = variables
        .filter(|(name, value)| SECRET.iter().any(|part| name.contains(part)) && value.len() >= SHORTEST_SECRET);
    let words = secrets.fold(words.to_owned(), |words, (_, secret)| words.replace(&secret, "…"));
    let mut clean = String::with_capacity(words.len());
    let mut rest = words.as_str();
    while let Some(start) = rest.find("://") {
        let (before, address) = rest.split_at(start + "://".len());
        let end = address.find(|letter: char| letter.is_whitespace() || "\"'`<>()".contains(letter));
        let (address, after) = address.split_at(end.unwrap_or(address.len()));
        let place = address.split(['?', '#']).next().unwrap_or_default();
        // A user and a password come before the first slash.
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        clean += before;
        clean += host.rsplit('@').next().unwrap_or_default();
        clean += path;
        rest = after;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_users_are_taken_out_of_addresses() {
        let words = "GET https://user:hunter2@hay.example/a/b?sig=hunter2&x=1 (at http://h/p?hunter2): refused? yes";
        assert_eq!(scrubbed(words, &Environment::Process), "GET https://hay.example/a/b (at http://h/p): refused? yes");
    }

    #[test]
    fn what_secret_variables_hold_is_taken_out() {
        let secret = ("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned());
        let region = ("AWS_REGION".to_owned(), "eu-west-1".to_owned());
        let environment = Environment::Given([secret, region].into());
        assert_eq!(scrubbed("hunter2 of eu-west-1", &environment), "… of eu-west-1");
    }

    #[test]
    fn what_a_service_lacks_is_met_with_the_variables_that_were_looked_at() {
        let location: Location = "s3://farm/stories".parse().unwrap();
        let error = Error::NotFound { path: "a".to_owned(), source: "no such bucket".into() };
        let error = failed(&location, &RemoteOptions::default(), location.join("a"), "read", 3, &error).to_string();
        for words in ["s3://farm/stories/a: cannot read", "no such bucket", "after 3 tries", "AWS_ENDPOINT_URL"] {
            assert!(error.contains(words), "{words} is not in: {error}");
        }
    }
}
