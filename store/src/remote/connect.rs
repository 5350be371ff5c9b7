//! The client of a service, with credentials from the environment.

use std::str::FromStr;
use std::sync::{Arc, Once};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use crate::error::{Result, StoreError};
use crate::remote::failure::failed;
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;

/// Long enough for a service that is busy, short enough for a person who waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The client, and the path within it that names of objects follow.
pub(crate) fn connect(location: &Location, options: &RemoteOptions) -> Result<(Arc<dyn ObjectStore>, Path)> {
    install_tls();
    build(location, options)
        .map_err(|error| failed(location, options, location.to_string(), "reach", 1, &error))?
        .ok_or_else(|| StoreError::invalid("location", "a path that names objects", location))
}

fn build(location: &Location, options: &RemoteOptions) -> object_store::Result<Option<(Arc<dyn ObjectStore>, Path)>> {
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: options.pause, max_backoff: LONGEST_PAUSE, base: 2.0 },
        max_retries: options.attempts.saturating_sub(1) as usize,
        ..RetryConfig::default()
    };
    let timeout = format!("{} ms", options.timeout.as_millis());
    let key = ClientConfigKey::Timeout;
    let prefix = Path::from_url_path(location.url().path())?;
    Ok(Some(match location.service() {
        Service::S3 => {
            let mut builder = AmazonS3Builder::new();
            for (key, value) in settings(options, &["AWS_"]) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_bucket_name(location.bucket()).with_retry(retry);
            (Arc::new(builder.with_config(AmazonS3ConfigKey::Client(key), timeout).build()?), prefix)
        }
        Service::Google => {
            let mut builder = GoogleCloudStorageBuilder::new();
            for (key, value) in settings(options, &["GOOGLE_", "SERVICE_ACCOUNT"]) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_bucket_name(location.bucket()).with_retry(retry);
            (Arc::new(builder.with_config(GoogleConfigKey::Client(key), timeout).build()?), prefix)
        }
        Service::Azure => {
            let mut builder = MicrosoftAzureBuilder::new();
            for (key, value) in settings(options, &["AZURE_", "MSI_ENDPOINT"]) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_container_name(location.bucket()).with_retry(retry);
            (Arc::new(builder.with_config(AzureConfigKey::Client(key), timeout).build()?), prefix)
        }
        Service::Web => {
            // Whether the address may be unencrypted was decided when it was read.
            let client = ClientOptions::new().with_allow_http(true).with_timeout(options.timeout);
            let mut base = location.url().clone();
            base.set_path("");
            let store = HttpBuilder::new().with_url(base).with_client_options(client).with_retry(retry).build()?;
            (Arc::new(store), prefix)
        }
        Service::Folder => {
            let Some(folder) = location.folder() else { return Ok(None) };
            (Arc::new(LocalFileSystem::new().with_fsync(true)), Path::from_absolute_path(folder)?)
        }
    }))
}

/// The variables that a client knows, as its keys.
fn settings<K: FromStr>(options: &RemoteOptions, prefixes: &[&str]) -> Vec<(K, String)> {
    let variables = options.environment.variables(prefixes).into_iter();
    variables.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value))).collect()
}

/// TLS by the provider that the workspace has anyway. Somebody else's choice, made before, is as good.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
