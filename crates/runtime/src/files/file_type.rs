//! Recognises files that lie in the place of others by their first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Signs at the beginning of a file, in lower case, and what the file then is, with advice. For messages after "got".
const SIGNS: [(&[u8], &str); 12] = [
    (
        b"version https://git-lfs",
        "a pointer of Git LFS. `git lfs pull` in its repository brings the file that it stands for",
    ),
    (b"<!doctype html", WEB_PAGE),
    (b"<html", WEB_PAGE),
    (b"gguf", "a GGUF file, which is not read. Take the safetensors that it was made from"),
    (b"pk\x03\x04", "a ZIP archive, as PyTorch's files are too. Unpack it, or save the weights as safetensors"),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"entry not found", HUB_ERROR),
    (b"repository not found", HUB_ERROR),
    (b"invalid username or password", HUB_ERROR),
    (b"access to model", HUB_ERROR),
    (b"access to dataset", HUB_ERROR),
];

const WEB_PAGE: &str = "a web page. Download the file itself: on the Hugging Face Hub, by an address with resolve in place of blob, \
                        and with a token where the repository is gated";
const UTF_16: &str =
    "text in UTF-16, as Windows PowerShell writes it. Convert it, for example with iconv -f UTF-16 -t UTF-8";
const HUB_ERROR: &str = "an error of the Hugging Face Hub in place of the file. Download it again, with a token where the repository is gated";

/// A byte-order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns what a file is by its first bytes, and what to do about it, where it is one of those that are often saved in
/// the place of another: a pointer of Git LFS, a web page, a GGUF file, a ZIP archive, text in UTF-16, an error of the
/// Hub. `None` for any other.
pub fn other_file(head: &[u8]) -> Option<&'static str> {
    let text = head.strip_prefix(MARK).unwrap_or(head).trim_ascii_start();
    let begins = |sign: &[u8]| text.get(..sign.len()).is_some_and(|start| start.eq_ignore_ascii_case(sign));
    SIGNS.iter().find(|(sign, _)| begins(sign)).map(|(_, what)| *what)
}

/// Returns what [`other_file`] says of the file at `path`; `None` too if it cannot be read.
pub fn other_file_at(path: &Path) -> Option<&'static str> {
    const HEAD_BYTES: u64 = 512;
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)).ok()?;
    other_file(&head)
}

/// Returns a text without the byte-order mark in UTF-8 that editors on Windows begin it with.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_the_place_of_others_are_recognised() {
        for (head, word) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0"[..], "Git LFS"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"<HTML><head>", "web page"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"PK\x03\x04\x14", "ZIP"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"Access to model google/gemma-3-1b-pt is restricted.", "Hub"),
        ] {
            assert!(other_file(head).is_some_and(|what| what.contains(word)), "{word}");
        }
        for head in [&b""[..], b"{}", b"GG", b"\xef\xbb\xbf{}", b"\x93NUMPY", b"<htm"] {
            assert_eq!(other_file(head), None);
        }
        assert_eq!(without_mark(b"\xef\xbb\xbf{}"), b"{}");
    }
}
