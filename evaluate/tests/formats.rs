//! Every published format against the reference class of its library, and every way in which its files can be wrong.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hayloft_sae::{SaeError, SaeFile, SaeInspection, convert};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::support::{distance, tensor};

/// Relative to the largest number of the reference: one of the rows is fifteen times as long as the others.
const TOLERANCE: f64 = 1e-5;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/sae-formats")
}

/// Every folder with a golden in it.
fn cases() -> Vec<PathBuf> {
    let (mut cases, mut folders) = (Vec::new(), vec![fixtures()]);
    while let Some(folder) = folders.pop() {
        if folder.join("golden.safetensors").exists() {
            cases.push(folder);
            continue;
        }
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    cases.sort();
    cases
}

/// The input of every SAE.
fn x() -> Tensor {
    tensor(&fixtures().join("inputs.safetensors"), "x")
}

fn name(folder: &Path) -> String {
    folder.strip_prefix(fixtures()).unwrap().display().to_string()
}

/// A copy of a case that a test may corrupt, under the path of its publication.
struct Copy {
    _root: tempfile::TempDir,
    folder: PathBuf,
}

impl Copy {
    fn of(case: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(case);
        copy(&fixtures().join(case), &folder);
        Self { _root: root, folder }
    }

    fn refused(&self) -> String {
        let opened = SaeFile::open(&self.folder).and_then(|file| file.load(Device::Cpu));
        opened.expect_err("these files are wrong").to_string()
    }

    fn edit(&self, file: &str, edit: impl FnOnce(&mut Value)) -> &Self {
        let path = self.folder.join(file);
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut value);
        fs::write(path, value.to_string()).unwrap();
        self
    }

    fn edit_tensors(&self, file: &str, edit: impl FnOnce(&mut Vec<(String, Tensor)>)) -> &Self {
        let path = self.folder.join(file);
        let mut tensors = Tensor::read_safetensors(&path).unwrap();
        edit(&mut tensors);
        Tensor::write_safetensors(&tensors, path).unwrap();
        self
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let path = entry.unwrap().path();
            (path.clone(), to.join(path.file_name().unwrap()))
        };
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).map(drop).unwrap();
        }
    }
}

fn replace(tensors: &mut [(String, Tensor)], name: &str, change: impl FnOnce(&Tensor) -> Tensor) {
    let (_, tensor) = tensors.iter_mut().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no tensor {name}"));
    *tensor = change(tensor);
}

#[test]
fn every_format_and_class_agrees_with_its_library() {
    let cases = cases();
    assert!(cases.len() >= 27, "only {} cases: run scripts/goldens/sae_formats.py", cases.len());
    let mut worst: f64 = 0.0;
    for folder in cases {
        let golden = |name| tensor(&folder.join("golden.safetensors"), name);
        let sae = SaeFile::open(&folder)
            .and_then(|file| file.load(Device::Cpu))
            .unwrap_or_else(|error| panic!("{}: {error}", name(&folder)));
        let encoded = sae.encode(&x()).unwrap();
        let relative = |got: &Tensor, name| {
            let expected = golden(name);
            distance(got, &expected) / expected.abs().max().double_value(&[]).max(1.0)
        };
        let whole = relative(&sae.decode(&encoded).unwrap(), "reconstruction");
        let in_tiles = sae.reconstruct(&x()).unwrap();
        let tiles = relative(&in_tiles.rows, "reconstruction");
        // Latents that were compared by their size in the output keep that size.
        let inspection = SaeInspection::of(&folder, None).unwrap();
        let latents = if inspection.ranks_by_decoder_norm { 0.0 } else { relative(&encoded.latents, "latents") };
        println!("{:72} {} {whole:.1e}", name(&folder), inspection.architecture);
        assert!(
            whole < TOLERANCE && tiles < TOLERANCE && latents < TOLERANCE,
            "{}: {whole:e} {latents:e}",
            name(&folder)
        );
        let fired = golden("latents").gt(0.0).sum_dim_intlist([-1i64].as_slice(), false, Kind::Int64);
        assert_eq!(in_tiles.fired, fired, "{}", name(&folder));
        worst = worst.max(whole).max(latents);
    }
    println!("largest difference {worst:.2e}");
}

