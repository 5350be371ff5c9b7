"""Makes tests/fixtures/sae-formats: a small SAE in every supported format and architecture, with reconstructions.

Pinned: requirements.txt and requirements-no-deps.txt beside this file (Python 3.11 or later).

    python scripts/goldens/sae_formats.py            # writes tests/fixtures/sae-formats

`inputs.safetensors` has `x` [24, 16] float32, norms near 4 and one row of norm 60. Each case is a folder as published, with the SAE's
files and a golden.safetensors with `latents` [24, 48] and `reconstruction` [24, d_out], float32, computed in float32 from the
stored numbers:

- SAELens transcoders, Gemma Scope, Gemma Scope 2, Llama Scope: by SAELens's classes, after SAELens's conversion.
- dictionary_learning 0.1.0: `from_pretrained` of the class that config.json names. The configurations are those that the
  trainers' `config` writes; no trainer of 0.1.0 names an AutoEncoderNew, so its dict_class is set by hand.
- sparsify (eai-sparsify 1.3.3): SparseCoder, saved and read by itself.
- OpenAI (openai/sparse_autoencoder) and llamascopium (OpenMOSS/Language-Model-SAEs): no package to install; the
  published formulas in float64, rounded. `dataset-wise` latents are those of the scaled input, as `encode` gives them.

Every case asserts that no latent is so close to its threshold that another order of summation could switch it on or off.
"""

import json
import os
import shutil
import sys
import types

import numpy as np
import sae_formats_saelens
import torch
from sae_formats_common import D_IN, D_SAE, OUT, K, X, new_folder, weights, write_golden, write_json
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"

# The package roots of dictionary_learning and sparsify import modules that only their training loops use: a buffer of
# activations (nnsight), natural sorting and an optimiser. Empty modules replace these; no golden uses them.
for stub, name in [("nnsight", "LanguageModel"), ("natsort", "natsorted"), ("schedulefree", "ScheduleFreeWrapper")]:
    sys.modules[stub] = types.ModuleType(stub)
    setattr(sys.modules[stub], name, None)

from dictionary_learning import dictionary, trainers  # noqa: E402
from dictionary_learning.trainers import matryoshka_batch_top_k, standard, top_k  # noqa: E402
from sparsify import SparseCoder, SparseCoderConfig  # noqa: E402

TRAINED = {
    "steps": 244140,
    "activation_dim": D_IN,
    "dict_size": D_SAE,
    "layer": 1,
    "lm_name": "EleutherAI/pythia-70m-deduped",
    "submodule_name": "resid_post_layer_1",
    "device": "cpu",
    "seed": 0,
}
BUFFER = {
    "d_submodule": D_IN,
    "io": "out",
    "n_ctxs": 122,
    "ctx_len": 1024,
    "refresh_batch_size": 32,
    "out_batch_size": 2048,
    "device": "cpu",
}


CLT_DEFAULTS = {
    "dtype": "none",
    "tp_output": True,
    "n_targets": 0,
    "n_sources": 0,
    "normalize_io": False,
    "divide_cross_layer": False,
    "train_post_encoder": True,
    "post_encoder_scale": False,
    "per_source_tied": False,
    "secondary_target_tied": False,
    "coalesce_topk": "none",
    "topk_coalesced": False,
    "use_fp8": False,
}


def dictionary_learning(name, cls, trainer, has_config=True, **options):
    """A folder as training.py writes it: the trainer's config.json, and ae.pt, a plain dict of tensors."""
    case = f"dictionary-learning-{name}"
    made = trainer(**TRAINED, dict_class=cls, **options)
    values = weights(case)
    if cls is dictionary.AutoEncoder:
        # from_pretrained normalises decoder columns, which alters latents: start from unit columns, as after training.
        values["W_dec"] = normalize(values["W_dec"], dim=-1)
    values |= {
        "encoder.weight": values["W_enc"].T,
        "encoder.bias": values["b_enc"],
        "decoder.weight": values["W_dec"].T,
        "decoder.bias": values["b_dec"],
        "bias": values["b_dec"],
        "decoder_bias": values["b_dec"],
        "gate_bias": values["b_gate"],
        "mag_bias": values["b_mag"],
    }
    state = made.ae.state_dict()
    for key, value in state.items():
        if key == "threshold" and value.ndim == 0:
            value.fill_(0.75)
        elif key not in ("k", "group_sizes"):
            value.copy_(values[key])
    config = {"trainer": made.config, "buffer": BUFFER}
    config["trainer"]["dict_class"] = cls.__name__
    folder = new_folder(case)
    if has_config:
        write_json(folder / "config.json", config)
    torch.save({key: value.cpu() for key, value in state.items()}, folder / "ae.pt")
    read = cls.from_pretrained(folder / "ae.pt")

    def run(x):
        latents = read.encode(x)
        return latents, read.decode(latents)

    write_golden(case, run)


