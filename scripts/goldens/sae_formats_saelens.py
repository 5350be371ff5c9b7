"""The cases of sae_formats.py whose goldens are SAELens's: its transcoders, Gemma Scope, Gemma Scope 2, Llama Scope,
Qwen-Scope, circuit-tracer's transcoders, SAEs of attention heads, Goodfire's."""

import json
import math
import warnings
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

warnings.filterwarnings("ignore")

from sae_formats_common import D_IN, D_OUT, D_SAE, K, OUT, new_folder, weights, write_golden, write_json  # noqa: E402
from sae_lens import SAE, __version__  # noqa: E402
from sae_lens.loading import pretrained_sae_loaders as loaders  # noqa: E402

assert __version__ == "6.54.12", __version__


def saelens_transcoder(architecture):
    case = f"saelens-{architecture.replace('_', '-')}"
    sae = SAE.from_dict(
        {
            "architecture": architecture,
            "d_in": D_IN,
            "d_sae": D_SAE,
            "d_out": D_OUT,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": False,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {
                "sae_lens_version": __version__,
                "sae_lens_training_version": __version__,
                "model_name": "tiny",
                "hook_name": "blocks.1.mlp.hook_in",
                "hook_name_out": "blocks.1.hook_mlp_out",
                "context_size": 32,
                "prepend_bos": True,
            },
        }
    )
    values = weights(case, D_OUT)
    sae.load_state_dict({name: values[name] for name in sae.state_dict()})
    folder = new_folder(case)
    sae.save_model(folder)
    write_json(folder / "cfg.json", json.loads((folder / "cfg.json").read_text()))
    read = SAE.load_from_disk(folder)
    write_golden(case, lambda x: (read.encode(x), read(x)))


def local_file(repo_id, filename, subfolder="", **_):
    path = OUT / repo_id / subfolder / filename
    if not path.exists():
        raise loaders.EntryNotFoundError(f"{path}: no such file")
    return str(path)


def local_shapes(repo_id, filename):
    tensors = loaders.load_safetensors_weights(OUT / repo_id / filename)
    return {name: list(value.shape) for name, value in tensors.items()}


# SAELens's loaders read from a hub; here a repository is a local folder.
loaders.hf_hub_download = local_file
loaders.get_safetensors_tensor_shapes = local_shapes


def converted(repo, folder, loader, **overrides):
    """SAELens's class after SAELens's conversion, in float32, and the function that runs it."""
    cfg, state, _ = loader(repo, folder, cfg_overrides={"dtype": "float32", **overrides})
    sae = SAE.from_dict(loaders.handle_config_defaulting(cfg))
    sae.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return sae, lambda x: (sae.encode(x), sae(x))


GEMMA = ["W_enc", "b_enc", "W_dec", "b_dec", "threshold"]