#[test]
fn each_format_is_recognised_by_its_files_and_names_its_site() {
    let site = |hook: &str| Some(format!("blocks.1.{hook}"));
    for (case, format, input, output) in [
        ("saelens-transcoder", "saelens", site("mlp.hook_in"), site("hook_mlp_out")),
        ("gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_71", "gemma-scope", site("hook_resid_post"), None),
        ("gemma-scope-2b-pt-att/layer_1/width_16k/average_l0_71", "gemma-scope", site("attn.hook_z"), None),
        (
            "gemma-scope-2b-pt-transcoders/layer_1/width_16k/average_l0_5",
            "gemma-scope",
            site("mlp.hook_in"),
            site("hook_mlp_out"),
        ),
        (
            "gemma-scope-2-270m-pt/transcoder/layer_1_width_16k_l0_small",
            "gemma-scope-2",
            site("mlp.hook_in"),
            site("hook_mlp_out"),
        ),
        ("llama-scope", "llama-scope", site("hook_resid_post"), None),
        ("dictionary-learning-batch-top-k-sae", "dictionary-learning", site("hook_resid_post"), None),
        ("sparsify/layers.1", "sparsify", site("hook_resid_post"), None),
        ("sparsify-skip-transcoder/layers.1.mlp", "sparsify", site("mlp.hook_in"), site("hook_mlp_out")),
        ("openai-topk", "openai", None, None),
        ("llamascopium-jumprelu", "llamascopium", site("hook_resid_post"), None),
    ] {
        let file = SaeFile::open(&fixtures().join(case)).unwrap();
        assert_eq!(file.format().as_str(), format, "{case}");
        assert_eq!((file.site(), file.output_site()), (input.as_deref(), output.as_deref()), "{case}");
        assert_eq!(file.is_transcoder(), output.is_some(), "{case}");
    }
    let one = SaeFile::open(&fixtures().join("openai-topk/autoencoder.pt")).unwrap();
    assert_eq!((one.format().as_str(), one.width()), ("openai", 48));
    let wrong =
        SaeFile::open_as(&fixtures().join("llama-scope"), Some("sparsify".parse().unwrap())).unwrap_err().to_string();
    assert!(wrong.contains("cfg.json"), "{wrong}");
}

#[test]
fn what_is_converted_reconstructs_the_same_and_says_where_it_came_from() {
    for folder in cases() {
        let out = tempfile::tempdir().unwrap().path().join("made/here");
        let converted = convert(&folder, None, &out);
        let case = name(&folder);
        if case.starts_with("sparsify-") {
            // SAELens has no TopK transcoder.
            let message = converted.unwrap_err().to_string();
            assert!(message.contains("TopK transcoder") && !out.exists(), "{message}");
            continue;
        }
        converted.unwrap();
        let x = x();
        let of = |path: &Path| {
            SaeFile::open(path).and_then(|file| file.load(Device::Cpu)).unwrap().reconstruct(&x).unwrap().rows
        };
        assert!(distance(&of(&out), &of(&folder)) < 1e-6, "{case}");
        let file = SaeFile::open(&out).unwrap();
        let original = SaeFile::open(&folder).unwrap();
        assert_eq!(file.format().as_str(), "saelens");
        assert_eq!((file.site(), file.output_site()), (original.site(), original.output_site()), "{case}");
        let config: Value = serde_json::from_slice(&fs::read(out.join("cfg.json")).unwrap()).unwrap();
        assert_eq!(config["metadata"]["converted_from"]["format"], json!(original.format().as_str()));
        let again = convert(&folder, None, &out).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
        fs::remove_dir_all(out.parent().unwrap()).unwrap();
    }
}

