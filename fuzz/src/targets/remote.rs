//! A cache at another place: read through the local shelf, and pulled.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hayloft_store::{Cache, Environment, Location, PullSelection, RemoteOptions, fuzzing, plan_at, pull};

use super::records::whole_shard;
use crate::bundle::{self, Bundled};
use crate::guarded::scratch;
use crate::outcome::words;
use crate::{Outcome, seeds};

/// More shards than any seed has.
const MOST_SHARDS: usize = 8;

/// The objects that an input may say; the others are those of a small cache.
pub(crate) const OBJECTS: [&str; 4] =
    ["plan.json", "shards/00000/tokens.parquet", "shards/00000/shard.json", "manifest.json"];

/// A bucket, of which some objects are made up, and every hash agrees.
pub(super) fn reading(input: &[u8]) -> Outcome {
    let root = scratch::folder("remote", |root| seeds::cache::write(&root.join("whole")));
    let bucket = root.join("bucket");
    scratch::clear(&bucket);
    for (name, bytes) in objects(&root.join("whole"), input) {
        scratch::write_below(&bucket, &name, &bytes);
    }
    let (shelf, pulled) = (root.join("shelf"), root.join("pulled"));
    scratch::clear(&shelf);
    scratch::clear(&pulled);
    let location: Location = format!("file://{}", bucket.display()).parse().map_err(words)?;
    let options = RemoteOptions {
        environment: Environment::Given(BTreeMap::new()),
        folder: Some(shelf),
        // What is recorded may be any length; what is read is bounded.
        limit: 1 << 20,
        instance_credentials: false,
        budget: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        pause: Duration::ZERO,
        // Several requests a file.
        part_bytes: 500,
        jobs: 2,
    };
    let read = read(&location, &options);
    pull(&location, &pulled, &PullSelection::default(), &options, &|_| ()).map_err(words)?;
    read
}

fn read(location: &Location, options: &RemoteOptions) -> Outcome {
    let cache = Cache::open_location(location, options).map_err(words)?;
    drop(plan_at(location.to_string().as_ref(), options));
    let places = 0..cache.shards().min(MOST_SHARDS);
    // All of them, whatever the first one gives.
    places.map(|place| whole_shard(&cache.shard(place))).collect::<Vec<_>>().into_iter().collect()
}

/// The bucket's objects by name.
fn objects(whole: &Path, input: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut objects = scratch::read_below(whole);
    let files = bundle::parse(input);
    // Each names those before it.
    for name in OBJECTS {
        let given = files.iter().find(|file| file.name == name);
        let bytes = given.map_or_else(|| objects.get(name).cloned().unwrap_or_default(), |file| file.bytes.to_vec());
        let bytes = if Path::new(&name).extension().is_some_and(|kind| kind == "json") {
            agreeing(name, &bytes, &objects, &files)
        } else {
            bytes
        };
        objects.insert(name.to_owned(), bytes);
    }
    objects
}

/// The bytes of a JSON file that agree with the objects before it.
fn agreeing(name: &str, bytes: &[u8], objects: &BTreeMap<String, Vec<u8>>, files: &[Bundled<'_>]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let own = |name: &str| {
        let sized = files.iter().find(|file| file.name == name).is_none_or(|file| file.sized);
        Bundled { name: "", bytes: objects.get(name).map_or(&[], Vec::as_slice), sized }
    };
    if name != "plan.json" {
        let plan = fuzzing::blake3(own("plan.json").bytes);
        bundle::replace(&mut text, 0, "\"plan_blake3\": \"", |byte| byte == b'"', &plan);
        bundle::put_right(&mut text, "tokens.parquet", &own("shards/00000/tokens.parquet"));
    }
    if name == "manifest.json" {
        bundle::put_right(&mut text, "shard.json", &own("shards/00000/shard.json"));
    }
    fuzzing::sealed(text.as_bytes())
}
