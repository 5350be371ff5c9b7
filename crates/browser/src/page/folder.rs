//! A folder that appears when it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::BrowserError;

/// What the first lines of an earlier page have.
const MARK: &str = "<meta name=\"generator\" content=\"hayloft\">";

/// A folder in the making, beside its place.
#[derive(Debug)]
pub(super) struct NewFolder {
    out: PathBuf,
    made: TempDir,
}

impl NewFolder {
    pub(super) fn begin(out: &Path) -> Result<Self, BrowserError> {
        refuse_others(out)?;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let begin = || {
            fs::create_dir_all(parent)?;
            // The usual permissions, less the umask: pages are shared.
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            tempfile::Builder::new().prefix(".").suffix(".partial").permissions(permissions).tempdir_in(parent)
        };
        let made = begin().map_err(|cause| unwritten(out, cause))?;
        Ok(Self { out: out.to_path_buf(), made })
    }

    pub(super) fn path(&self) -> &Path {
        self.made.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), BrowserError> {
        let path = self.path().join(name);
        fs::write(&path, text).map_err(|cause| unwritten(&path, cause))
    }

    /// Moves the folder to its place. An earlier page goes beside it first, and is removed afterwards.
    pub(super) fn finish(self) -> Result<(), BrowserError> {
        let Self { out, made } = self;
        refuse_others(&out)?;
        let place = || -> io::Result<()> {
            if out.exists() {
                let earlier = made.path().with_extension("earlier");
                fs::rename(&out, &earlier)?;
                if let Err(error) = fs::rename(made.path(), &out) {
                    fs::rename(&earlier, &out)?;
                    return Err(error);
                }
                fs::remove_dir_all(&earlier)
            } else {
                fs::rename(made.path(), &out)
            }
        };
        place().map_err(|cause| unwritten(&out, cause))
    }
}

/// Refuses a folder with anything but a page in it, and what is no folder.
fn refuse_others(out: &Path) -> Result<(), BrowserError> {
    let occupied = |got: String| Err(BrowserError::Occupied { path: out.to_path_buf(), got });
    match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => occupied(error.to_string()),
        Ok(entries) => {
            let names: Vec<String> =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            let is_page = || fs::read_to_string(out.join("index.html")).is_ok_and(|text| text.contains(MARK));
            let is_own = |name: &String| name == "data" || super::FILES.iter().any(|(own, _)| own == name);
            match names.iter().find(|name| !is_own(name)) {
                Some(other) => occupied(other.clone()),
                None if names.is_empty() || is_page() => Ok(()),
                None => occupied("files of another program".to_owned()),
            }
        }
    }
}

fn unwritten(path: &Path, cause: io::Error) -> BrowserError {
    BrowserError::Write { path: path.to_path_buf(), cause }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_page_replaces_a_page_and_nothing_else() {
        let folder = tempdir().unwrap();
        let out = folder.path().join("deep/page");
        for text in ["one", "two"] {
            let made = NewFolder::begin(&out).unwrap();
            made.write("index.html", &format!("{MARK}{text}")).unwrap();
            assert_ne!(fs::read_to_string(out.join("index.html")).unwrap_or_default(), format!("{MARK}{text}"));
            made.finish().unwrap();
        }
        assert_eq!(fs::read_to_string(out.join("index.html")).unwrap(), format!("{MARK}two"));
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
        drop(NewFolder::begin(&out).unwrap());
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);

        fs::write(out.join("notes.txt"), "mine").unwrap();
        let message = NewFolder::begin(&out).unwrap_err().to_string();
        assert!(message.contains("an earlier page, got notes.txt. Name another folder"), "{message}");
        fs::remove_file(out.join("notes.txt")).unwrap();
        fs::write(out.join("index.html"), "a site").unwrap();
        assert!(NewFolder::begin(&out).unwrap_err().to_string().contains("files of another program"));
        assert!(NewFolder::begin(&out.join("index.html")).is_err());
    }
}