#[test]
fn an_inspection_describes_the_sae() {
    let text = |case: &str| SaeInspection::of(&fixtures().join(case), None).unwrap().text(80);
    let scope = text("gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_71");
    assert!(scope.lines().all(|line| line.chars().count() <= 80), "{scope}");
    for words in
        ["gemma-scope", "jumprelu", "blocks.1.hook_resid_post", "gemma-2-2b", "nothing", "params.npz", "BLAKE3"]
    {
        assert!(scope.contains(words), "{words} is not in\n{scope}");
    }
    assert!(
        text("openai-topk").contains("not named in the files: give --site")
            && text("openai-topk").contains("layer_norm")
    );
    assert!(text("sparsify-skip-transcoder/layers.1.mlp").contains("through a matrix"));
    assert!(text("llamascopium-topk").contains("times the decoder row's norm"));
}

/// The weights file of one case of each format, and its configuration file, if any.
const WHERE: [(&str, &str, Option<&str>); 9] = [
    ("gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_71", "params.npz", None),
    ("gemma-scope-2b-pt-mlp/layer_1/width_16k/average_l0_71", "params.npz", None),
    ("gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small", "params.safetensors", Some("config.json")),
    ("llama-scope", "checkpoints/final.safetensors", Some("hyperparams.json")),
    ("dictionary-learning-auto-encoder-top-k", "ae.pt", Some("config.json")),
    ("sparsify/layers.1", "sae.safetensors", Some("cfg.json")),
    ("openai-topk", "autoencoder.pt", None),
    ("llamascopium-topk", "sae_weights.safetensors", Some("config.json")),
    ("saelens-skip-transcoder", "sae_weights.safetensors", Some("cfg.json")),
];

#[test]
fn truncated_files_are_refused() {
    for (case, weights, config) in WHERE {
        for file in [Some(weights), config].into_iter().flatten() {
            let copy = Copy::of(case);
            let path = copy.folder.join(file);
            let whole = fs::read(&path).unwrap();
            // JSON ends in a line break, whose loss does no harm.
            let almost = whole.trim_ascii_end().len() - 1;
            for length in [0, 3, 30, whole.len() / 2, if file == weights { whole.len() - 1 } else { almost }] {
                fs::write(&path, &whole[..length]).unwrap();
                let message = copy.refused();
                let named = Path::new(file).file_name().unwrap().to_str().unwrap();
                assert!(message.contains(named), "{case}, {file} of {length} bytes: {message}");
            }
        }
    }
}

/// The name of the encoder's matrix in each format whose tensors are in safetensors.
const ENCODERS: [(&str, &str, &str); 5] = [
    ("gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small", "params.safetensors", "w_dec"),
    ("llama-scope", "checkpoints/final.safetensors", "encoder.weight"),
    ("sparsify/layers.1", "sae.safetensors", "encoder.weight"),
    ("llamascopium-topk", "sae_weights.safetensors", "W_E"),
    ("saelens-skip-transcoder", "sae_weights.safetensors", "W_skip"),
];

#[test]
fn transposed_and_otherwise_shaped_tensors_are_named() {
    for (case, file, encoder) in ENCODERS {
        let copy = Copy::of(case);
        copy.edit_tensors(file, |tensors| replace(tensors, encoder, |tensor| tensor.tr().contiguous()));
        let message = copy.refused();
        assert!(message.contains(encoder) && message.contains("it is transposed"), "{case}: {message}");
        let copy = Copy::of(case);
        copy.edit_tensors(file, |tensors| replace(tensors, encoder, |tensor| tensor.narrow(0, 0, 7).contiguous()));
        let message = copy.refused();
        assert!(message.contains(encoder) && message.contains("expected shape"), "{case}: {message}");
    }
}

