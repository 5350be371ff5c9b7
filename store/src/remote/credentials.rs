//! Checks that variables name credentials. Other sources are used only on request.
//!
//! By default, the clients would query the instance metadata service, which hangs outside a cloud, and pick up `gcloud`'s
//! credentials file unasked.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

/// Whether variables name credentials for S3, or select anonymous access.
pub(super) fn named_for_s3(builder: &AmazonS3Builder) -> bool {
    use AmazonS3ConfigKey as Key;
    let has = |key| builder.get_config_value(&key).is_some();
    has(Key::AccessKeyId)
        || has(Key::SecretAccessKey)
        || (has(Key::WebIdentityTokenFile) && has(Key::RoleArn))
        || has(Key::ContainerCredentialsRelativeUri)
        || (has(Key::ContainerCredentialsFullUri) && has(Key::ContainerAuthorizationTokenFile))
        || is_on(builder.get_config_value(&Key::SkipSignature))
}

/// The same for Google Cloud Storage.
pub(super) fn named_for_google(builder: &GoogleCloudStorageBuilder) -> bool {
    use GoogleConfigKey as Key;
    let keys = [Key::ServiceAccount, Key::ServiceAccountKey, Key::ApplicationCredentials, Key::BearerToken];
    keys.iter().any(|key| builder.get_config_value(key).is_some()) || is_anonymous_at_google(builder)
}

/// Whether access to Google Cloud Storage is anonymous.
pub(super) fn is_anonymous_at_google(builder: &GoogleCloudStorageBuilder) -> bool {
    is_on(builder.get_config_value(&GoogleConfigKey::SkipSignature))
}

/// The same for Azure.
pub(super) fn named_for_azure(builder: &MicrosoftAzureBuilder) -> bool {
    use AzureConfigKey as Key;
    let has = |key| builder.get_config_value(&key).is_some();
    let on = |key| is_on(builder.get_config_value(&key));
    let kind = builder.get_config_value(&Key::CredentialType);
    has(Key::Token)
        || has(Key::AccessKey)
        || has(Key::SasKey)
        || (has(Key::ClientId) && has(Key::AuthorityId) && (has(Key::ClientSecret) || has(Key::FederatedTokenFile)))
        || (has(Key::FabricTokenServiceUrl) && has(Key::FabricSessionToken))
        || [Key::UseAzureCli, Key::UseEmulator, Key::SkipSignature].into_iter().any(on)
        || kind.is_some_and(|kind| !["auto", "managed_identity"].contains(&kind.as_str()))
}

/// Whether a setting is on, in a spelling that the clients accept.
pub(super) fn is_on(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str()))
}
