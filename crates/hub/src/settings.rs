//! Hub settings: endpoint, token and retries, from the environment variables of Hugging Face programs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http::Uri;

use crate::error::HubError;

/// Hub settings.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The Hub's URL.
    pub endpoint: Endpoint,
    /// The access token; `None` for anonymous access.
    pub token: Option<Token>,
    /// The cache that Hugging Face's programs share: `models--OWNER--NAME/` with `blobs`, `refs` and `snapshots`.
    pub cache: PathBuf,
    /// Whether network access is allowed.
    pub network: NetworkAccess,
    /// The retry budget.
    pub retries: RetrySettings,
}

/// Whether network access is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkAccess {
    /// Allowed.
    Online,
    /// Not allowed: only local files are used.
    Offline {
        /// The flag or variable that sets offline mode.
        said_by: &'static str,
    },
}

/// The retry budget. A transient failure (no connection, 429, 5xx) is retried after a wait that doubles each time, or
/// that the server requests.
#[derive(Debug, Clone, Copy)]
pub struct RetrySettings {
    /// Limit on consecutive failures. Progress resets the count.
    pub attempts: u32,
    /// The wait after the first failure.
    pub first_wait: Duration,
    /// The longest wait. If the server requests a longer one, the request fails.
    pub longest_wait: Duration,
    /// Timeout of an idle connection.
    pub silence: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            silence: Duration::from_secs(60),
        }
    }
}

impl RetrySettings {
    /// Returns the wait after this number of consecutive failures, given the wait that the server requests; `None` to
    /// give up.
    pub(crate) fn wait(&self, failures: u32, asked_for: Option<Duration>) -> Option<Duration> {
        let doubled = self.first_wait.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        let wait = asked_for.unwrap_or(doubled.min(self.longest_wait));
        (failures < self.attempts && wait <= self.longest_wait).then_some(wait)
    }
}

/// A Hub access token. Never printed.
#[derive(Clone)]
pub struct Token {
    pub(crate) secret: String,
    /// The variable or file that holds the token.
    pub(crate) source: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Token {
    /// Checks a token from a variable or file. It is sent in a header, so it must be plain text.
    pub fn new(secret: &str, source: impl Into<String>) -> Result<Self, HubError> {
        let (secret, source) = (secret.trim().to_owned(), source.into());
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let expected = "a token such as hf_…, without spaces (https://huggingface.co/settings/tokens)";
            return Err(HubError::Setting { setting: source, expected, got: "something else".to_owned() });
        }
        Ok(Self { secret, source })
    }
}

/// The Hub's URL, without a trailing slash.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) address: String,
    pub(crate) origin: Origin,
}

/// The origin of a URL: scheme, host and port. Decides whether a URL belongs to the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an HTTP or HTTPS URL.
    pub(crate) fn of(address: &Uri) -> Option<Self> {
        let scheme = address.scheme_str()?.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = address.host()?.to_ascii_lowercase();
        Some(Self { scheme, host, port: address.port_u16().unwrap_or(usual) })
    }
}

impl Endpoint {
    const HUB: &str = "https://huggingface.co";

    /// Parses a URL from the setting `setting`.
    pub fn new(address: &str, setting: &str) -> Result<Self, HubError> {
        let address = address.trim().trim_end_matches('/');
        let parsed = address.parse::<Uri>().ok();
        let plain = !address.contains(['@', '?', '#']);
        match parsed.as_ref().and_then(Origin::of).filter(|_| plain) {
            Some(origin) => Ok(Self { address: address.to_owned(), origin }),
            None => Err(HubError::Setting {
                setting: setting.to_owned(),
                expected: "the address of a Hub, such as https://huggingface.co, without user or query",
                // A URL may contain a password.
                got: if address.contains('@') { "one with a user".to_owned() } else { format!("{address:?}") },
            }),
        }
    }
}