def write_npz(path, arrays, compressed):
    """As np.savez writes it, with every member dated 1980, so that equal numbers give equal bytes."""
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        members = [(item.filename, item.compress_type, archive.read(item)) for item in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, method, data in members:
            item = zipfile.ZipInfo(name)
            item.compress_type = method
            with archive.open(item, "w", force_zip64=True) as member:
                member.write(data)


def gemma_scope(repo, folder, compressed=False, dtype=np.float32, lower=False, order="C"):
    case = f"{repo}/{folder}"
    arrays = {name: np.array(value, dtype, order=order) for name, value in weights(case).items() if name in GEMMA}
    arrays = {name.lower() if lower else name: arrays[name] for name in GEMMA}
    write_npz(new_folder(case) / "params.npz", arrays, compressed)
    loader = loaders.gemma_2_sae_huggingface_loader
    # The attention's SAEs read hook_z; here its heads are already concatenated.
    overrides = {"d_in": D_IN, "d_sae": D_SAE, "reshape_activations": "none"}
    if "transcoders" in repo:
        loader = loaders.gemma_2_transcoder_huggingface_loader
        overrides["d_out"] = D_IN
    write_golden(case, converted(repo, folder, loader, **overrides)[1])


def gemma_scope_of_embeddings():
    """The decoder bias is zero: SAELens does not scale it with the decoder."""
    repo, folder = "gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6"
    arrays = {name: np.array(value) for name, value in weights(f"{repo}/{folder}").items() if name in GEMMA}
    arrays["b_dec"] *= 0
    # SAELens divides the encoder by sqrt(d).
    arrays["W_enc"] *= math.sqrt(D_IN)
    write_npz(new_folder(f"{repo}/{folder}") / "params.npz", arrays, False)
    overrides = {"d_in": D_IN, "d_sae": D_SAE}
    write_golden(f"{repo}/{folder}", converted(repo, folder, loaders.gemma_2_sae_huggingface_loader, **overrides)[1])


def gemma_scope_2(folder, hook_in, hook_out, affine, kind, has_config=True):
    repo = "gemma-scope-2-270m-pt"
    case = f"{repo}/{folder}"
    values = weights(case)
    target = new_folder(case)
    tensors = {name.lower(): values[name] for name in GEMMA}
    if affine:
        tensors["affine_skip_connection"] = values["W_skip"].T.contiguous()
    save_file(tensors, target / "params.safetensors")
    if has_config:
        config = {
            "hf_hook_point_in": hook_in,
            "hf_hook_point_out": hook_out,
            "width": D_SAE,
            "model_name": "gemma-v3-270m-pt",
            "architecture": "jump_relu",
            "l0": 10,
            "affine_connection": affine,
            "type": kind,
        }
        write_json(target / "config.json", config)
    write_golden(case, converted(repo, folder, loaders.gemma_3_sae_huggingface_loader)[1])


def llama_scope():
    case = "llama-scope"
    values = weights(case)
    norm = 5.25
    hyperparams = {
        "hook_point_in": "blocks.1.hook_resid_post",
        "hook_point_out": "blocks.1.hook_resid_post",
        "use_decoder_bias": True,
        "apply_decoder_bias_to_pre_encoder": False,
        "expansion_factor": D_SAE // D_IN,
        "d_model": D_IN,
        "d_sae": D_SAE,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": norm, "out": norm},
        "decoder_exactly_fixed_norm": False,
        "sparsity_include_decoder_norm": True,
        "use_glu_encoder": False,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.7265625,
        "top_k": 50,
    }
    (new_folder(case) / "checkpoints").mkdir()
    write_json(OUT / case / "hyperparams.json", hyperparams)
    tensors = {
        "encoder.weight": values["W_enc"].T,
        "encoder.bias": values["b_enc"],
        "decoder.weight": normalize(values["W_dec"], dim=-1).T,
        "decoder.bias": values["b_dec"],
    }
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in tensors.items()}
    save_file(tensors, OUT / case / "checkpoints" / "final.safetensors")
    sae, run = converted(case, ".", loaders.llama_scope_sae_huggingface_loader)
    sae.fold_activation_norm_scaling_factor(math.sqrt(D_IN) / norm)
    write_golden(case, run)


def save_pt(path, tensors):
    torch.save({name: value.contiguous() for name, value in tensors.items()}, path)


def turned(values):
    return values | {"W_enc": values["W_enc"].T, "W_dec": values["W_dec"].T}