#[test]
fn numbers_that_are_nan_are_refused() {
    for (case, file, encoder) in ENCODERS {
        let copy = Copy::of(case);
        copy.edit_tensors(file, |tensors| {
            replace(tensors, encoder, |tensor| {
                let spoiled = tensor.copy();
                let _ = spoiled.get(1).fill_(f64::NAN);
                spoiled
            });
        });
        let message = copy.refused();
        assert!(message.contains(encoder) && message.contains("NaN"), "{case}: {message}");
    }
}

#[test]
fn a_tensor_too_many_or_too_few_is_named() {
    for (case, file, encoder) in ENCODERS {
        let copy = Copy::of(case);
        copy.edit_tensors(file, |tensors| {
            tensors.push(("b_extra".to_owned(), Tensor::ones([3], (Kind::Float, Device::Cpu))));
        });
        assert!(copy.refused().contains("b_extra"), "{case}");
        let copy = Copy::of(case);
        copy.edit_tensors(file, |tensors| tensors.retain(|(name, _)| name != encoder));
        let message = copy.refused();
        assert!(message.contains(encoder) && message.contains("got none"), "{case}: {message}");
    }
}

#[test]
fn configurations_that_do_not_fit_are_refused_by_field() {
    let cases: &[(&str, &str, &str, Value, &str)] = &[
        (
            "gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small",
            "config.json",
            "/architecture",
            json!("topk"),
            "jump_relu",
        ),
        (
            "gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small",
            "config.json",
            "/hf_hook_point_in",
            json!("model.x"),
            "hf_hook_point_in",
        ),
        ("llama-scope", "hyperparams.json", "/jump_relu_threshold", json!(-1), "jump_relu_threshold"),
        (
            "llama-scope",
            "hyperparams.json",
            "/dataset_average_activation_norm/in",
            json!(0),
            "dataset_average_activation_norm.in",
        ),
        ("llama-scope", "hyperparams.json", "/norm_activation", json!("token-wise"), "norm_activation"),
        ("llama-scope", "hyperparams.json", "/d_sae", json!(40), "expected shape"),
        (
            "dictionary-learning-auto-encoder-top-k",
            "config.json",
            "/trainer/dict_class",
            json!("CrossCoder"),
            "AutoEncoderTopK",
        ),
        ("dictionary-learning-auto-encoder-top-k", "config.json", "/trainer/k", json!(null), "k: expected"),
        (
            "dictionary-learning-auto-encoder-top-k",
            "config.json",
            "/trainer/k",
            json!(7),
            "k: expected 7 as the configuration says, got 6",
        ),
        ("dictionary-learning-auto-encoder-top-k", "config.json", "/trainer/dict_class", json!("AutoEncoder"), "bias"),
        (
            "dictionary-learning-jump-relu-auto-encoder",
            "config.json",
            "/trainer/dict_class",
            json!("BatchTopKSAE"),
            "encoder.weight",
        ),
        ("sparsify/layers.1", "cfg.json", "/k", json!(null), "k: expected"),
        ("sparsify/layers.1", "cfg.json", "/activation", json!("groupmax"), "topk"),
        ("sparsify/layers.1", "cfg.json", "/new_option", json!(true), "new_option"),
        ("sparsify/layers.1", "cfg.json", "/num_latents", json!(40), "expected shape"),
        ("llamascopium-topk", "config.json", "/top_k", json!(null), "k: expected"),
        ("llamascopium-topk", "config.json", "/act_fn", json!("relu6"), "act_fn"),
        ("llamascopium-topk", "config.json", "/sae_type", json!("crosscoder"), "sae_type"),
        ("llamascopium-topk", "config.json", "/use_glu_encoder", json!(true), "use_glu_encoder"),
        ("saelens-skip-transcoder", "cfg.json", "/architecture", json!("transcoder"), "W_skip"),
        ("saelens-jumprelu-transcoder", "cfg.json", "/architecture", json!("transcoder"), "threshold"),
        ("saelens-transcoder", "cfg.json", "/d_out", json!(16), "expected shape"),
    ];
    for (case, file, pointer, value, words) in cases {
        let copy = Copy::of(case);
        copy.edit(file, |config| match config.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => config[&pointer[1..]] = value.clone(),
        });
        let message = copy.refused();
        assert!(message.contains(words), "{case} with {pointer} = {value}: {message}");
    }
}

