"""Makes tests/fixtures/sae-formats: a small SAE in every published format and architecture, with reference reconstructions.

Each case is a folder as its publisher lays it out, and in it golden.safetensors: `x` [ROWS, D_IN], `latents` [ROWS, D_SAE] and
`reconstruction` [ROWS, d_out], float32, of the class that owns the format: SAELens's, dictionary_learning's, sparsify's. Gemma
Scope is computed by SAELens's JumpReLU classes (its own loaders make these of the same tensors), Llama Scope by SAELens's
conversion, OpenAI's and llamascopium's by their published formulas in float64.

dictionary_learning and sparsify are installed without what they need for training, and modules of that are empty here.

Run by scripts/goldens/run, with the versions in requirements.txt and requirements-bare.txt. A second run gives the same bytes.
"""

import importlib.util
import json
import shutil
import sys
import warnings
import zipfile
from pathlib import Path
from unittest.mock import MagicMock

import numpy
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
from sae_lens import SAE, __version__  # noqa: E402

for absent in ["nnsight", "natsort", "simple_parsing", "schedulefree", "sparsify.trainer", "triton"]:
    if absent.startswith("sparsify") or importlib.util.find_spec(absent) is None:
        sys.modules[absent] = MagicMock()
# A base class and a field must be what dataclasses take.
sys.modules["simple_parsing"].Serializable = type("Serializable", (), {})
sys.modules["simple_parsing"].list_field = lambda *values, **options: None

from dictionary_learning import dictionary  # noqa: E402
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE  # noqa: E402
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE  # noqa: E402
from dictionary_learning.trainers.top_k import AutoEncoderTopK  # noqa: E402

OUT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "sae-formats"
D_IN, D_OUT, D_SAE, ROWS, K = 16, 12, 48, 24, 6


class Draw:
    """Seeded weights that make every part of a forward pass matter."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def encoder(self) -> torch.Tensor:
        return 0.3 * self.normal(D_IN, D_SAE)

    def decoder(self, d_out: int = D_IN) -> torch.Tensor:
        norms = 0.4 + 1.6 * torch.rand(D_SAE, 1, generator=self.generator)
        return torch.nn.functional.normalize(self.normal(D_SAE, d_out), dim=-1) * norms

    def threshold(self) -> torch.Tensor:
        return 0.3 + 0.7 * torch.rand(D_SAE, generator=self.generator)

    def x(self) -> torch.Tensor:
        spread = 0.5 + 2 * torch.rand(ROWS, 1, generator=self.generator)
        return self.normal(ROWS, D_IN) * spread + torch.linspace(-1.0, 2.0, D_IN)


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_golden(folder: Path, x: torch.Tensor, latents: torch.Tensor, reconstruction: torch.Tensor) -> None:
    tensors = {"x": x, "latents": latents, "reconstruction": reconstruction}
    save_file({name: value.detach().float().contiguous() for name, value in tensors.items()}, folder / "golden.safetensors")
    fired = (latents > 0).float().sum(-1).mean().item()
    assert 1 < fired < 0.8 * D_SAE, (folder.name, fired)
    print(f"{folder.relative_to(OUT).as_posix():80} L0 {fired:.2f}")


def make(name: str) -> Path:
    folder = OUT / name
    folder.mkdir(parents=True)
    return folder


def same_dates(path: Path) -> None:
    """Writes a zip archive again with a fixed date in every member."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            fixed = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            fixed.compress_type = info.compress_type
            archive.writestr(fixed, content)


