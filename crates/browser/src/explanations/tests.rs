//! Explanations in every format, and refused.

use std::fs;
use std::path::Path;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::tests::{latents_file, sources};

const JSON_LINES: &str = "{\"latent\": 1, \"explanation\": \"hay </script>\", \"sae\": \"base\", \"score\": 0.5}\n\n\
                          {\"latent\": 0, \"explanation\": \"straw\", \"sae\": \"chat\", \"author\": \"me\"}\n";

const NEURONPEDIA: &str = r#"[{"modelId": "gpt2-small", "layer": "7-res-jb", "index": "2", "description": "cows",
    "explanationModelName": "gpt-4o-mini", "typeName": "oai_token-act-pair"}]"#;

fn made() -> (TempDir, Sources) {
    let folder = tempdir().unwrap();
    latents_file(folder.path(), &[("base", 3), ("chat", 2)]);
    let sources = sources(&[folder.path()]);
    (folder, sources)
}

fn read(sources: &Sources, argument: &str) -> Result<Explanations, BrowserError> {
    let mut explanations = Explanations::new(sources);
    explanations.read(sources, argument).map(|()| explanations)
}

fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    fs::write(folder.join(name), text).unwrap();
    folder.join(name).display().to_string()
}

#[test]
fn json_csv_neuronpedia_and_delphi_are_read() {
    let (folder, sources) = made();
    let lines = file(folder.path(), "a.jsonl", JSON_LINES);
    let own = read(&sources, &lines).unwrap();
    let expected = Explanation { text: "hay </script>".to_owned(), author: None, score: Some(0.5) };
    assert_eq!((own.of(0, 1), own.count(0), own.count(1)), (&[expected][..], 1, 1));

    let table = file(folder.path(), "b.csv", "explanation,latent,sae,score\n\"hay, dry\",1,base,0.5\nstraw,0,chat,\n");
    let own = read(&sources, &table).unwrap();
    assert_eq!((own.of(0, 1)[0].text.as_str(), own.of(1, 0)[0].score), ("hay, dry", None));

    let exported = file(folder.path(), "c.json", NEURONPEDIA);
    let own = read(&sources, &format!("base={exported}")).unwrap();
    let expected =
        Explanation { text: "cows".into(), author: Some("gpt-4o-mini, oai_token-act-pair".into()), score: None };
    assert_eq!(own.of(0, 2), [expected]);

    let delphi = folder.path().join("explanations");
    fs::create_dir(&delphi).unwrap();
    file(&delphi, "layers.5_latent0.txt", "\"milk\"");
    file(&delphi, "layers.5_latent1.txt", "\"bread\"");
    let own = read(&sources, &format!("chat={}", delphi.display())).unwrap();
    assert_eq!((own.of(1, 0)[0].text.as_str(), own.of(1, 1)[0].author.as_deref()), ("milk", Some("delphi")));
    file(&delphi, "layers.6_latent0.txt", "\"milk\"");
    let message = read(&sources, &format!("chat={}", delphi.display())).unwrap_err().to_string();
    assert!(message.contains("one module, here layers.5, got layers.6"), "{message}");
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    let (folder, sources) = made();
    let own = |rest: &str| format!("{{\"sae\": \"base\", {rest}}}").into_bytes();
    let twice = "{\"latent\": 0, \"explanation\": \"a\", \"sae\": \"base\"}\n".repeat(2);
    for (name, text, words) in [
        (
            "a.jsonl",
            b"{\"latent\": 0, \"explanation\": \"a\", \"sae\": \"bass\"}".to_vec(),
            "line 1: expected an SAE of the page: base, chat, got bass. Did you mean base?",
        ),
        ("b.jsonl", b"{\"latent\": 0, \"explanation\": \"a\"}".to_vec(), "line 1: expected `sae`, one of base, chat"),
        (
            "c.jsonl",
            [b"\n".to_vec(), own("\"latent\": 3, \"explanation\": \"a\"")].concat(),
            "line 2: expected a latent of base, which has 3, numbered from 0, got 3",
        ),
        (
            "d.jsonl",
            own("\"latent\": -1, \"explanation\": \"a\""),
            "line 1: expected the number of a latent, got -1 as the latent",
        ),
        ("e.jsonl", own("\"explanation\": \"a\""), "line 1: expected an object with `latent`"),
        (
            "f.jsonl",
            twice.into_bytes(),
            "line 2: expected one explanation of each latent by each author, got another of 0 without author",
        ),
        ("g.jsonl", b"{\"latent\": 0,\n\xff".to_vec(), "line 2: expected UTF-8, got the byte 0xff"),
        ("h.jsonl", own("\"latent\": 0, \"explanation\": \" \""), "line 1: expected an explanation, got an empty one"),
        (
            "i.csv",
            b"latent,explanation,socre\n0,a,1\n".to_vec(),
            "line 1: expected CSV with columns latent, explanation, sae, author, score, or JSON, got the column socre",
        ),
        (
            "j.csv",
            b"latent,explanation,sae\n0,a,base\nx,b,base\n".to_vec(),
            "line 3: expected the number of a latent, got x",
        ),
        (
            "k.csv",
            b"latent,explanation,sae,score\n0,a,base,NaN\n".to_vec(),
            "line 2: expected a finite `score`, got NaN",
        ),
        ("l.csv", b"latent,explanation,sae\n0,a\n".to_vec(), "line 2: expected CSV"),
        ("m.csv", b"latent,sae\n0,base\n".to_vec(), "line 1: expected a column `explanation`"),
        (
            "n.json",
            b"[{\"latent\": 0, \"explanation\": \"a\", \"sae\": \"base\"},\n 7]".to_vec(),
            "line 2: expected an array",
        ),
        ("o.json", b"[{\"index\": 0, \"description\": \"a\", \"layer\": \"1\"}]".to_vec(), "entry 1: expected `sae`"),
        ("p.json", Vec::new(), "line 1: expected explanations, got an empty file"),
    ] {
        let path = file(folder.path(), name, text);
        let message = read(&sources, &path).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains(name), "{name}: {message}");
    }
    let message = read(&sources, "nowhere.jsonl").unwrap_err().to_string();
    assert!(message.contains("nowhere.jsonl: cannot read"), "{message}");
    let two = r#"[{"index": 0, "description": "a", "layer": "1"}, {"index": 1, "description": "a", "layer": "2"}]"#;
    let path = file(folder.path(), "two.json", two);
    let message = read(&sources, &format!("base={path}")).unwrap_err().to_string();
    assert!(message.contains("entry 2: expected explanations of one SAE, here of layer 1, got 2"), "{message}");
}
