//! What `push` and `pull` share.

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use clap::Args;
use hayloft_runtime::{Gauge, Progress};
use hayloft_store::{Moved, RemoteOptions, Traffic};
use serde::Serialize;

use super::numbers::{bytes, counted};
use super::output::Output;

/// Where locations and credentials come from; for the end of a help text.
pub(super) const LOCATIONS: &str = "\
Locations are s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX,
https://HOST/PATH (to read from) and file:///FOLDER. Credentials come from the
environment alone, and from the machine only with --instance-credentials:
  s3://  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
         AWS_REGION; AWS_SKIP_SIGNATURE=true for none; AWS_ENDPOINT_URL, and
         AWS_ALLOW_HTTP=true, for a server that is not Amazon's
  gs://  GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT (files),
         GOOGLE_SERVICE_ACCOUNT_KEY (JSON); GOOGLE_SKIP_SIGNATURE=true for
         none; GOOGLE_BASE_URL, and GOOGLE_ALLOW_HTTP=true, for an emulator
  az://  AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY,
         AZURE_STORAGE_SAS_KEY, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and
         AZURE_TENANT_ID; AZURE_SKIP_SIGNATURE=true for none; AZURE_ENDPOINT;
         AZURE_STORAGE_USE_EMULATOR=true for Azurite, at
         AZURITE_BLOB_STORAGE_URL
SSL_CERT_FILE names a PEM file of certificates to trust, for a server whose
certificate no public authority signed. Objects are removed one by one, whatever
AWS_DISABLE_BULK_DELETE says.";

/// How a place elsewhere is reached.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Reaching {
    /// Where no variable names credentials, ask this machine of a cloud for its own, or gcloud's file
    #[arg(long)]
    instance_credentials: bool,
}

impl Reaching {
    pub(super) fn options(self) -> RemoteOptions {
        RemoteOptions { instance_credentials: self.instance_credentials, ..RemoteOptions::default() }
    }
}

/// How files are moved.
#[derive(Debug, Args)]
pub(super) struct Moving {
    /// Files that are moved at a time [default: 8]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    reaching: Reaching,
    #[command(flatten)]
    output: Output,
}

impl Moving {
    pub(super) fn options(&self) -> RemoteOptions {
        let mut options = self.reaching.options();
        if let Some(jobs) = self.jobs {
            options.jobs = jobs.get();
        }
        options
    }

    /// Prints what was done: as JSON, or in the words that end with what was moved.
    pub(super) fn print(
        &self,
        stdout: &mut dyn Write,
        done: &impl Serialize,
        words: &str,
        traffic: Traffic,
    ) -> anyhow::Result<()> {
        Ok(self.output.print(stdout, done, |stdout| writeln!(stdout, "{words}; {}", moved(traffic)))?)
    }
}

/// What was moved, in words.
fn moved(traffic: Traffic) -> String {
    let again = if traffic.repeated > 0 { format!(", {} of them again", traffic.repeated) } else { String::new() };
    format!(
        "{} sent and {} received in {}{again}",
        bytes(traffic.sent),
        bytes(traffic.received),
        counted(traffic.requests, "request")
    )
}

/// A gauge that begins when it is known how much is to be moved.
pub(super) struct Watch {
    doing: &'static str,
    gauge: OnceLock<Gauge>,
}

impl Watch {
    pub(super) fn new(doing: &'static str) -> Self {
        Self { doing, gauge: OnceLock::new() }
    }

    pub(super) fn moved(&self, moved: Moved) {
        match moved {
            Moved::Total(total) => {
                let _ = self.gauge.set(Progress::on_stderr().bytes(self.doing, Some(total)));
            }
            Moved::More(bytes) => {
                if let Some(gauge) = self.gauge.get() {
                    gauge.advance(bytes);
                }
            }
        }
    }
}
