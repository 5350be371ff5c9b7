//! Builds the client of a service, with credentials from the environment.

use std::str::FromStr;
use std::sync::{Arc, Once};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use url::Url;

use crate::error::{Result, StoreError};
use crate::remote::credentials::{is_anonymous_at_google, is_on, named_for_azure, named_for_google, named_for_s3};
use crate::remote::failure::{scrubbed, variables, with_causes};
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;
use crate::remote::requests::Requests;
use crate::remote::traffic::Counters;

/// Disables the client's own retries: only `Requests` retries.
const NEVER_AGAIN: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::ZERO, max_backoff: Duration::ZERO, base: 2.0 },
    max_retries: 0,
    retry_timeout: Duration::ZERO,
};

/// Returns the client and the prefix of its object names.
pub(crate) fn connect(
    location: &Location,
    options: &RemoteOptions,
    counters: &Arc<Counters>,
) -> Result<(Arc<dyn ObjectStore>, Path)> {
    install_tls();
    let requests = Requests::new(options, counters);
    let setting = |error: &object_store::Error| {
        let got = scrubbed(&with_causes(error), &options.environment);
        wrong_setting(location, "settings that make a client", &got, variables(location.service()))
    };
    let prefix = Path::from_url_path(location.url().path());
    let prefix = prefix.map_err(|_| StoreError::invalid("location", "a path that names objects", location))?;
    let timeout = format!("{} ms", options.timeout.as_millis());
    let timeout = (ClientConfigKey::Timeout, timeout);
    let built = match location.service() {
        Service::S3 => {
            let mut builder = AmazonS3Builder::new();
            for (key, value) in settings::<AmazonS3ConfigKey>(options, &["AWS_"]) {
                builder = builder.with_config(key, value);
            }
            let value = |key| builder.get_config_value(&key);
            let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
            check_endpoint(location, "AWS", endpoint, value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)))?;
            check_named(location, options, named_for_s3(&builder))?;
            // Not every service supports bulk deletes.
            let builder = builder.with_disable_bulk_delete(true).with_bucket_name(location.bucket());
            let builder = builder.with_config(AmazonS3ConfigKey::Client(timeout.0), timeout.1);
            builder.with_retry(NEVER_AGAIN).with_http_connector(requests).build().map(|store| Arc::new(store) as _)
        }
        Service::Google => {
            let mut builder = GoogleCloudStorageBuilder::new();
            for (key, value) in settings::<GoogleConfigKey>(options, &["GOOGLE_", "SERVICE_ACCOUNT"]) {
                builder = builder.with_config(key, value);
            }
            let value = |key| builder.get_config_value(&key);
            let allowed = value(GoogleConfigKey::Client(ClientConfigKey::AllowHttp));
            check_endpoint(location, "GOOGLE", value(GoogleConfigKey::BaseUrl), allowed)?;
            check_named(location, options, named_for_google(&builder))?;
            if is_anonymous_at_google(&builder) {
                // Otherwise the client would still look for gcloud's credentials file.
                let anonymous = GcpCredential { bearer: String::new() };
                builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(anonymous)));
            }
            let builder = builder.with_bucket_name(location.bucket());
            let builder = builder.with_config(GoogleConfigKey::Client(timeout.0), timeout.1);
            builder.with_retry(NEVER_AGAIN).with_http_connector(requests).build().map(|store| Arc::new(store) as _)
        }
        Service::Azure => {
            let mut builder = MicrosoftAzureBuilder::new();
            for (key, value) in settings::<AzureConfigKey>(options, &["AZURE_", "MSI_ENDPOINT"]) {
                builder = builder.with_config(key, value);
            }
            let value = |key| builder.get_config_value(&key);
            let allowed = value(AzureConfigKey::Client(ClientConfigKey::AllowHttp));
            check_endpoint(location, "AZURE", value(AzureConfigKey::Endpoint), allowed)?;
            check_named(location, options, named_for_azure(&builder))?;
            let builder = builder.with_container_name(location.bucket());
            let builder = builder.with_config(AzureConfigKey::Client(timeout.0), timeout.1);
            builder.with_retry(NEVER_AGAIN).with_http_connector(requests).build().map(|store| Arc::new(store) as _)
        }
        Service::Web => {
            // Unencrypted addresses were checked when the location was parsed.
            let client = ClientOptions::new().with_allow_http(true).with_timeout(options.timeout);
            let mut base = location.url().clone();
            base.set_path("");
            let builder = HttpBuilder::new().with_url(base).with_client_options(client).with_retry(NEVER_AGAIN);
            builder.with_http_connector(requests).build().map(|store| Arc::new(store) as _)
        }
        Service::Folder => {
            let folder = location.folder().map(Path::from_absolute_path);
            let Some(Ok(folder)) = folder else {
                return Err(StoreError::invalid("location", "the path of a folder", location));
            };
            return Ok((Arc::new(LocalFileSystem::new().with_fsync(true)), folder));
        }
    };
    Ok((built.map_err(|error| setting(&error))?, prefix))
}

