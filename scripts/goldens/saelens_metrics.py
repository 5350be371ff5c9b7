"""SAELens's evaluation of SAEs on the smallest checkpoint: the reference of `evaluate run --kl`.

Writes tests/fixtures/saelens-metrics: golden.json with `tokens` [sequences, positions] and for each SAE SAELens's figures by
SAELens's names, and jumprelu-scaled/, an SAE that expects a scaled input. The other SAE is tests/fixtures/tiny-llama/sae.

The functions are `get_downstream_reconstruction_metrics` and `get_sparsity_and_variance_metrics`, unchanged, on TransformerLens's
model, which is SAELens's default. SAELens averages KL over all positions, `evaluate` over those that have a next token. To make
the positions the same, every sequence ends in LAST, a token that occurs only there and that SAELens is told to ignore where it
averages KL and losses. All sequences are one batch, because SAELens averages some figures batch by batch.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM

warnings.filterwarnings("ignore")

from sae_lens import SAE, __version__  # noqa: E402
from sae_lens.evals import get_downstream_reconstruction_metrics, get_sparsity_and_variance_metrics  # noqa: E402
from sae_lens.training.activation_scaler import ActivationScaler  # noqa: E402
from transformer_lens import HookedTransformer  # noqa: E402
from transformer_lens import loading_from_pretrained as loading  # noqa: E402

assert __version__ == "6.54.12", __version__

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "fixtures" / "tiny-llama"
OUT = ROOT / "tests" / "fixtures" / "saelens-metrics"
SITE = "blocks.1.hook_resid_pre"
D_MODEL, D_SAE, VOCABULARY, BOS, LAST = 32, 64, 320, 0, 319
SEQUENCES, POSITIONS = 6, 17

# Our columns and SAELens's names. For a scaled SAE, SAELens's mse is in the model's space.
NAMES = {
    "kl.kl": "kl_div_with_sae",
    "kl.kl_ablated": "kl_div_with_ablation",
    "kl.kl_recovered": "kl_div_score",
    "ce_clean": "ce_loss_without_sae",
    "ce_sae": "ce_loss_with_sae",
    "ce_zero": "ce_loss_with_ablation",
    "ce_recovered": "ce_loss_score",
    "l0": "l0",
    "l1": "l1",
    "explained_variance": "explained_variance_legacy",
    "explained_variance_pooled": "explained_variance",
    "mse_raw": "mse",
    "cosine_similarity": "cossim",
    "l2_ratio": "l2_ratio",
    "relative_reconstruction_bias": "relative_reconstruction_bias",
}


class Batches:
    """The part of SAELens's ActivationsStore that its evaluation uses: all tokens, `size` sequences at a time."""

    def __init__(self, tokens):
        self.tokens, self.next = tokens, 0

    def get_batch_tokens(self, size):
        batch = self.tokens[self.next : self.next + size]
        self.next += size
        return batch


def load_model(folder=MODEL):
    """TransformerLens's model of a checkpoint that is not on its list, with nothing folded."""
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with TemporaryDirectory(prefix="checkpoint-") as scratch:
        # A folder with "llama" in its path would be taken for one of Meta's models.
        plain = Path(scratch) / "model"
        plain.symlink_to(folder.resolve())
        config = loading.get_pretrained_model_config(str(plain), device="cpu", dtype=torch.float32)
        weights = loading.get_pretrained_state_dict(str(plain), config, bare, dtype=torch.float32)
    config.tokenizer_name = None
    model = HookedTransformer(config)
    unchanged = dict.fromkeys(["fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"], False)
    model.load_and_process_state_dict(weights, **unchanged)
    return model.eval()


def make_tokens(sequences, positions, seed):
    """[sequences, positions]: BOS, random tokens, LAST."""
    tokens = torch.randint(2, LAST, (sequences, positions), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0], tokens[:, -1] = BOS, LAST
    return tokens


def residuals(model, tokens):
    """The SAE's input: [rows, d_model]."""
    return model.run_with_cache(tokens, names_filter=SITE)[1][SITE].flatten(0, 1)


