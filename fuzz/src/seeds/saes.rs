//! SAEs of four latents, of each architecture, in SAELens's two layouts.

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::Seed;

/// One of each set of tensors.
pub(crate) const ARCHITECTURES: [&str; 4] = ["standard", "jumprelu", "gated", "batchtopk"];

const D_IN: usize = 2;
const D_SAE: usize = 4;

/// What numpy and `PyTorch` wrote: stored and compressed, in both orders, with texts and dictionaries beside tensors.
const PUBLISHED: [(&str, &str, &[u8]); 5] = [
    (
        "numpy_archive",
        "stored",
        include_bytes!(
            "../../../tests/fixtures/sae-formats/gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_71/params.npz"
        ),
    ),
    (
        "numpy_archive",
        "compressed",
        include_bytes!(
            "../../../tests/fixtures/sae-formats/gemma-scope-2b-pt-mlp/layer_1/width_16k/average_l0_71/params.npz"
        ),
    ),
    (
        "numpy_archive",
        "columns-first",
        include_bytes!(
            "../../../tests/fixtures/sae-formats/gemma-scope-2b-pt-att/layer_1/width_16k/average_l0_71/params.npz"
        ),
    ),
    ("torch_file", "topk", include_bytes!("../../../tests/fixtures/sae-formats/openai-topk/autoencoder.pt")),
    ("torch_file", "relu", include_bytes!("../../../tests/fixtures/sae-formats/openai-relu/autoencoder.pt")),
];

/// Writes a folder for each architecture.
pub(crate) fn write(folder: &Path) {
    for architecture in ARCHITECTURES {
        let folder = folder.join(architecture);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("cfg.json"), config(architecture).to_string()).expect("a configuration");
        fs::write(folder.join("sae_weights.safetensors"), weights(architecture, Dtype::F32)).expect("weights");
    }
}

/// Configurations of circuit-tracer's transcoders: one with everything that is read, and the least.
const YAML: [(&str, &str); 2] = [
    (
        "transcoder-set",
        "# of a set\nmodel_name: \"a/b\"\nmodel_kind: transcoder_set\nfeature_input_hook: 'mlp.hook_in'\n\
         feature_output_hook: hook_mlp_out # added to the stream\nactivation: topk\nk: 2\ntranscoders:\n- \"hf://c: d\"\n",
    ),
    ("relu", "activation: relu\n"),
];

/// Writes the weights of one of circuit-tracer's transcoders.
pub(crate) fn write_transcoder(folder: &Path) {
    let shapes: [(&str, &[usize]); 4] =
        [("W_enc", &[D_SAE, D_IN]), ("W_dec", &[D_SAE, D_IN]), ("b_enc", &[D_SAE]), ("b_dec", &[D_IN])];
    let bytes = 0.25_f32.to_le_bytes().repeat(D_SAE * D_IN);
    let tensors = shapes.map(|(name, shape)| {
        let bytes = &bytes[..shape.iter().product::<usize>() * size_of::<f32>()];
        (name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("bytes that fit the shape"))
    });
    let file = safetensors::serialize(tensors, None).expect("safetensors");
    fs::write(folder.join("layer_0.safetensors"), file).expect("weights");
}

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = YAML.map(|(name, text)| ("sae_yaml", name.to_owned(), text.into())).into();
    let mut add_config = |name: &str, config: &Value| {
        let text = serde_json::to_vec_pretty(config).expect("JSON");
        seeds.push(("sae_config", name.to_owned(), text));
    };
    for architecture in ARCHITECTURES {
        add_config(&format!("nested-{architecture}"), &config(architecture));
    }
    let mut topk = config("topk");
    topk["k"] = json!(2);
    topk["rescale_acts_by_decoder_norm"] = json!(true);
    topk["normalize_activations"] = json!("layer_norm");
    add_config("nested-topk", &topk);
    add_config(
        "flat-topk",
        &json!({
            "activation_fn_kwargs": {"k": 3}, "activation_fn_str": "topk", "apply_b_dec_to_input": false,
            "architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "device": "cpu", "dtype": "torch.float32",
            "finetuning_scaling_factor": false, "hook_layer": 3, "hook_name": "blocks.3.hook_resid_pre",
            "normalize_activations": "constant_norm_rescale", "sae_lens_training_version": "3.22.0",
        }),
    );
    for architecture in ARCHITECTURES {
        seeds.push(("sae_weights", architecture.to_owned(), weights(architecture, Dtype::F32)));
    }
    seeds.push(("sae_weights", "standard-bf16".to_owned(), weights("standard", Dtype::BF16)));
    seeds.extend(PUBLISHED.iter().map(|(target, name, bytes)| (*target, (*name).to_owned(), bytes.to_vec())));
    seeds
}

fn config(architecture: &str) -> Value {
    let mut config = json!({
        "apply_b_dec_to_input": true, "architecture": architecture, "d_in": D_IN, "d_sae": D_SAE, "device": "cpu",
        "dtype": "float32", "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {
            "context_size": 32, "hook_name": "blocks.3.hook_resid_pre", "model_name": "tiny", "prepend_bos": true,
            "sae_lens_version": "6.54.12",
        },
    });
    if architecture == "batchtopk" {
        config["k"] = json!(1.5);
        config["rescale_acts_by_decoder_norm"] = json!(true);
        config["topk_threshold_lr"] = json!(0.01);
    }
    config
}

/// The tensors of an architecture, as SAELens names them.
fn weights(architecture: &str, dtype: Dtype) -> Vec<u8> {
    let of_latents: &[&str] = match architecture {
        "jumprelu" => &["b_enc", "threshold"],
        "gated" => &["b_gate", "b_mag", "r_mag"],
        _ => &["b_enc"],
    };
    let mut shapes = vec![("W_enc", vec![D_IN, D_SAE]), ("W_dec", vec![D_SAE, D_IN]), ("b_dec", vec![D_IN])];
    shapes.extend(of_latents.iter().map(|name| (*name, vec![D_SAE])));
    if architecture == "batchtopk" {
        shapes.push(("topk_threshold", vec![]));
    }
    let number: &[u8] = if dtype == Dtype::BF16 { &[0x80, 0x3e] } else { &[0, 0, 0x80, 0x3e] };
    let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> =
        shapes.into_iter().map(|(name, shape)| (name, shape.clone(), number.repeat(shape.iter().product()))).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (*name, TensorView::new(dtype, shape.clone(), bytes).expect("bytes that fit the shape"))
    });
    safetensors::serialize(views, None).expect("safetensors")
}
