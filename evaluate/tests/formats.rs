//! Every published format against the reference class of its library, and every way in which its files can be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hayloft_sae::{
    Normalisation, SaeError, SaeFile, SaeInspection, SaeOptions, Transcoded, convert, convert_to_normalised,
};
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

fn as_format(name: &str) -> SaeOptions {
    SaeOptions { format: Some(name.parse().unwrap()), ..SaeOptions::default() }
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
    assert!(cases.len() >= 40, "only {} cases: run scripts/goldens/sae_formats.py", cases.len());
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
        let inspection = SaeInspection::of(&folder, &SaeOptions::default()).unwrap();
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
    let pre_of_0 = Some("blocks.0.hook_resid_pre".to_owned());
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
        ("gemma-scope-2-270m-pt/attn_out_all/layer_1_width_16k_l0_small", "gemma-scope-2", site("attn.hook_z"), None),
        ("gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6", "gemma-scope", pre_of_0, None),
        ("dictionary-learning-alone", "dictionary-learning", None, None),
        ("sparsify-skip-2024/layers.1.mlp", "sparsify", site("mlp.hook_in"), site("hook_mlp_out")),
        ("SAE-Res-Qwen3-1.7B-Base-W32K-L0_6", "qwen-scope", site("hook_resid_post"), None),
        ("qwen3-4b-transcoders", "circuit-tracer", site("mlp.hook_in"), site("hook_mlp_out")),
        ("qwen3-14b-transcoders", "circuit-tracer", site("mlp.hook_in"), site("hook_mlp_out")),
        ("attn-saes", "attn-saes", site("attn.hook_z"), None),
        ("goodfire", "goodfire", Some("blocks.19.hook_resid_post".to_owned()), None),
        ("llamascopium-jumprelu", "llamascopium", site("hook_resid_post"), None),
    ] {
        let file = SaeFile::open(&fixtures().join(case)).unwrap();
        assert_eq!(file.format().as_str(), format, "{case}");
        assert_eq!((file.site(), file.output_site()), (input.as_deref(), output.as_deref()), "{case}");
        assert_eq!(file.is_transcoder(), output.is_some(), "{case}");
    }
    let one = SaeFile::open(&fixtures().join("openai-topk/autoencoder.pt")).unwrap();
    assert_eq!((one.format().as_str(), one.width()), ("openai", 48));
    let wrong = SaeFile::open_with(&fixtures().join("llama-scope"), &as_format("sparsify")).unwrap_err().to_string();
    assert!(wrong.contains("cfg.json"), "{wrong}");
}

#[test]
fn what_is_converted_reconstructs_the_same_and_says_where_it_came_from() {
    for folder in cases() {
        let out = tempfile::tempdir().unwrap().path().join("made/here");
        let converted = convert(&folder, &SaeOptions::default(), &out);
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
        let again = convert(&folder, &SaeOptions::default(), &out).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
        fs::remove_dir_all(out.parent().unwrap()).unwrap();
    }
}

#[test]
fn the_normalised_form_has_the_tensors_of_the_forward_pass() {
    let mut activations = BTreeSet::new();
    for folder in cases() {
        let out = tempfile::tempdir().unwrap().path().join("made/here");
        convert_to_normalised(&folder, &SaeOptions::default(), &out).unwrap();
        let fields: Value = serde_json::from_slice(&fs::read(out.join("sae.json")).unwrap()).unwrap();
        let activation = fields["activation"].as_str().unwrap().to_owned();
        let tensors: BTreeMap<String, Tensor> =
            Tensor::read_safetensors(out.join("sae.safetensors")).unwrap().into_iter().collect();
        let pre = {
            let x = if fields["normalisation"] == "none" { x() } else { continue };
            let x = tensors.get("input_bias").map_or_else(|| x.shallow_clone(), |bias| &x - bias);
            x.matmul(&tensors["encoder"].tr()) + &tensors["encoder_bias"]
        };
        let expected = tensor(&folder.join("golden.safetensors"), "latents").gt(0.0);
        let fired = match activation.as_str() {
            "relu" => pre.gt(0.0),
            "jumprelu" => pre.gt_tensor(&tensors["threshold"]).logical_and(&pre.gt(0.0)),
            "gated" => pre.gt(0.0).logical_and(&(&pre * &tensors["gate_scale"] + &tensors["gate_bias"]).gt(0.0)),
            "topk" => {
                let (values, columns) = pre.topk(fields["k"].as_i64().unwrap(), -1, true, true);
                pre.zeros_like().scatter(-1, &columns, &values).gt(0.0)
            }
            other => panic!("{other}"),
        };
        assert!(fired.equal(&expected), "{}: {activation}", name(&folder));
        activations.insert(activation);
        let again = convert_to_normalised(&folder, &SaeOptions::default(), &out).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
    }
    assert_eq!(activations.len(), 4, "{activations:?}");
}

