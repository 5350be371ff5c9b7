"""Makes tests/fixtures/saes: small SAEs in every architecture and option, with SAELens's latents and reconstructions.

Pinned: sae-lens==6.54.12 torch==2.13.0 safetensors==0.8.0 (Python 3.11 or later).

    python scripts/goldens/saes.py            # writes tests/fixtures/saes

Each case is a folder as SAELens saves it (cfg.json, sae_weights.safetensors) and golden.safetensors with
`x` [24, 16], `latents` [24, 64] and `reconstruction` [24, 16], all float32.

The configurations cover hard cases: inputs with a mean and norms far from sqrt(d), decoder rows of unequal norm, thresholds
inside the range of pre-activations, biases that matter. At run time SAELens 6 applies `constant_norm_rescale` and `layer_norm`
before it subtracts b_dec, undoes them after the decoder's bias is added, and does nothing for `expected_average_only_in`: the
caller scales x.
"""

import json
import shutil
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")

from sae_lens import SAE, __version__  # noqa: E402
from sae_lens.saes.sae import TrainingSAE  # noqa: E402

assert __version__ == "6.54.12", __version__
assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__

OUT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "saes"
D_IN, D_SAE, ROWS = 16, 64, 24
SITE = "blocks.3.hook_resid_pre"


def config(architecture, **options):
    return {
        "architecture": architecture,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": __version__,
            "sae_lens_training_version": __version__,
            "model_name": "tiny",
            "hook_name": SITE,
            "context_size": 32,
            "prepend_bos": True,
        },
        **options,
    }


def fill(sae, generator):
    """Random weights in place of the initial ones; decoder rows have norms from about 0.4 to 2."""
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    norms = 0.4 + 1.6 * torch.rand(D_SAE, 1, generator=generator)
    values = {
        "W_enc": 0.3 * draw(D_IN, D_SAE),
        "W_dec": torch.nn.functional.normalize(draw(D_SAE, D_IN), dim=-1) * norms,
        "b_enc": 0.5 * draw(D_SAE),
        "b_dec": draw(D_IN),
        "threshold": 0.3 + 0.7 * torch.rand(D_SAE, generator=generator),
        "b_gate": 0.5 * draw(D_SAE),
        "b_mag": 0.5 * draw(D_SAE),
        "r_mag": 0.4 * draw(D_SAE),
    }
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            parameter.copy_(values[name])
    return sae


def inputs(generator):
    x = torch.randn(ROWS, D_IN, generator=generator) * (0.5 + 2 * torch.rand(ROWS, 1, generator=generator))
    return x + torch.linspace(-1.0, 2.0, D_IN)


def write_golden(folder, sae, generator):
    x = inputs(generator)
    with torch.no_grad():
        latents = sae.encode(x)
        reconstruction = sae.decode(latents)
    tensors = {"x": x, "latents": latents, "reconstruction": reconstruction}
    save_file({name: value.float().contiguous() for name, value in tensors.items()}, folder / "golden.safetensors")
    fired = (latents > 0).float().sum(-1).mean().item()
    assert 1 < fired < 60, (folder.name, fired)
    print(f"{folder.name}: L0 {fired:.2f}")


def rewrite_config(folder, cfg):
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=1, sort_keys=True) + "\n")


def nested(name, architecture, generator, **options):
    """A folder as SAELens 6 saves and reads it."""
    folder = OUT / name
    folder.mkdir(parents=True)
    fill(SAE.from_dict(config(architecture, **options)), generator).save_model(folder)
    rewrite_config(folder, json.loads((folder / "cfg.json").read_text()))
    write_golden(folder, SAE.load_from_disk(folder), generator)


def flat(name, architecture, generator, cfg, extra=None, **options):
    """The same weights, with a configuration as written by versions before 6."""
    folder = OUT / name
    folder.mkdir(parents=True)
    fill(SAE.from_dict(config(architecture, **options)), generator).save_model(folder)
    rewrite_config(folder, {"d_in": D_IN, "d_sae": D_SAE, "device": "cpu", **cfg})
    if extra:
        weights = folder / "sae_weights.safetensors"
        save_file({**load_file(weights), **extra}, weights)
    write_golden(folder, SAE.load_from_disk(folder), generator)