def saelens_class(architecture: str, values: dict[str, torch.Tensor], **options) -> torch.nn.Module:
    config = {"architecture": architecture, "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    config |= {"apply_b_dec_to_input": False, "normalize_activations": "none", "reshape_activations": "none"}
    config |= {"metadata": {"sae_lens_version": __version__}} | options
    sae = SAE.from_dict(config)
    with torch.no_grad():
        for parameter, tensor in sae.named_parameters():
            tensor.copy_(values[parameter])
    return sae


def by_saelens(folder: Path, sae: torch.nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        write_golden(folder, x, sae.encode(x), sae(x))


def transcoders() -> None:
    names = ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"]
    for seed, architecture in enumerate(names):
        draw = Draw(seed)
        values = {
            "W_enc": draw.encoder(),
            "b_enc": 0.5 * draw.normal(D_SAE),
            "W_dec": draw.decoder(D_OUT),
            "b_dec": draw.normal(D_OUT),
            "W_skip": 0.3 * draw.normal(D_OUT, D_IN),
            "threshold": draw.threshold(),
        }
        about = {"sae_lens_version": __version__, "hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}
        sae = saelens_class(architecture, values, d_out=D_OUT, metadata=about)
        folder = make(f"saelens-{architecture.replace('_', '-')}")
        sae.save_model(folder)
        write_json(folder / "cfg.json", json.loads((folder / "cfg.json").read_text()))
        by_saelens(folder, sae, draw.x())


def gemma_values(draw: Draw, d_out: int = D_IN) -> dict[str, torch.Tensor]:
    return {
        "W_enc": draw.encoder(),
        "b_enc": 0.5 * draw.normal(D_SAE),
        "W_dec": draw.decoder(d_out),
        "b_dec": draw.normal(d_out),
        "threshold": draw.threshold(),
    }


def gemma_scope() -> None:
    tail = "layer_1/width_16k/average_l0_71"
    cases = {
        "gemma-scope-2b-pt-res": lambda path, arrays: numpy.savez(path, **arrays),
        "gemma-scope-2b-pt-mlp": lambda path, arrays: numpy.savez_compressed(path, **arrays),
        "gemma-scope-2b-it-att": lambda path, arrays: numpy.savez(
            path, **{name.lower(): numpy.asfortranarray(array.astype(numpy.float16)) for name, array in arrays.items()}
        ),
        "gemma-scope-2b-pt-transcoders": lambda path, arrays: numpy.savez(path, **arrays),
    }
    for seed, (name, write) in enumerate(cases.items()):
        draw = Draw(100 + seed)
        values = gemma_values(draw)
        if name.endswith("att"):
            values = {name: value.half().float() for name, value in values.items()}
        folder = make(f"{name}/{tail}")
        write(folder / "params.npz", {name: value.numpy() for name, value in values.items()})
        same_dates(folder / "params.npz")
        by_saelens(folder, saelens_class("jumprelu", values), draw.x())


def gemma_scope_2() -> None:
    layer = "model.layers.1"
    cases = [
        ("resid_post", f"{layer}.output", None, False),
        ("attn_out", f"{layer}.self_attn.o_proj.input", None, False),
        ("transcoder", f"{layer}.pre_feedforward_layernorm.output", f"{layer}.post_feedforward_layernorm.output", True),
    ]
    for seed, (kind, hook_in, hook_out, affine) in enumerate(cases):
        draw = Draw(200 + seed)
        values = gemma_values(draw, D_OUT if hook_out else D_IN)
        folder = make(f"gemma-scope-2-270m-pt/{kind}/layer_1_width_16k_l0_small")
        config = {"architecture": "jump_relu", "model_name": "gemma-v3-270m-pt", "hf_hook_point_in": hook_in, "l0": 20, "width": D_SAE}
        tensors = {name.lower(): value for name, value in values.items()}
        options = {}
        architecture = "jumprelu"
        if hook_out:
            config |= {"hf_hook_point_out": hook_out, "affine_connection": affine}
            values["W_skip"] = 0.3 * draw.normal(D_OUT, D_IN)
            tensors["affine_skip_connection"] = values["W_skip"].T.contiguous()
            architecture, options = "jumprelu_skip_transcoder", {"d_out": D_OUT}
        write_json(folder / "config.json", config)
        save_file(tensors, folder / "params.safetensors")
        by_saelens(folder, saelens_class(architecture, values, **options), draw.x())


def llama_scope() -> None:
    draw = Draw(300)
    values = {name: value.bfloat16() for name, value in gemma_values(draw).items()}
    folder = make("llama-scope")
    (folder / "checkpoints").mkdir()
    norm, threshold = 2.7, 0.4
    write_json(
        folder / "hyperparams.json",
        {
            "d_model": D_IN,
            "d_sae": D_SAE,
            "expansion_factor": 3,
            "hook_point_in": "blocks.1.hook_resid_post",
            "hook_point_out": "blocks.1.hook_resid_post",
            "act_fn": "jumprelu",
            "jump_relu_threshold": threshold,
            "norm_activation": "dataset-wise",
            "dataset_average_activation_norm": {"in": norm, "out": norm},
            "sparsity_include_decoder_norm": True,
            "use_decoder_bias": True,
            "apply_decoder_bias_to_pre_encoder": False,
            "top_k": 50,
            "dtype": "torch.bfloat16",
        },
    )
    save_file(
        {
            "encoder.weight": values["W_enc"].T.contiguous(),
            "encoder.bias": values["b_enc"],
            "decoder.weight": values["W_dec"].T.contiguous(),
            "decoder.bias": values["b_dec"],
        },
        folder / "checkpoints" / "final.safetensors",
    )
    scale = D_IN**0.5 / norm
    wide = {name: value.float() for name, value in values.items()} | {"threshold": torch.full((D_SAE,), threshold * scale)}
    sae = saelens_class("jumprelu", wide, normalize_activations="expected_average_only_in")
    sae.fold_activation_norm_scaling_factor(scale)
    by_saelens(folder, sae, draw.x() / scale)


def dictionary_learning() -> None:
    made = {
        "AutoEncoder": lambda: dictionary.AutoEncoder(D_IN, D_SAE),
        "AutoEncoderNew": lambda: dictionary.AutoEncoderNew(D_IN, D_SAE),
        "GatedAutoEncoder": lambda: dictionary.GatedAutoEncoder(D_IN, D_SAE),
        "AutoEncoderTopK": lambda: AutoEncoderTopK(D_IN, D_SAE, K),
        "BatchTopKSAE": lambda: BatchTopKSAE(D_IN, D_SAE, K),
        "MatryoshkaBatchTopKSAE": lambda: MatryoshkaBatchTopKSAE(D_IN, D_SAE, K, [8, 40]),
        "JumpReluAutoEncoder": lambda: dictionary.JumpReluAutoEncoder(D_IN, D_SAE),
    }
    for seed, (name, construct) in enumerate(made.items()):
        torch.manual_seed(seed)
        draw = Draw(400 + seed)
        sae = construct()
        by_shape = {
            (D_SAE, D_IN): lambda draw=draw, name=name: draw.encoder().T,
            (D_IN, D_SAE): lambda draw=draw: draw.encoder(),
            (D_SAE,): lambda draw=draw: 0.5 * draw.normal(D_SAE),
            (D_IN,): lambda draw=draw: draw.normal(D_IN),
        }
        with torch.no_grad():
            for parameter, tensor in sae.named_parameters():
                if parameter == "threshold":
                    tensor.copy_(draw.threshold())
                elif parameter == "W_dec":
                    tensor.copy_(draw.decoder())
                elif parameter == "decoder.weight":
                    tensor.copy_(draw.decoder().T)
                else:
                    tensor.copy_(by_shape[tuple(tensor.shape)]())
            if "threshold" in dict(sae.named_buffers()):
                sae.threshold.fill_(0.7)
        folder = make("dictionary-learning-" + name.lower())
        trainer = {"dict_class": name, "activation_dim": D_IN, "dict_size": D_SAE, "layer": 1, "lm_name": "EleutherAI/pythia-70m-deduped"}
        trainer |= {"submodule_name": "resid_post_layer_1", "lr": 0.0003, "steps": 1000, "trainer_class": f"{name}Trainer"}
        if "TopK" in name:
            trainer["k"] = K
        write_json(folder / "config.json", {"trainer": trainer, "buffer": {"ctx_len": 128, "d_submodule": D_IN}})
        torch.save(sae.state_dict(), folder / "ae.pt")
        same_dates(folder / "ae.pt")
        x = draw.x()
        with torch.no_grad():
            latents = sae.encode(x)
            write_golden(folder, x, latents, sae.decode(latents))


def sparsify() -> None:
    # The fused kernel of its encoder computes this; its module wants a GPU's compiler.
    fused = MagicMock()
    fused.EncoderOutput = tuple
    sys.modules["sparsify.fused_encoder"] = fused
    sparse_coder = importlib.import_module("sparsify.sparse_coder")
    config_class = importlib.import_module("sparsify.config").SparseCoderConfig

    def encoder(x, weight, bias, k, activation):
        pre = torch.relu(torch.nn.functional.linear(x, weight, bias))
        values, indices = torch.topk(pre, k, dim=-1, sorted=False)
        return values, indices, pre

    sparse_coder.fused_encoder = encoder
    sparse_coder.decoder_impl = lambda indices, acts, decoder: torch.zeros(
        *acts.shape[:-1], decoder.shape[1]
    ).scatter_(-1, indices, acts) @ decoder.mT
    cases = [("sparsify/layers.1", False, False), ("sparsify-transcoder/layers.1.mlp", True, False), ("sparsify-skip/layers.1.mlp", True, True)]
    for seed, (name, transcode, skip) in enumerate(cases):
        torch.manual_seed(seed)
        draw = Draw(500 + seed)
        config = config_class(expansion_factor=3, k=K, transcode=transcode, skip_connection=skip)
        sae = sparse_coder.SparseCoder(D_IN, config, dtype=torch.float32)
        with torch.no_grad():
            sae.encoder.weight.copy_(draw.encoder().T)
            sae.encoder.bias.copy_(0.5 * draw.normal(D_SAE))
            sae.W_dec.copy_(draw.decoder())
            sae.b_dec.copy_(draw.normal(D_IN))
            if skip:
                sae.W_skip.copy_(0.3 * draw.normal(D_IN, D_IN))
        folder = make(name)
        save_file({key: value.contiguous() for key, value in sae.state_dict().items()}, folder / "sae.safetensors")
        fields = {key: getattr(config, key) for key in config_class.__dataclass_fields__}
        write_json(folder / "cfg.json", fields | {"d_in": D_IN})
        x = draw.x()
        with torch.no_grad():
            acts, indices, _ = sae.encode(x)
            latents = torch.zeros(ROWS, D_SAE).scatter_(-1, indices, acts)
            reconstruction = sae.decode(acts, indices)
            if skip:
                reconstruction = reconstruction + x @ sae.W_skip.mT
        write_golden(folder, x, latents, reconstruction)


def openai() -> None:
    for seed, activation in enumerate(["TopK", "ReLU"]):
        draw = Draw(600 + seed)
        state = {
            "pre_bias": draw.normal(D_IN),
            "encoder.weight": draw.encoder().T.contiguous(),
            "latent_bias": 0.5 * draw.normal(D_SAE),
            "decoder.weight": draw.decoder().T.contiguous(),
            "stats_last_nonzero": torch.zeros(D_SAE, dtype=torch.long),
            "latents_activation_frequency": torch.ones(D_SAE),
            "latents_mean_square": torch.ones(D_SAE),
            "activation": activation,
        }
        if activation == "TopK":
            state["activation_state_dict"] = {"k": K, "postact_fn": "ReLU"}
        folder = make(f"openai-{activation.lower()}")
        torch.save(state, folder / "autoencoder.pt")
        same_dates(folder / "autoencoder.pt")
        x = draw.x()
        wide = {name: value.double() for name, value in state.items() if isinstance(value, torch.Tensor)}
        seen, mean, deviation = x.double(), 0.0, 1.0
        if activation == "TopK":
            mean = seen.mean(-1, keepdim=True)
            deviation = seen.std(-1, keepdim=True)
            seen = (seen - mean) / (deviation + 1e-5)
        pre = (seen - wide["pre_bias"]) @ wide["encoder.weight"].T + wide["latent_bias"]
        if activation == "TopK":
            top = pre.topk(K, dim=-1)
            latents = torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu())
        else:
            latents = pre.relu()
        decoded = latents @ wide["decoder.weight"].T + wide["pre_bias"]
        write_golden(folder, x, latents, decoded * deviation + mean)


def llamascopium() -> None:
    for seed, act_fn in enumerate(["jumprelu", "topk"]):
        draw = Draw(700 + seed)
        values = gemma_values(draw)
        folder = make(f"llamascopium-{act_fn}")
        site = "blocks.1.hook_resid_post"
        config = {"sae_type": "sae", "d_model": D_IN, "expansion_factor": 3, "act_fn": act_fn, "norm_activation": "inference"}
        config |= {"sparsity_include_decoder_norm": True, "use_decoder_bias": True, "use_glu_encoder": False, "top_k": K}
        config |= {"hook_point_in": site, "hook_point_out": site, "dtype": "torch.float32", "jumprelu_threshold_window": 2.0}
        write_json(folder / "config.json", config)
        tensors = {"W_E": values["W_enc"], "b_E": values["b_enc"], "W_D": values["W_dec"], "b_D": values["b_dec"]}
        if act_fn == "jumprelu":
            tensors["activation_function.log_jumprelu_threshold"] = values["threshold"].log()
        save_file(tensors, folder / "sae_weights.safetensors")
        x = draw.x()
        wide = {name: value.double() for name, value in tensors.items()}
        norms = wide["W_D"].norm(dim=-1)
        ranked = (x.double() @ wide["W_E"] + wide["b_E"]) * norms
        if act_fn == "jumprelu":
            threshold = wide["activation_function.log_jumprelu_threshold"].exp()
            ranked = ranked * (ranked > threshold)
        else:
            top = ranked.topk(K, dim=-1)
            ranked = torch.zeros_like(ranked).scatter_(-1, top.indices, top.values.relu())
        latents = ranked / norms
        write_golden(folder, x, latents, latents @ wide["W_D"] + wide["b_D"])


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    for family in [transcoders, gemma_scope, gemma_scope_2, llama_scope, dictionary_learning, sparsify, openai, llamascopium]:
        family()
    size = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in {OUT.name}")


if __name__ == "__main__":
    main()