#[test]
fn an_inspection_describes_the_sae() {
    let text = |case: &str| SaeInspection::of(&fixtures().join(case), &SaeOptions::default()).unwrap().text(80);
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
const WHERE: [(&str, &str, Option<&str>); 13] = [
    ("gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_71", "params.npz", None),
    ("gemma-scope-2b-pt-mlp/layer_1/width_16k/average_l0_71", "params.npz", None),
    ("gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small", "params.safetensors", Some("config.json")),
    ("llama-scope", "checkpoints/final.safetensors", Some("hyperparams.json")),
    ("dictionary-learning-auto-encoder-top-k", "ae.pt", Some("config.json")),
    ("sparsify/layers.1", "sae.safetensors", Some("cfg.json")),
    ("openai-topk", "autoencoder.pt", None),
    ("llamascopium-topk", "sae_weights.safetensors", Some("config.json")),
    ("saelens-skip-transcoder", "sae_weights.safetensors", Some("cfg.json")),
    ("SAE-Res-Qwen3-1.7B-Base-W32K-L0_6", "layer1.sae.pt", None),
    ("qwen3-4b-transcoders", "layer_1.safetensors", None),
    ("attn-saes", "gpt2-small_L1_Hcat_z_ds48.pt", Some("gpt2-small_L1_Hcat_z_ds48_cfg.json")),
    ("goodfire", "Llama-3.1-8B-Instruct-SAE-l19.pth", None),
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
const ENCODERS: [(&str, &str, &str); 6] = [
    ("qwen3-4b-transcoders", "layer_1.safetensors", "W_dec"),
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
        (
            "sparsify-clt-training/layers.1.mlp",
            "cfg.json",
            "/normalize_io",
            json!(true),
            "normalize_io: expected false",
        ),
        ("sparsify-clt-training/layers.1.mlp", "cfg.json", "/n_targets", json!(2), "n_targets: expected 0"),
        ("sparsify-clt-training/layers.1.mlp", "cfg.json", "/coalesce_topk", json!("concat"), "coalesce_topk"),
        ("sparsify-skip-2024/layers.1.mlp", "cfg.json", "/transcode", json!(false), "skip_connection"),
        ("dictionary-learning-auto-encoder", "config.json", "/buffer/io", json!("in_and_out"), "--transcode=SITE"),
        ("attn-saes", "gpt2-small_L1_Hcat_z_ds48_cfg.json", "/dict_size", json!(40), "expected shape"),
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
fn an_offset_of_latents_that_is_not_computed_must_be_zero() {
    let copy = Copy::of("sparsify-clt-training/layers.1.mlp");
    copy.edit_tensors("sae.safetensors", |tensors| replace(tensors, "post_enc", |zeros| zeros + 0.5));
    let message = copy.refused();
    assert!(message.contains("post_enc: expected zeros") && message.contains("0.5"), "{message}");
}

#[test]
fn k_comes_from_the_configuration_or_the_published_path() {
    let case = "SAE-Res-Qwen3-1.7B-Base-W32K-L0_6";
    let config = |k: u64| {
        json!({"model_type": "topk_sae", "base_model": "Qwen/Qwen3-1.7B-Base", "d_model": 16, "d_sae": 48, "k": k,
            "num_layers": 28, "hook_point": "resid_post", "dtype": "float32"})
        .to_string()
    };
    let root = tempfile::tempdir().unwrap();
    let unnamed = root.path().join("saes");
    copy(&fixtures().join(case), &unnamed);
    let message = SaeFile::open(&unnamed).unwrap_err().to_string();
    assert!(message.contains("config.json with k") && message.contains("L0_50"), "{message}");
    fs::write(unnamed.join("config.json"), config(6)).unwrap();
    let read = SaeFile::open(&unnamed).unwrap();
    assert_eq!((read.architecture(), read.model_name()), ("topk", Some("Qwen/Qwen3-1.7B-Base")));
    let named = Copy::of(case);
    fs::write(named.folder.join("config.json"), config(7)).unwrap();
    let message = named.refused();
    assert!(message.contains("6, as the published path says") && message.contains("got 7"), "{message}");
}

#[test]
fn several_saes_of_one_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let one = fixtures().join("qwen3-4b-transcoders/layer_1.safetensors");
    for name in ["layer_0.safetensors", "layer_1.safetensors"] {
        fs::copy(&one, folder.path().join(name)).unwrap();
    }
    let message = SaeFile::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("got 2: layer_0.safetensors, layer_1.safetensors"), "{message}");
    let found = hayloft_sae::find_saes([folder.path()]).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(SaeFile::open(&found[0]).unwrap().site(), Some("blocks.0.mlp.hook_in"));
    for (text, words) in [
        ("model_kind: cross_layer_transcoder\n", "model_kind: expected transcoder_set"),
        ("activation: topk\n", "k: expected"),
        ("activation: gelu\n", "activation: expected relu"),
    ] {
        fs::write(folder.path().join("config.yaml"), text).unwrap();
        let message = SaeFile::open(&found[0]).unwrap_err().to_string();
        assert!(message.contains(words), "{text}: {message}");
    }
    fs::rename(&found[0], folder.path().join("W_enc_0.safetensors")).unwrap();
    let message = SaeFile::open(&folder.path().join("W_enc_0.safetensors")).unwrap_err().to_string();
    assert!(message.contains("part of a cross-layer transcoder"), "{message}");
}

#[test]
fn what_the_files_do_not_say_may_be_said() {
    let said = |normalisation| SaeOptions { normalisation: Some(normalisation), ..SaeOptions::default() };
    let (plain, normed) = (fixtures().join("sparsify/layers.1"), fixtures().join("openai-topk"));
    let read = SaeFile::open_with(&plain, &said(Normalisation::ConstantNormRescale)).unwrap();
    assert_eq!(read.normalisation(), Normalisation::ConstantNormRescale);
    let message = SaeFile::open_with(&normed, &said(Normalisation::None)).unwrap_err().to_string();
    assert!(message.contains("--sae-normalise: expected layer_norm, as the files say, got none"), "{message}");
    let transcoder = fixtures().join("saelens-transcoder");
    let message = SaeFile::open_with(&transcoder, &said(Normalisation::LayerNorm)).unwrap_err().to_string();
    assert!(message.contains("in a transcoder"), "{message}");

    let transcoding = |site| SaeOptions { transcoder: Some(site), ..SaeOptions::default() };
    let copy = Copy::of("sparsify-skip-2024/layers.1.mlp");
    copy.edit("cfg.json", |config| config["skip_connection"] = json!(false));
    copy.edit_tensors("sae.safetensors", |tensors| tensors.retain(|(name, _)| name != "W_skip"));
    let read = |folder: &Path, site| SaeFile::open_with(folder, &transcoding(site));
    assert!(!SaeFile::open(&copy.folder).unwrap().is_transcoder());
    let told = read(&copy.folder, Transcoded::Module).unwrap();
    assert_eq!((told.site(), told.output_site()), (Some("blocks.1.mlp.hook_in"), Some("blocks.1.hook_mlp_out")));
    let alone = fixtures().join("dictionary-learning-alone");
    let told = read(&alone, Transcoded::Site("blocks.3.hook_mlp_out".to_owned())).unwrap();
    assert_eq!((told.is_transcoder(), told.output_site()), (true, Some("blocks.3.hook_mlp_out")));
    let message = read(&alone, Transcoded::Module).unwrap_err().to_string();
    assert!(message.contains("--transcode=SITE"), "{message}");
    let other = Transcoded::Site("blocks.2.hook_mlp_out".to_owned());
    let message = read(&transcoder, other).unwrap_err().to_string();
    assert!(message.contains("blocks.1.hook_mlp_out, as the files say"), "{message}");
}

#[test]
fn a_dictionary_without_a_configuration_is_told_by_its_tensors_or_refused() {
    let copy = Copy::of("dictionary-learning-auto-encoder-top-k");
    fs::remove_file(copy.folder.join("config.json")).unwrap();
    let message = copy.refused();
    assert!(message.contains("those of more than one class") && message.contains("threshold"), "{message}");
    let (topk, batch) = ("dictionary-learning-topk", "dictionary-learning-batchtopk");
    assert!(message.contains(topk) && message.contains(batch), "{message}");
    for (name, folder) in
        [(topk, "dictionary-learning-auto-encoder-top-k"), (batch, "dictionary-learning-batch-top-k-sae")]
    {
        let copy = Copy::of(folder);
        let reconstruction = |file: SaeFile| file.load(Device::Cpu).unwrap().reconstruct(&x()).unwrap().rows;
        let of_config = reconstruction(SaeFile::open(&copy.folder).unwrap());
        let other = as_format(if name == topk { batch } else { topk });
        let message = SaeFile::open_with(&copy.folder, &other).unwrap_err().to_string();
        assert!(message.contains("as --sae-format says"), "{message}");
        fs::remove_file(copy.folder.join("config.json")).unwrap();
        let of_name = reconstruction(SaeFile::open_with(&copy.folder, &as_format(name)).unwrap());
        assert_eq!(of_name, of_config, "{name}");
    }
    let inspection = SaeInspection::of(&fixtures().join("dictionary-learning-alone"), &SaeOptions::default()).unwrap();
    assert_eq!((inspection.architecture, inspection.subtracted), ("standard", "decoder_bias"));
    assert!(inspection.remark.unwrap().contains("those of dictionary_learning's AutoEncoder"));
}

#[test]
fn a_configuration_in_place_of_the_weights_and_a_name_of_the_registry_are_answered() {
    let message = SaeFile::open(&fixtures().join("llama-scope/hyperparams.json")).unwrap_err().to_string();
    assert!(message.contains("got a configuration. Name the folder"), "{message}");
    let message = SaeFile::open(Path::new("gpt2-small-res-jb/blocks.8.hook_resid_pre")).unwrap_err().to_string();
    for words in [
        "jbloom/GPT2-Small-SAEs-Reformatted",
        "`evaluate inspect gpt2-small-res-jb/blocks.8.hook_resid_pre` fetches it",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let message = SaeFile::open(Path::new("gpt2-small-res-jb/blocks.8.hook_resid_prf")).unwrap_err().to_string();
    assert!(message.contains("Did you mean blocks.8.hook_resid_pre?"), "{message}");
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