def qwen_scope():
    repo, file = f"SAE-Res-Qwen3-1.7B-Base-W32K-L0_{K}", "layer1.sae.pt"
    values = turned(weights(repo))
    save_pt(new_folder(repo) / file, {name: values[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec")})
    sizes = {"d_in": D_IN, "d_sae": D_SAE}
    write_golden(repo, converted(repo, file, loaders.qwen_scope_sae_huggingface_loader, **sizes)[1])


def circuit_tracer(case, has_config):
    values = weights(case)
    folder, file = new_folder(case), "layer_1.safetensors"
    tensors = {name: values[name] for name in ("W_dec", "b_enc", "b_dec")} | {"W_enc": values["W_enc"].T.contiguous()}
    save_file(tensors, folder / file)
    if has_config:
        lines = ["model_name: Qwen/Qwen3-4B", "model_kind: transcoder_set"]
        lines += ["feature_input_hook: mlp.hook_in", "feature_output_hook: hook_mlp_out"]
        (folder / "config.yaml").write_text("\n".join(lines) + "\n")
    sizes = {"d_model": D_IN, "d_feature": D_SAE, "batch_size": 8}
    lines = [f"{name}:\n  value: {value}" for name, value in sizes.items()]
    (folder / "wandb-config.yaml").write_text("\n".join(lines) + "\n")
    write_golden(case, converted(case, file, loaders.mwhanna_transcoder_huggingface_loader)[1])


def attn_saes():
    case, name = "attn-saes", "gpt2-small_L1_Hcat_z_ds48"
    values = weights(case)
    folder = new_folder(case)
    save_pt(folder / f"{name}.pt", {name: values[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec")})
    config = {"act_size": D_IN, "dict_size": D_SAE, "act_name": "blocks.1.attn.hook_z", "l1_coeff": 1.8, "seed": 49}
    write_json(folder / f"{name}_cfg.json", config)
    # Here the heads are already concatenated.
    plain = {"reshape_activations": "none"}
    write_golden(case, converted(case, f"{name}.pt", loaders.connor_rob_hook_z_huggingface_loader, **plain)[1])


def goodfire(case, repo, file, ending, loader):
    values = turned(weights(case))
    names = {"encoder{}.weight": "W_enc", "encoder{}.bias": "b_enc", "decoder{}.weight": "W_dec", "decoder{}.bias": "b_dec"}
    save_pt(new_folder(case) / file, {name.format(ending): values[ours] for name, ours in names.items()})
    sizes = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "normalize_activations": "none"}
    # The loaders know these repositories by their names.
    loaders.hf_hub_download = lambda repo_id, filename, **_: str(OUT / case / filename)
    cfg, state, _ = loader(repo, file, cfg_overrides=sizes)
    loaders.hf_hub_download = local_file
    sae = SAE.from_dict(loaders.handle_config_defaulting(cfg))
    sae.load_state_dict({name: value.contiguous() for name, value in state.items()})
    write_golden(case, lambda x: (sae.encode(x), sae(x)))


def write_all():
    for architecture in ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"):
        saelens_transcoder(architecture)
    gemma_scope("gemma-scope-2b-pt-res", "layer_1/width_16k/average_l0_71")
    gemma_scope("gemma-scope-2b-pt-mlp", "layer_1/width_16k/average_l0_71", compressed=True)
    gemma_scope("gemma-scope-2b-pt-att", "layer_1/width_16k/average_l0_71", dtype=np.float16, lower=True, order="F")
    gemma_scope("gemma-scope-2b-pt-transcoders", "layer_1/width_16k/average_l0_5")
    layer = "model.layers.1"
    site = f"{layer}.output"
    gemma_scope_2("resid_post/layer_1_width_16k_l0_small", site, site, False, "sae")
    sites = (f"{layer}.pre_feedforward_layernorm.output", f"{layer}.post_feedforward_layernorm.output")
    gemma_scope_2("transcoder/layer_1_width_16k_l0_small", *sites, False, "transcoder")
    gemma_scope_2("transcoder/layer_1_width_16k_l0_small_affine", *sites, True, "transcoder")
    llama_scope()
    gemma_scope_2("attn_out_all/layer_1_width_16k_l0_small", None, None, False, None, has_config=False)
    gemma_scope_2("transcoder_all/layer_1_width_16k_l0_small_affine", None, None, True, None, has_config=False)
    gemma_scope_of_embeddings()
    qwen_scope()
    circuit_tracer("qwen3-4b-transcoders", has_config=True)
    circuit_tracer("qwen3-14b-transcoders", has_config=False)
    attn_saes()
    name = "Llama-3.1-8B-Instruct-SAE-l19"
    goodfire("goodfire", f"Goodfire/{name}", f"{name}.pth", "_linear", loaders.get_goodfire_huggingface_loader)
    file = "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
    goodfire("goodfire-deepseek", "qresearch", file, "", loaders.deepseek_r1_sae_huggingface_loader)