def dictionary_learning_all():
    dictionary_learning("auto-encoder", dictionary.AutoEncoder, trainers.StandardTrainer)
    dictionary_learning("auto-encoder-new", dictionary.AutoEncoderNew, standard.StandardTrainerAprilUpdate)
    dictionary_learning("gated-auto-encoder", dictionary.GatedAutoEncoder, trainers.GatedSAETrainer)
    dictionary_learning("auto-encoder-top-k", top_k.AutoEncoderTopK, trainers.TopKTrainer, k=K)
    dictionary_learning("batch-top-k-sae", trainers.BatchTopKSAE, trainers.BatchTopKTrainer, k=K)
    matryoshka = matryoshka_batch_top_k
    fractions = {"group_fractions": [0.25, 0.25, 0.5]}
    dictionary_learning(
        "matryoshka-batch-top-k-sae",
        matryoshka.MatryoshkaBatchTopKSAE,
        matryoshka.MatryoshkaBatchTopKTrainer,
        k=K,
        **fractions,
    )
    # Releases of 2023 and 2024 are ae.pt alone.
    dictionary_learning("alone", dictionary.AutoEncoder, trainers.StandardTrainer, has_config=False)
    dictionary_learning("alone-gated", dictionary.GatedAutoEncoder, trainers.GatedSAETrainer, has_config=False)
    dictionary_learning("jump-relu-auto-encoder", dictionary.JumpReluAutoEncoder, trainers.JumpReluTrainer)


