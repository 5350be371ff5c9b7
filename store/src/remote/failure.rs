//! Turns a service's response into an error message with advice and without secrets.

use std::error::Error as StdError;
use std::io;

use object_store::Error;

use crate::error::StoreError;
use crate::remote::cause::{Cause, Failure};
use crate::remote::environment::Environment;
use crate::remote::location::{Location, Service};

/// Parts of the names of variables that hold secrets.
const SECRET: [&str; 4] = ["SECRET", "TOKEN", "KEY", "PASSWORD"];

/// Shorter values are not secrets, and would match everywhere.
const SHORTEST_SECRET: usize = 4;

/// Returns an error and its sources, outermost first.
pub(crate) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut next = Some(error);
    while let Some(error) = next {
        // `source` of an I/O error skips the error that it wraps.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = held.map(|held| held as &(dyn StdError + 'static)).or_else(|| error.source());
        all.extend(next);
    }
    all
}

/// Formats an error with its sources, without repetition.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut words = String::new();
    for cause in causes(error) {
        let inner = cause.to_string();
        if !words.contains(&inner) {
            words = if words.is_empty() { inner } else { format!("{words}: {inner}") };
        }
    }
    // A response body may be XML or HTML.
    let words = words.split('<').next().unwrap_or_default();
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// Returns why a request failed, if the error comes from a request.
pub(crate) fn cause(error: &Error) -> Option<Cause> {
    failure(error).map(|failure| failure.cause)
}

fn failure(error: &Error) -> Option<&Failure> {
    causes(error).into_iter().find_map(|cause| cause.downcast_ref())
}

/// Whether the object does not exist although its bucket does.
pub(crate) fn is_absent(error: &Error) -> bool {
    match cause(error) {
        Some(cause) => cause == Cause::Absent,
        None => matches!(error, Error::NotFound { .. }),
    }
}

/// Whether the condition of a write did not hold.
pub(crate) fn is_condition(error: &Error) -> bool {
    match cause(error) {
        Some(cause) => cause == Cause::Condition,
        None => matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. }),
    }
}

/// Returns the error for a failed operation on an object.
pub(crate) fn failed(
    location: &Location,
    environment: &Environment,
    url: String,
    action: &'static str,
    error: &Error,
) -> StoreError {
    let got = failure(error).map_or_else(|| scrubbed(&with_causes(error), environment), ToString::to_string);
    let expected = match cause(error) {
        Some(Cause::Absent) => "such an object",
        Some(Cause::NoBucket) => "such a bucket or container",
        Some(Cause::Length) => "an object of the recorded size",
        Some(Cause::Setting) => "settings that make a request",
        _ => "an answer",
    };
    let advice = match cause(error) {
        Some(cause) => advice(location, cause),
        None if location.service() == Service::Folder => {
            "Is the folder there, and may this user read and write it?".to_owned()
        }
        None => format!(
            "The settings may be wrong, or what answers is another kind of service. {}",
            variables(location.service())
        ),
    };
    StoreError::Remote { url, action, expected: expected.into(), got: got.into(), advice: advice.into() }
}

/// Returns what to do about each cause.
fn advice(location: &Location, cause: Cause) -> String {
    let looked_at = variables(location.service());
    let is_web = location.service() == Service::Web;
    match cause {
        Cause::Absent | Cause::Length => mend(location),
        Cause::NoBucket => format!(
            "Is the name right, and the service the right one? A bucket is made with its service's own program, such as `aws s3 mb`. {looked_at}"
        ),
        Cause::Denied if is_web => {
            "The server does not give this to everybody, and Hayloft sends no credentials to web servers: make it public, or name the bucket itself, as s3://, gs:// or az://".to_owned()
        }
        Cause::Denied => format!(
            "Are the credentials right and still valid, and do they allow it? Where listing is not allowed, services say so of what is not there too. {looked_at}"
        ),
        Cause::Condition => "Another writer changed it meanwhile: run the same command again".to_owned(),
        Cause::Redirect if is_web => "Use the address that the server redirects to".to_owned(),
        Cause::Redirect => format!("Is the region that of the bucket, and the endpoint the service's own? {looked_at}"),
        Cause::Unsupported | Cause::Page if is_web => {
            "What is there is a page for people, or a server that does not know ranges: name the folder that has manifest.json, on a server such as nginx, Apache or S3".to_owned()
        }
        Cause::Unsupported | Cause::Page => {
            "The service lacks what this needs: ranges, to be read, or conditional writes (If-None-Match, If-Match), to be pushed to. Use another service, or a file:// folder".to_owned()
        }
        Cause::Refused => format!("The service does not accept the request. {looked_at}"),
        Cause::Certificate => format!(
            "Nothing was sent. Does the server speak TLS at that port? If its certificate is signed privately, SSL_CERT_FILE names a PEM file of the authority. {looked_at}"
        ),
        Cause::NotListening => format!("Nothing listens there: is the service running, and the address right? {looked_at}"),
        Cause::UnknownHost => format!("Is the host's name right, and is there a network? {looked_at}"),
        Cause::Setting => {
            format!("For a server without encryption, *_ALLOW_HTTP=true must be set besides. {looked_at}")
        }
        Cause::Busy | Cause::Silent | Cause::Broken => format!(
            "Is the service well, and can it be reached from here? {looked_at} Then run the same command again: it goes on where it stopped"
        ),
    }
}

/// Returns how to repair a missing or damaged object.
pub(crate) fn mend(location: &Location) -> String {
    match location.service() {
        Service::Web => format!(
            "Is {location} the folder that has manifest.json? If it is, its owner can mend it with `store push` from a whole copy"
        ),
        _ => format!(
            "Run `store push CACHE {location}` from a whole copy of the cache: it writes anew what is missing or damaged there"
        ),
    }
}

/// Returns the variables that name credentials and endpoint.
pub(crate) fn variables(service: Service) -> &'static str {
    match service {
        Service::S3 => {
            "Looked at are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP and AWS_SKIP_SIGNATURE."
        }
        Service::Google => {
            "Looked at are GOOGLE_SERVICE_ACCOUNT, GOOGLE_SERVICE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_BASE_URL, GOOGLE_ALLOW_HTTP and GOOGLE_SKIP_SIGNATURE."
        }
        Service::Azure => {
            "Looked at are AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID, AZURE_ENDPOINT and AZURE_STORAGE_USE_EMULATOR."
        }
        Service::Web | Service::Folder => "No credentials are used.",
    }
}

/// Removes URL queries, which may be signed, and the values of secret variables from `words`.
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
        // User and password come before the first slash.
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
    fn what_is_not_there_is_met_with_what_puts_it_there() {
        let location: Location = "s3://farm/stories".parse().unwrap();
        let environment = Environment::default();
        let error = Error::NotFound { path: "a".to_owned(), source: "<Error>no such key</Error>".into() };
        let error = failed(&location, &environment, location.join("a"), "read", &error).to_string();
        assert!(error.starts_with("s3://farm/stories/a: cannot read") && !error.contains('<'), "{error}");
        assert!(mend(&location).contains("store push CACHE s3://farm/stories"));
        assert!(mend(&"https://hay.example/stories".parse().unwrap()).contains("its owner"));
    }
}
