"""The cases of sae_formats.py whose goldens are SAELens's: its transcoders, Gemma Scope, Gemma Scope 2, Llama Scope."""

import json
import math
import warnings
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

warnings.filterwarnings("ignore")

from sae_formats_common import D_IN, D_OUT, D_SAE, OUT, new_folder, weights, write_golden, write_json  # noqa: E402
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
    return str(OUT / repo_id / subfolder / filename)


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


def gemma_scope_2(folder, hook_in, hook_out, affine, kind):
    repo = "gemma-scope-2-270m-pt"
    case = f"{repo}/{folder}"
    values = weights(case)
    target = new_folder(case)
    tensors = {name.lower(): values[name] for name in GEMMA}
    if affine:
        tensors["affine_skip_connection"] = values["W_skip"].T.contiguous()
    save_file(tensors, target / "params.safetensors")
    write_json(
        target / "config.json",
        {
            "hf_hook_point_in": hook_in,
            "hf_hook_point_out": hook_out,
            "width": D_SAE,
            "model_name": "gemma-v3-270m-pt",
            "architecture": "jump_relu",
            "l0": 10,
            "affine_connection": affine,
            "type": kind,
        },
    )
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