def sparsify(case, without=(), also={}, tensors={}, **options):
    """A folder as sparsify saves it, without some fields of cfg.json, and with some fields and tensors of other versions."""
    values = weights(case)
    made = SparseCoder(D_IN, SparseCoderConfig(expansion_factor=D_SAE // D_IN, k=K, **options))
    values |= {"encoder.weight": values["W_enc"].T, "encoder.bias": values["b_enc"]}
    made.load_state_dict({name: values[name] for name in made.state_dict()})
    folder = new_folder(case)
    made.save_to_disk(folder)
    config = json.loads((folder / "cfg.json").read_text())
    if without or also:
        kept = {name: value for name, value in config.items() if name not in without}
        (folder / "cfg.json").write_text(json.dumps(kept))
    read = SparseCoder.load_from_disk(folder)

    def run(x):
        forward = read(x)
        latents = torch.zeros(len(x), D_SAE).scatter(-1, forward.latent_indices, forward.latent_acts)
        return latents, forward.sae_out

    write_golden(case, run)
    if also:
        (folder / "cfg.json").write_text(json.dumps({**config, **also}))
        save_file(load_file(folder / "sae.safetensors") | tensors, folder / "sae.safetensors")


def top_k_of(pre, k):
    """The k greatest of each row, relu'd, in place; pre [rows, h]."""
    kept = np.zeros_like(pre)
    places = np.argsort(-pre, axis=-1)[:, :k]
    np.put_along_axis(kept, places, np.take_along_axis(pre, places, -1), -1)
    return np.maximum(kept, 0)


def in_float64(formula):
    """`formula` maps x float64 to latents and reconstruction, in numpy."""
    return lambda x: tuple(torch.from_numpy(value) for value in formula(x.double().numpy()))


def openai(case, activation):
    """A state dict as sparse_autoencoder/model.py writes it: tensors, a string, and a dict of k and a string."""
    values = weights(case)
    holder = nn.Module()
    holder.pre_bias = nn.Parameter(values["b_dec"])
    holder.latent_bias = nn.Parameter(values["b_enc"])
    holder.register_buffer("stats_last_nonzero", torch.arange(D_SAE))
    holder.register_buffer("latents_activation_frequency", torch.linspace(0, 1, D_SAE))
    holder.register_buffer("latents_mean_square", torch.linspace(0, 2, D_SAE))
    holder.encoder = nn.Linear(D_IN, D_SAE, bias=False)
    holder.decoder = nn.Linear(D_SAE, D_IN, bias=False)
    state = holder.state_dict()
    state["encoder.weight"].copy_(values["W_enc"].T)
    state["decoder.weight"].copy_(values["W_dec"].T)
    state["activation"] = activation
    state["activation_state_dict"] = nn.ReLU().state_dict()
    if activation == "TopK":
        state["activation_state_dict"].update({"k": K, "postact_fn": "ReLU"})
    torch.save(state, new_folder(case) / "autoencoder.pt")
    w = {name: value.double().numpy() for name, value in values.items()}

    def formula(x):
        mean, scale = 0.0, 1.0
        if activation == "TopK":
            mean = x.mean(-1, keepdims=True)
            scale = (x - mean).std(-1, ddof=1, keepdims=True) + 1e-5
        pre = ((x - mean) / scale - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
        latents = top_k_of(pre, K) if activation == "TopK" else np.maximum(pre, 0)
        undo = scale - 1e-5 if activation == "TopK" else scale
        return latents, (latents @ w["W_dec"] + w["b_dec"]) * undo + mean

    write_golden(case, in_float64(formula))


def llamascopium(case, act_fn, norm_activation="inference"):
    """A folder as save_pretrained and save_hyperparameters write it: the weights include norms of the data."""
    values = weights(case)
    site, norm = "blocks.1.hook_resid_post", 5.25
    names = {"W_E": "W_enc", "b_E": "b_enc", "W_D": "W_dec", "b_D": "b_dec"}
    tensors = {name: values[ours] for name, ours in names.items()}
    tensors[f"dataset_average_activation_norm.{site}"] = torch.tensor(norm)
    if act_fn == "jumprelu":
        tensors["activation_function.log_jumprelu_threshold"] = values["threshold"].log()
    folder = new_folder(case)
    save_file(tensors, folder / "sae_weights.safetensors")
    write_json(
        folder / "config.json",
        {
            "sae_type": "sae",
            "d_model": D_IN,
            "expansion_factor": D_SAE / D_IN,
            "use_decoder_bias": True,
            "act_fn": act_fn,
            "norm_activation": norm_activation,
            "sparsity_include_decoder_norm": True,
            "top_k": K,
            "use_triton_kernel": False,
            "sparsity_threshold_for_triton_spmm_kernel": 0.996,
            "jumprelu_threshold_window": 2.0,
            "hook_point_in": site,
            "hook_point_out": site,
            "use_glu_encoder": False,
        },
    )
    w = {name: value.double().numpy() for name, value in tensors.items()}
    norms = np.linalg.norm(w["W_D"], axis=-1)
    factor = np.sqrt(D_IN) / norm if norm_activation == "dataset-wise" else 1.0

    def formula(x):
        scaled = ((x * factor) @ w["W_E"] + w["b_E"]) * norms
        if act_fn == "jumprelu":
            scaled = scaled * (scaled > np.exp(w["activation_function.log_jumprelu_threshold"]))
        elif act_fn == "topk":
            scaled = top_k_of(scaled, K)
        latents = np.maximum(scaled, 0) / norms
        return latents, (latents @ w["W_D"] + w["b_D"]) / factor

    write_golden(case, in_float64(formula))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    save_file({"x": X}, OUT / "inputs.safetensors")
    sae_formats_saelens.write_all()
    dictionary_learning_all()
    sparsify("sparsify/layers.1")
    sparsify("sparsify-transcoder/layers.1.mlp", transcode=True)
    sparsify("sparsify-skip-transcoder/layers.1.mlp", transcode=True, skip_connection=True)
    # Skip transcoders from before February 2025 do not say that they are transcoders; they subtract the decoder bias.
    sparsify("sparsify-skip-2024/layers.1.mlp", without=["transcode"], skip_connection=True)
    # EleutherAI's clt-training at its defaults, with the offset of latents that it always saves.
    sparsify(
        "sparsify-clt-training/layers.1.mlp",
        also=CLT_DEFAULTS,
        tensors={"post_enc": torch.zeros(D_SAE)},
        transcode=True,
        skip_connection=True,
    )
    openai("openai-topk", "TopK")
    openai("openai-relu", "ReLU")
    llamascopium("llamascopium-jumprelu", "jumprelu")
    llamascopium("llamascopium-topk", "topk")
    llamascopium("llamascopium-relu-dataset-wise", "relu", "dataset-wise")


if __name__ == "__main__":
    main()
