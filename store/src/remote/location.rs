//! Parses locations such as `s3://bucket/prefix`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::{Host, Url};

use crate::error::{Result, StoreError, is_location};

/// If this variable is `true`, `http://` is allowed to other hosts than this machine.
pub(crate) const ALLOW_HTTP: &str = "HAYLOFT_ALLOW_HTTP";

const EXPECTED: &str =
    "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, https://HOST/PATH or file:///FOLDER";

/// The kind of service at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    S3,
    Google,
    Azure,
    /// Any web server; read-only.
    Web,
    /// A local or mounted folder.
    Folder,
}

/// A location that a cache is pushed to, pulled from or read at. It has no user, password or query, so it is safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    url: Url,
    service: Service,
}

impl Location {
    /// Returns whether `text` is a location rather than the path of a folder.
    pub fn is_meant(text: &str) -> bool {
        is_location(text)
    }

    /// Parses the place of a cache; `None` for the path of a folder.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the location is malformed.
    pub fn of_place(place: &Path) -> Result<Option<Self>> {
        place.to_str().filter(|text| Self::is_meant(text)).map(str::parse).transpose()
    }

    pub(crate) fn service(&self) -> Service {
        self.service
    }

    /// Refuses a read-only location.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.service == Service::Web {
            let expected = "a location that can be written to: s3://, gs://, az:// or file://";
            return Err(StoreError::invalid("location", expected, format!("{self}, which is read-only")));
        }
        Ok(())
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the bucket or container.
    pub(crate) fn bucket(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns the folder of a `file://` location.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        (self.service == Service::Folder).then(|| self.url.to_file_path().ok()).flatten()
    }

    /// Returns the URL of an object below the location, for messages.
    pub(crate) fn join(&self, name: &str) -> String {
        format!("{}/{name}", self.url.as_str().trim_end_matches('/'))
    }
}

impl FromStr for Location {
    type Err = StoreError;

    /// # Errors
    /// [`StoreError::Invalid`], whose message never contains a password.
    fn from_str(text: &str) -> Result<Self> {
        // Messages leave out user, password and query, which may be secret.
        let refused = |expected: &str, got: &str| StoreError::invalid("location", expected, got);
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let url =
            Url::parse(text).map_err(|error| refused(EXPECTED, &format!("{scheme}://…, which is none: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            let got = format!("{scheme}://…@{}, with a user or password in it", url.host_str().unwrap_or_default());
            return Err(refused("a location without credentials, which come from the environment alone", &got));
        }
        if url.query().is_some() || url.fragment().is_some() {
            let got = format!("{scheme}://{} with a query or fragment", url.host_str().unwrap_or_default());
            return Err(refused(
                "a location without a query, as what is signed comes from the environment alone",
                &got,
            ));
        }
        let service = match url.scheme() {
            "s3" => Service::S3,
            "gs" => Service::Google,
            "az" => Service::Azure,
            "https" => Service::Web,
            "http" if is_this_machine(&url) || std::env::var(ALLOW_HTTP).is_ok_and(|value| value == "true") => {
                Service::Web
            }
            "http" => {
                let expected =
                    format!("https://, or {ALLOW_HTTP}=true for a server that is trusted without encryption");
                return Err(refused(&expected, text));
            }
            "file" => Service::Folder,
            other => return Err(refused(EXPECTED, &format!("{other}://"))),
        };
        if let (Service::S3 | Service::Google | Service::Azure, Some(port)) = (service, url.port()) {
            let got = format!("{scheme}://{}:{port}", url.host_str().unwrap_or_default());
            let expected = "a bucket's name without a port: the server goes into AWS_ENDPOINT_URL, GOOGLE_BASE_URL or AZURE_ENDPOINT";
            return Err(refused(expected, &got));
        }
        let named = match service {
            Service::Folder => url.to_file_path().is_ok(),
            _ => url.host_str().is_some_and(|host| !host.is_empty()),
        };
        if !named {
            return Err(refused(EXPECTED, text));
        }
        Ok(Self { url, service })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_told_from_folders_and_shown_as_given() {
        for text in ["s3://farm/stories", "gs://farm/a/b", "az://farm/a", "https://hay.example/a", "file:///tmp/a"] {
            assert!(Location::is_meant(text), "{text}");
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        for text in ["caches/stories", "/a/b", "a:b", "://a"] {
            assert!(!Location::is_meant(text), "{text}");
        }
        let location: Location = "s3://farm/stories/".parse().unwrap();
        assert_eq!(location.join("shards/00000/shard.json"), "s3://farm/stories/shards/00000/shard.json");
        assert_eq!(location.bucket(), "farm");
        assert_eq!("file:///a%20b/c".parse::<Location>().unwrap().folder(), Some("/a b/c".into()));
    }

    #[test]
    fn what_could_be_secret_is_refused_and_not_repeated() {
        for text in [
            "s3://user:hunter2@farm/stories",
            "https://hunter2@hay.example/a",
            "https://hay.example/a?sig=hunter2",
            "s3://farm/a#hunter2",
            "https://hunter2:@",
            "s3://a:hunter2@:bad:port/x",
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.starts_with("location: expected ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_port_is_no_part_of_a_bucket() {
        for (text, variable) in [
            ("s3://localhost:9000/farm/a", "AWS_ENDPOINT_URL"),
            ("gs://farm:1/a", "GOOGLE_BASE_URL"),
            ("az://farm:10000/a", "AZURE_ENDPOINT"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains("port") && error.contains(variable), "{error}");
        }
        assert!("https://hay.example:8443/a".parse::<Location>().is_ok());
    }

    #[test]
    fn unencrypted_servers_are_for_this_machine_alone() {
        for text in ["http://127.0.0.1:9000/a", "http://localhost/a", "http://[::1]:80/a"] {
            assert_eq!(text.parse::<Location>().unwrap().service(), Service::Web, "{text}");
        }
        let error = "http://hay.example/a".parse::<Location>().unwrap_err().to_string();
        assert!(error.contains(ALLOW_HTTP), "{error}");
        assert!("ftp://hay.example/a".parse::<Location>().unwrap_err().to_string().contains("s3://"));
        assert!("s3:///a".parse::<Location>().is_err());
    }
}