def make_sae(architecture, seed, model, **options):
    """An SAE with random weights that reconstructs part of the residual, which has norms about 1."""
    sae = SAE.from_dict(
        {
            "architecture": architecture,
            "d_in": D_MODEL,
            "d_sae": D_SAE,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {"model_name": "tiny-llama", "hook_name": SITE, "context_size": 64, "prepend_bos": True},
            **options,
        }
    )
    generator = torch.Generator().manual_seed(seed)
    x = residuals(model, make_tokens(64, 32, seed + 1))
    if options.get("normalize_activations") == "expected_average_only_in":
        x = x * (D_MODEL**0.5 / x.norm(dim=-1).mean())
    directions = x[torch.randperm(len(x), generator=generator)[:D_SAE]] - x.mean(0)
    size = directions.norm(dim=-1, keepdim=True)
    values = {
        "W_enc": (directions / size).T.contiguous(),
        "W_dec": directions / size * (0.3 + 0.4 * torch.rand(D_SAE, 1, generator=generator)),
        "b_enc": -0.3 * size.mean() * torch.rand(D_SAE, generator=generator),
        "b_dec": x.mean(0),
        "threshold": 0.3 * size.mean() * torch.rand(D_SAE, generator=generator),
        "b_gate": -0.3 * size.mean() * torch.rand(D_SAE, generator=generator),
        "b_mag": 0.1 * size.mean() * torch.rand(D_SAE, generator=generator),
        "r_mag": 0.2 * torch.randn(D_SAE, generator=generator),
    }
    for name, parameter in sae.named_parameters():
        parameter.copy_(values[name])
    return sae


def save(sae, folder):
    shutil.rmtree(folder, ignore_errors=True)
    sae.save_model(folder)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def scale_of(sae, x):
    """The factor by which SAELens multiplies x [rows, d] before this SAE, if any."""
    wants = sae.cfg.normalize_activations == "expected_average_only_in"
    return (D_MODEL**0.5 / x.norm(dim=-1).mean()).item() if wants else None


def figures(model, sae, tokens, ignored, batch=None, left_out=None):
    """SAELens's figures over tokens [sequences, positions], `batch` sequences at a time, by default all at once. KL and losses exclude
    positions with an ignored token; figures on activations exclude those with one of `left_out`."""
    sae.cfg.metadata.hook_name = SITE
    scaler = ActivationScaler(scaling_factor=scale_of(sae, residuals(model, tokens)))
    batch = batch or len(tokens)
    common = {"n_batches": len(tokens) // batch, "eval_batch_size_prompts": batch, "model_kwargs": {}}
    predictions = get_downstream_reconstruction_metrics(
        sae, model, Batches(tokens), scaler, compute_kl=True, compute_ce_loss=True, ignore_tokens=ignored, **common
    )
    activations, _ = get_sparsity_and_variance_metrics(
        sae,
        model,
        Batches(tokens),
        scaler,
        compute_l2_norms=True,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=False,
        ignore_tokens=left_out,
        **common,
    )
    return {**predictions, **activations}


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    model = load_model()
    scaled = OUT / "jumprelu-scaled"
    save(make_sae("jumprelu", 5, model, normalize_activations="expected_average_only_in"), scaled)
    tokens = make_tokens(SEQUENCES, POSITIONS, 0)
    golden = {"tokens": tokens.tolist(), "saes": {}}
    for folder in (MODEL / "sae", scaled):
        found = figures(model, SAE.load_from_disk(folder), tokens, [LAST])
        # Only the digits that agree between machines.
        golden["saes"][folder.relative_to(OUT.parent).as_posix()] = {
            name: float(f"{found[theirs]:.6g}") for name, theirs in NAMES.items()
        }
    lines = [f'"tokens": {json.dumps(golden["tokens"])}']
    lines += [f'"saes": {json.dumps(golden["saes"], indent=1)}']
    (OUT / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for name, values in golden["saes"].items():
        print(name, values)


if __name__ == "__main__":
    main()
