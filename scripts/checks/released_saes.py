"""Weights of zeros beside a released SAE's configuration, so that `evaluate inspect` can be asked about it.

`sae(question)` answers a question of scripts/checks/released.py; `complaint(note, answer)` holds the site and the architecture that
it prints against `site=… arch=…` of a note. Sizes are reduced, as only the configuration is released: a width to 16, a number of
latents to 512. Weight files are in safetensors whatever their names: the programs tell a file's kind by its first bytes.
"""

import json
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from math import prod
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
D, H = 16, 512
"""The width of activations, and the number of latents."""


@dataclass(frozen=True)
class Answer:
    accepted: bool
    printed: str


def safetensors(path: Path, shapes: dict[str, tuple[int, ...]], ones: tuple[str, ...] = ()) -> None:
    """Float32 tensors of zeros, or of ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, body = {}, b""
    for name, shape in shapes.items():
        data = struct.pack("<f", 1.0 if name in ones else 0.0) * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


ROWS = {"W_enc": (D, H), "W_dec": (H, D), "b_enc": (H,), "b_dec": (D,)}
"""The tensors of SAELens."""
LINEAR = {"encoder.weight": (H, D), "encoder.bias": (H,), "decoder.weight": (D, H)}
"""The tensors of linear layers."""


def lower(shapes):
    return {name.lower(): shape for name, shape in shapes.items()}


def resized(config, sizes):
    """A configuration with other sizes where it has them, at any depth."""
    if not isinstance(config, dict):
        return config
    return {key: sizes.get(key, resized(value, sizes)) if value is not None else None for key, value in config.items()}


SIZES = {"d_in": D, "d_out": D, "d_model": D, "activation_dim": D, "d_submodule": D, "dict_size": H, "d_sae": H, "num_latents": H}


def saelens(folder, config):
    is_gated = config.get("architecture") == "gated"
    shapes = {**ROWS, "b_gate": (H,), "b_mag": (H,), "r_mag": (H,)} if is_gated else dict(ROWS)
    if is_gated:
        del shapes["b_enc"]
    if "jumprelu" in config.get("architecture", ""):
        shapes["threshold"] = (H,)
    if "skip" in config.get("architecture", ""):
        shapes["W_skip"] = (D, D)
    if "batchtopk" in config.get("architecture", ""):
        shapes["topk_threshold"] = ()
    safetensors(folder / "sae_weights.safetensors", shapes, ("threshold", "topk_threshold"))


def dictionary_learning(folder, config):
    linear = {
        "AutoEncoder": {**LINEAR, "bias": (D,)},
        "AutoEncoderNew": {**LINEAR, "decoder.bias": (D,)},
        "GatedAutoEncoder": {name: shape for name, shape in LINEAR.items() if name != "encoder.bias"}
        | {"decoder_bias": (D,), "r_mag": (H,), "gate_bias": (H,), "mag_bias": (H,)},
        "AutoEncoderTopK": {**LINEAR, "b_dec": (D,)},
        "BatchTopKSAE": {**LINEAR, "b_dec": (D,), "threshold": ()},
        "MatryoshkaBatchTopKSAE": {**ROWS, "threshold": ()},
        "JumpReluAutoEncoder": {**ROWS, "threshold": (H,)},
    }
    safetensors(folder / "ae.pt", linear[config["trainer"]["dict_class"] if config else "AutoEncoder"], ("threshold",))


def gemma_scope(folder, config):
    safetensors(folder / "params.npz", {**ROWS, "threshold": (H,)}, ("threshold",))


def gemma_scope_2(folder, config):
    skip = {"affine_skip_connection": (D, D)} if config.get("affine_connection") else {}
    safetensors(folder / "params.safetensors", lower({**ROWS, "threshold": (H,)}) | skip, ("threshold",))


def llama_scope(folder, config):
    safetensors(folder / "checkpoints/final.safetensors", {**LINEAR, "decoder.bias": (D,)})


def llamascopium(folder, config):
    shapes = {**LINEAR, "decoder.bias": (D,), "log_jumprelu_threshold": (H,)}
    safetensors(folder / "sae_weights.safetensors", shapes)


def sparsify(folder, config):
    skip = {"W_skip": (D, D)} if config.get("skip_connection") else {}
    shapes = {"encoder.weight": (H, D), "encoder.bias": (H,), "W_dec": (H, D), "b_dec": (D,)}
    safetensors(folder / "sae.safetensors", shapes | skip)


def openai(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests/fixtures/sae-formats/openai-topk/autoencoder.pt", folder)


def qwen_scope(folder, config):
    shapes = {"W_enc": (H, D), "W_dec": (D, H), "b_enc": (H,), "b_dec": (D,)}
    safetensors(folder / "layer0.sae.pt", shapes)


def transcoder_set(folder, config):
    safetensors(folder / "layer_0.safetensors", {**ROWS, "W_enc": (H, D)})


def clt_layers(folder, config):
    safetensors(folder / "W_enc_0.safetensors", {"W_enc_0": (H, D), "b_enc_0": (H,), "b_dec_0": (D,)})


LAYOUTS = {
    "saelens": saelens,
    "dictionary-learning": dictionary_learning,
    "gemma-scope-2-": gemma_scope_2,
    "gemma-scope": gemma_scope,
    "llama-scope-r1": llamascopium,
    "llama-scope": llama_scope,
    "sparsify": sparsify,
    "openai": openai,
    "qwen-scope": qwen_scope,
    "transcoder-set": transcoder_set,
    "clt-layers": clt_layers,
}
"""How weights lie beside a configuration, by the beginning of the name of the release's folder."""


def sae(question) -> Answer:
    """Makes the SAE in the question's folder, below the folders that it is published in, and inspects it."""
    parts = question.file.parts[question.file.parts.index("saes") + 1 :]
    parts = parts[1:] if parts[0] == "other" else parts
    layout = next((make for start, make in LAYOUTS.items() if parts[0].startswith(start)), None)
    if layout is None:
        return Answer(False, f"released_saes: no layout of weights is known for {parts[0]}")
    is_file = question.file.suffix != "" and question.file.is_file()
    folder = question.folder.joinpath(*(parts[:-1] if is_file else parts))
    config = {}
    if is_file:
        folder.mkdir(parents=True, exist_ok=True)
        text = question.file.read_text()
        if question.file.suffix == ".json":
            config = resized(json.loads(text), SIZES)
            text = json.dumps({**config, "expansion_factor": H // D} if "expansion_factor" in config else config)
        (folder / question.file.name).write_text(text)
    layout(folder, config)
    done = subprocess.run([question.programs / "evaluate", "inspect", folder, "--json"], capture_output=True, text=True)
    return Answer(done.returncode == 0, done.stdout + done.stderr)


def complaint(note: str, answer: Answer) -> str | None:
    """What is wrong with what was understood, if anything is."""
    if not answer.accepted:
        return None
    understood = json.loads(answer.printed[answer.printed.index("{") : answer.printed.rindex("}") + 1])
    for word, field in (("site", "site"), ("arch", "architecture")):
        said = re.search(rf"\b{word}=(\S+)", note)
        if said and understood[field] != said.group(1):
            return f"expected {field} {said.group(1)}, got {understood[field]}"
    return None