impl HubSettings {
    /// Reads the variables of Hugging Face's programs, as `huggingface_hub` does: `HF_ENDPOINT`, `HF_TOKEN` or else the
    /// file `HF_TOKEN_PATH` (by default the one that `hf auth login` writes), `HF_HUB_DISABLE_IMPLICIT_TOKEN`,
    /// `HF_HUB_OFFLINE`, `HF_HUB_CACHE`, `HF_HOME` and `XDG_CACHE_HOME`. `variable` returns a variable's value. An empty
    /// variable counts as unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| Some((variable(name)?, (*name).to_owned())));
        let is_on = |name: &str| {
            let on = |value: String| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str());
            variable(name).is_some_and(on)
        };
        let home = variable("HF_HOME").map_or_else(
            || {
                let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
                let caches = caches.or_else(|| Some(dirs::home_dir()?.join(".cache")));
                caches.unwrap_or_default().join("huggingface")
            },
            PathBuf::from,
        );
        let saved = || {
            let path = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
            let token = std::fs::read_to_string(&path).ok().filter(|token| !token.trim().is_empty())?;
            Some((token, path.display().to_string()))
        };
        let token = || first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(saved);
        let token = (!is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")).then(token).flatten();
        let token = token.map(|(secret, source)| Token::new(&secret, source)).transpose()?;
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| Endpoint::HUB.to_owned());
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| is_on(name));
        let cache = first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        Ok(Self {
            endpoint: Endpoint::new(&endpoint, "HF_ENDPOINT")?,
            token,
            cache: cache.map_or_else(|| home.join("hub"), |(cache, _)| PathBuf::from(cache)),
            network: offline.map_or(NetworkAccess::Online, |said_by| NetworkAccess::Offline { said_by }),
            retries: RetrySettings::default(),
        })
    }

    /// Reads the variables of this process.
    pub fn from_environment() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<HubSettings, HubError> {
        HubSettings::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_honoured() {
        let home = tempfile::tempdir().unwrap();
        let home_text = home.path().to_str().unwrap();
        let settings = read(&[("HF_HOME", home_text), ("HF_ENDPOINT", "http://127.0.0.1:8080/")]).unwrap();
        assert_eq!(settings.endpoint.address, "http://127.0.0.1:8080");
        assert_eq!(settings.cache, home.path().join("hub"));
        assert!(settings.token.is_none());
        assert_eq!(settings.network, NetworkAccess::Online);

        fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let from_file = read(&[("HF_HOME", home_text), ("HF_TOKEN", " ")]).unwrap().token.unwrap();
        assert_eq!(from_file.secret, "hf_file");
        let from_variable = read(&[("HF_HOME", home_text), ("HF_TOKEN", "hf_v")]).unwrap().token.unwrap();
        assert_eq!((from_variable.secret.as_str(), from_variable.source.as_str()), ("hf_v", "HF_TOKEN"));
        let elsewhere = read(&[("HF_HOME", home_text), ("HF_HUB_CACHE", "/cache")]).unwrap();
        assert_eq!((elsewhere.cache, elsewhere.token.is_some()), (PathBuf::from("/cache"), true));
        fs::write(home.path().join("other"), "hf_other").unwrap();
        let other = home.path().join("other");
        let elsewhere = read(&[("HF_HOME", home_text), ("HF_TOKEN_PATH", other.to_str().unwrap())]).unwrap();
        assert_eq!(elsewhere.token.unwrap().secret, "hf_other");
        assert!(read(&[("HF_HOME", home_text), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).unwrap().token.is_none());
        assert_eq!(read(&[("XDG_CACHE_HOME", "/c")]).unwrap().cache, PathBuf::from("/c/huggingface/hub"));
        for (value, offline) in [("1", true), ("TRUE", true), ("0", false), ("", false)] {
            let network = read(&[("HF_HOME", home_text), ("HF_HUB_OFFLINE", value)]).unwrap().network;
            assert_eq!(network != NetworkAccess::Online, offline, "{value}");
        }
    }

    #[test]
    fn invalid_addresses_and_tokens_are_refused_and_not_printed() {
        for address in ["huggingface.co", "ftp://huggingface.co", "https://", "https://h/?a=1"] {
            let message = read(&[("HF_HOME", "/none"), ("HF_ENDPOINT", address)]).unwrap_err().to_string();
            assert!(message.contains("HF_ENDPOINT: expected the address of a Hub"), "{message}");
        }
        let error = read(&[("HF_HOME", "/none"), ("HF_ENDPOINT", "https://me:secret@h")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let error = read(&[("HF_HOME", "/none"), ("HF_TOKEN", "hf_se cret")]).unwrap_err();
        assert!(error.to_string().contains("HF_TOKEN: expected a token"), "{error}");
        assert!(!format!("{error} {error:?}").contains("cret\""));
        let token = Token::new("hf_secret", "HF_TOKEN").unwrap();
        assert!(!format!("{token:?}").contains("hf_secret"));
    }

    #[test]
    fn waits_double_and_end() {
        let retries = RetrySettings { attempts: 4, first_wait: Duration::from_secs(1), ..RetrySettings::default() };
        let waits: Vec<_> = (1..=4).map(|failures| retries.wait(failures, None).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), None]);
        assert_eq!(retries.wait(1, Some(Duration::from_secs(30))), Some(Duration::from_secs(30)));
        assert_eq!(retries.wait(1, Some(Duration::from_secs(3000))), None);
    }
}