/// Requires credentials from variables, unless instance credentials are allowed.
fn check_named(location: &Location, options: &RemoteOptions, named: bool) -> Result<()> {
    if named || options.instance_credentials {
        return Ok(());
    }
    let advice = format!(
        "Set them, or *_SKIP_SIGNATURE=true for public objects; on a machine of the cloud, --instance-credentials asks it for its own. {}",
        variables(location.service())
    );
    Err(wrong_setting(location, "credentials in the environment", "none", &advice))
}

/// Checks that the service's endpoint is https, or http where that is allowed.
fn check_endpoint(
    location: &Location,
    prefix: &str,
    endpoint: Option<String>,
    allow_http: Option<String>,
) -> Result<()> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    // The address may contain a password, so the error does not repeat it.
    let url = Url::parse(&endpoint).ok().filter(Url::has_host);
    let (got, advice) = match url.as_ref().map(Url::scheme) {
        Some("https") => return Ok(()),
        Some("http") if is_on(allow_http) => return Ok(()),
        Some("http") => (
            "one with http://".to_owned(),
            format!("{prefix}_ALLOW_HTTP=true allows it, for a server that is trusted without encryption. "),
        ),
        Some(scheme) => (format!("one with {scheme}"), String::new()),
        None => ("something else".to_owned(), String::new()),
    };
    let advice = advice + variables(location.service());
    Err(wrong_setting(location, "an endpoint such as https://HOST:PORT", &got, &advice))
}

fn wrong_setting(location: &Location, expected: &str, got: &str, advice: &str) -> StoreError {
    let url = location.to_string();
    StoreError::Remote { url, action: "reach", expected: expected.into(), got: got.into(), advice: advice.into() }
}

/// Returns the variables that a client knows, as its configuration keys.
fn settings<K: FromStr>(options: &RemoteOptions, prefixes: &[&str]) -> Vec<(K, String)> {
    let variables = options.environment.variables(prefixes).into_iter();
    variables.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value))).collect()
}

/// Installs the workspace's TLS provider. A provider installed earlier is kept.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::environment::Environment;

    fn error(location: &str, variables: &[(&str, &str)]) -> Option<String> {
        let given = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = RemoteOptions { environment: Environment::Given(given), ..RemoteOptions::default() };
        let counters = Arc::default();
        connect(&location.parse().unwrap(), &options, &counters).err().map(|error| error.to_string())
    }

    #[test]
    fn without_credentials_in_variables_no_service_is_asked() {
        for (location, without, with) in [
            ("s3://farm/a", &[][..], &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")][..]),
            ("s3://farm/a", &[("AWS_ROLE_ARN", "a")], &[("AWS_SKIP_SIGNATURE", "true")]),
            ("gs://farm/a", &[], &[("GOOGLE_SKIP_SIGNATURE", "true")]),
            (
                "az://farm/a",
                &[("AZURE_STORAGE_ACCOUNT_NAME", "hay")],
                &[("AZURE_STORAGE_ACCOUNT_NAME", "hay"), ("AZURE_STORAGE_ACCOUNT_KEY", "aGF5")],
            ),
            (
                "az://farm/a",
                &[("AZURE_STORAGE_ACCOUNT_NAME", "hay"), ("AZURE_CREDENTIAL_TYPE", "managed_identity")],
                &[("AZURE_STORAGE_USE_EMULATOR", "true")],
            ),
        ] {
            let refused = error(location, without).unwrap();
            assert!(refused.contains("credentials in the environment, got none"), "{refused}");
            assert!(refused.contains("--instance-credentials"), "{refused}");
            assert_eq!(error(location, with), None);
        }
    }

    #[test]
    fn wrong_settings_are_told_as_such() {
        let credentials = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        for (name, value, words) in [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000", "AWS_ALLOW_HTTP=true"),
            ("AWS_ENDPOINT_URL", "127.0.0.1:9000", "https://HOST:PORT"),
            ("AWS_ENDPOINT_URL", "https://", "https://HOST:PORT"),
            ("AWS_ALLOW_HTTP", "perhaps", "perhaps"),
            ("AWS_CHECKSUM_ALGORITHM", "md0", "md0"),
        ] {
            let error = error("s3://farm/a", &[&credentials[..], &[(name, value)]].concat()).unwrap();
            assert!(error.contains("cannot reach") && error.contains(words), "{error}");
            assert!(error.contains("AWS_REGION") && !error.contains("Is the service"), "{error}");
        }
    }
}