def batch_topk(name, architecture, generator, **options):
    """A training checkpoint, which holds one scalar threshold, and its export by SAELens, a JumpReLU."""
    cfg = config(architecture, k=6, normalize_activations="none", **options)
    sae = fill(TrainingSAE.from_dict(cfg), generator)
    sae.topk_threshold = torch.tensor(0.8, dtype=torch.double)
    exported, checkpoint = OUT / f"{name}-exported", OUT / f"{name}-checkpoint"
    sae.save_inference_model(exported)
    sae.save_model(checkpoint)
    for folder in (exported, checkpoint):
        rewrite_config(folder, json.loads((folder / "cfg.json").read_text()))
    state = generator.get_state()
    write_golden(exported, SAE.load_from_disk(exported), generator)
    generator.set_state(state)
    write_golden(checkpoint, SAE.load_from_disk(exported), generator)


def log_threshold(generator):
    """A training checkpoint from versions of SAELens that store JumpReLU thresholds as logarithms."""
    folder = OUT / "jumprelu-log-threshold"
    folder.mkdir(parents=True)
    fill(SAE.from_dict(config("jumprelu")), generator).save_model(folder)
    rewrite_config(folder, json.loads((folder / "cfg.json").read_text()))
    path = folder / "sae_weights.safetensors"
    weights = load_file(path)
    weights["log_threshold"] = weights.pop("threshold").log()
    save_file(weights, path)
    write_golden(folder, TrainingSAE.load_from_disk(folder), generator)


def bfloat16(generator):
    """Stored in bfloat16, computed in float32."""
    folder = OUT / "standard-bfloat16"
    folder.mkdir(parents=True)
    fill(SAE.from_dict(config("standard", dtype="bfloat16")), generator).save_model(folder)
    rewrite_config(folder, json.loads((folder / "cfg.json").read_text()))
    write_golden(folder, SAE.load_from_disk(folder, dtype="float32"), generator)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    generator = torch.Generator().manual_seed(20240501)
    normalisations = ["none", "constant_norm_rescale", "layer_norm", "expected_average_only_in"]
    options = {
        "standard": {},
        "topk": {"k": 5},
        "jumprelu": {},
        "gated": {},
    }
    for architecture, more in options.items():
        for normalisation in normalisations:
            short = normalisation.split("_")[0]
            name = f"{architecture}-{short}"
            nested(name, architecture, generator, normalize_activations=normalisation, **more)
        nested(f"{architecture}-no-input-bias", architecture, generator, apply_b_dec_to_input=False, **more)
    nested("topk-rescaled", "topk", generator, k=5, rescale_acts_by_decoder_norm=True)
    batch_topk("batchtopk", "batchtopk", generator)
    batch_topk("batchtopk-rescaled", "batchtopk", generator, rescale_acts_by_decoder_norm=True)
    batch_topk("matryoshka", "matryoshka_batchtopk", generator, matryoshka_widths=[16, 64])
    log_threshold(generator)
    bfloat16(generator)
    flat(
        "flat-standard",
        "standard",
        generator,
        {
            "model_name": "tiny",
            "hook_point": SITE,
            "hook_point_layer": 3,
            "hook_point_head_index": None,
            "dtype": "torch.float32",
            "normalize_activations": False,
            "context_size": 32,
            "l1_coefficient": 5,
        },
        extra={"scaling_factor": torch.ones(D_SAE)},
    )
    flat(
        "flat-topk",
        "topk",
        generator,
        {
            "architecture": "standard",
            "activation_fn_str": "topk",
            "activation_fn_kwargs": {"k": 7},
            "hook_name": SITE,
            "hook_layer": 3,
            "dtype": "float32",
            "normalize_activations": "layer_norm",
            "apply_b_dec_to_input": False,
            "finetuning_scaling_factor": False,
            "sae_lens_training_version": "3.22.0",
        },
        k=7,
    )
    flat(
        "flat-gated-scaled",
        "gated",
        generator,
        {
            "architecture": "gated",
            "activation_fn_str": "relu",
            "activation_fn_kwargs": {},
            "hook_name": SITE,
            "dtype": "float32",
            "normalize_activations": True,
            "sae_lens_training_version": None,
        },
    )


if __name__ == "__main__":
    main()