#[test]
fn a_missing_scale_is_refused() {
    let copy = Copy::of("llama-scope");
    copy.edit("hyperparams.json", |config| {
        drop(config.as_object_mut().unwrap().remove("dataset_average_activation_norm"));
    });
    assert!(copy.refused().contains("dataset_average_activation_norm"));
}

#[test]
fn a_folder_of_no_format_or_of_two_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = SaeFile::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("hyperparams.json") && message.contains("--sae-format"), "{message}");
    let copy = Copy::of("llama-scope");
    fs::write(copy.folder.join("params.npz"), b"").unwrap();
    let message = SaeFile::open(&copy.folder).unwrap_err().to_string();
    assert!(message.contains("gemma-scope and of llama-scope"), "{message}");
}

/// A zip archive with one member, which is marked as compressed.
fn npz(name: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::FileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file(name, options).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_zip_bomb_is_refused_and_not_unpacked() {
    let copy = Copy::of(WHERE[0].0);
    // 300 MB of zeros in 300 kB.
    let bomb = npz("W_enc.npy", &vec![0; 300 << 20]);
    assert!(bomb.len() < 1 << 20);
    fs::write(copy.folder.join("params.npz"), bomb).unwrap();
    let message = copy.refused();
    assert!(message.contains("zip bomb"), "{message}");
}

#[test]
fn arrays_with_false_headers_are_refused() {
    let header = |text: &str| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend([0; 64]);
        bytes
    };
    for (text, words) in [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }\n", "not what that takes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 8), }\n", "W_enc"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (4, 4), }\n", "W_enc"),
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (4, 4), }\n", "W_enc"),
        ("__import__('os').system('id')\n", "W_enc"),
    ] {
        let copy = Copy::of(WHERE[0].0);
        fs::write(copy.folder.join("params.npz"), npz("W_enc.npy", &header(text))).unwrap();
        let message = copy.refused();
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn a_pickle_that_would_run_code_is_refused_by_name() {
    let copy = Copy::of("openai-topk");
    let pickle = b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch /tmp\x85R.";
    let path = copy.folder.join("autoencoder.pt");
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    archive.start_file("archive/data.pkl", zip::write::FileOptions::default()).unwrap();
    archive.write_all(pickle).unwrap();
    archive.finish().unwrap();
    let message = copy.refused();
    assert!(message.contains("posix.system") && message.contains("could run code"), "{message}");
    fs::write(&path, b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.").unwrap();
    let message = copy.refused();
    assert!(message.contains("before 1.6"), "{message}");
}

#[test]
fn every_flipped_byte_of_a_pickle_or_an_archive_is_an_error_or_the_same_sae() {
    for (case, file) in [("openai-topk", "autoencoder.pt"), (WHERE[0].0, "params.npz")] {
        let copy = Copy::of(case);
        let path = copy.folder.join(file);
        let whole = fs::read(&path).unwrap();
        for place in (0..whole.len()).step_by(37) {
            let mut spoiled = whole.clone();
            spoiled[place] ^= 0x41;
            fs::write(&path, &spoiled).unwrap();
            // Any outcome may follow, but no panic, and an error names the file.
            if let Err(error) = SaeFile::open(&copy.folder).and_then(|file| file.load(Device::Cpu)) {
                let message = error.to_string();
                assert!(message.contains(file) || matches!(error, SaeError::Torch(_)), "{message}");
            }
        }
    }
}
