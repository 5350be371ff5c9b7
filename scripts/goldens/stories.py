"""Goldens of evaluation and harvest on a real model: stories260K and the two SAEs trained on its blocks.3.hook_resid_pre.

Computes the study's figures with transformers and SAELens alone, and writes tests/fixtures/stories/golden.json:

- `published`: every position spliced and ablated, no scale. standard, jumprelu, and standard with outliers of norm over 10.
- `section_text`: only the positions after BOS are spliced, ablated and evaluated. Losses, the clean ones too, are of those
  positions that have a next token.
- `scaled`: every position, with c = sqrt(d_model) / mean norm: the SAE sees c·x, and its output divided by c goes back into
  the model. Outliers are those of norm over 10 after scaling. `mse` is in scaled space, `mse_raw` is mse / c².
- `harvest`: the mean norm and mean of the residuals, the predictions along the first sequence, and the mean clean loss of the
  model run in bfloat16.

An outlier keeps its own activation in the spliced run and is dropped from l0, mse and explained variance; its loss counts.
A document is a sequence of its own: BOS and its tokens, cut to 512. The forward pass is float32, one sequence at a time on
one thread; whatever follows it (softmax, norms, every sum) is float64. Losses are in nats.

Run by scripts/goldens/run, with the versions in requirements.txt (transformers 5.23.0, sae-lens 6.54.12, torch 2.13.0). A
second run on the same machine gives the same bytes. Does nothing where the data is absent.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import torch

warnings.filterwarnings("ignore")

from sae_lens import SAE  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MODEL = DATA / "stories260K"
OUT = ROOT / "tests" / "fixtures" / "stories" / "golden.json"
SAES = ["standard", "jumprelu"]
BLOCK = 3
CONTEXT = 512
OUTLIER_NORM = 10.0
TOP_K = 4


def read_sequences(bos):
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    lines = (MODEL / "stories-eval.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    return [torch.tensor([bos, *tokenizer.encode(text, add_special_tokens=False).ids][:CONTEXT]) for text in texts]


def forward(model, tokens, edit=None):
    """The residual entering the block [pos, d_model], as it comes, and the float64 logits [pos, vocab] after edit(residual)."""
    seen = []

    def hook(_module, arguments):
        seen.append(arguments[0][0])
        if edit is not None:
            return (edit(arguments[0][0])[None], *arguments[1:])

    handle = model.model.layers[BLOCK].register_forward_pre_hook(hook)
    logits = model(tokens[None], use_cache=False).logits[0].double()
    handle.remove()
    return seen[0], logits


def losses(logits, tokens):
    """[pos - 1] float64: the loss of predicting token t + 1 at position t."""
    return logits[:-1].logsumexp(-1) - logits[:-1].gather(-1, tokens[1:, None])[:, 0]


def evaluate(model, sae, sequences, section="all", scale=1.0, outlier_norm=math.inf):
    """The protocol's columns over all sequences, as fractions and nats."""
    clean, spliced, zeroed, rows, reconstructions, counts, outliers = [], [], [], [], [], [], 0
    for tokens in sequences:
        residual, logits = forward(model, tokens)
        evaluated = torch.ones(len(tokens), dtype=torch.bool)
        evaluated[0] = section == "all"
        scaled = residual * scale
        outlier = scaled.double().norm(dim=-1) > outlier_norm
        latents = sae.encode(scaled)
        reconstruction = sae.decode(latents)

        replaced = (evaluated & ~outlier)[:, None]
        splice = lambda x: torch.where(replaced, reconstruction / scale, x)  # noqa: E731
        ablate = lambda x: torch.where(evaluated[:, None], torch.zeros_like(x), x)  # noqa: E731
        for edit, into in ((None, clean), (splice, spliced), (ablate, zeroed)):
            into.append(losses(forward(model, tokens, edit)[1], tokens)[evaluated[:-1]])

        kept = replaced[:, 0]
        rows.append(scaled[kept].double())
        reconstructions.append(reconstruction[kept].double())
        counts.append((latents[kept] > 0).sum(-1))
        outliers += int((evaluated & outlier).sum())

    x, r = torch.cat(rows), torch.cat(reconstructions)
    error = (x - r).square().sum(-1)
    deviation = (x - x.mean(0)).square().sum(-1)
    ce_clean, ce_sae, ce_zero = (torch.cat(each).mean().item() for each in (clean, spliced, zeroed))
    span = ce_zero - ce_clean
    return {
        "l0": torch.cat(counts).double().mean().item(),
        "ce_recovered": (ce_zero - ce_sae) / (span if abs(span) >= 1e-4 else 1.0),
        "ce_clean": ce_clean,
        "ce_sae": ce_sae,
        "ce_delta": ce_sae - ce_clean,
        "ce_zero": ce_zero,
        "explained_variance": (1 - error / deviation).mean().item(),
        "explained_variance_pooled": (1 - error.sum() / deviation.sum()).item(),
        "mse": error.mean().item(),
        "mse_raw": error.mean().item() / scale**2,
        "loss_tokens": sum(len(each) for each in clean),
        "activation_rows": len(x),
        "outlier_rows": outliers,
    }


def describe_first(model, tokens):
    """What a harvest stores of the first sequence's predictions. The loss is one shorter than the others: the end has none."""
    logits = forward(model, tokens)[1]
    log_probabilities = logits.log_softmax(-1)
    top = logits.topk(TOP_K, dim=-1)
    return {
        "tokens": tokens.tolist(),
        "loss": losses(logits, tokens).tolist(),
        "logsumexp": logits.logsumexp(-1).tolist(),
        "entropy": (-(log_probabilities.exp() * log_probabilities).sum(-1)).tolist(),
        "top_ids": top.indices.tolist(),
        "top_logits": top.values.tolist(),
    }


def layout(value, indent=0):
    """JSON with an object's keys on lines of their own and each array on one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = ",\n".join(f"{' ' * (indent + 1)}{json.dumps(key)}: {layout(each, indent + 1)}" for key, each in value.items())
    return f"{{\n{inner}\n{' ' * indent}}}"


def print_table(group, figures):
    columns = ["l0", "ce_recovered", "ce_clean", "ce_sae", "ce_zero", "explained_variance", "explained_variance_pooled", "mse"]
    for name, figure in figures.items():
        values = " | ".join(f"{figure[column]:.{4 if column == 'l0' else 6}f}" for column in columns)
        tallies = f"{figure['activation_rows']} activations, {figure['loss_tokens']} losses, {figure['outlier_rows']} outliers"
        print(f"| {group}: {name} | {values} | {tallies}")


def main():
    if not MODEL.is_dir():
        print("skipped stories.py: no ../shared/data/stories260K beside the repository", file=sys.stderr)
        return
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    saes = {name: SAE.load_from_disk(str(DATA / "saes" / name), device="cpu").eval() for name in SAES}
    sequences = read_sequences(model.config.bos_token_id)

    residuals = torch.cat([forward(model, tokens)[0] for tokens in sequences]).double()
    mean_norm = residuals.norm(dim=-1).mean().item()
    scale = math.sqrt(model.config.hidden_size) / mean_norm
    published = {name: evaluate(model, sae, sequences) for name, sae in saes.items()}
    published["standard_outliers_10"] = evaluate(model, saes["standard"], sequences, outlier_norm=OUTLIER_NORM)
    golden = {
        "published": published,
        "section_text": {name: evaluate(model, sae, sequences, section="text") for name, sae in saes.items()},
        "scaled": {
            name: evaluate(model, sae, sequences, scale=scale, outlier_norm=OUTLIER_NORM) for name, sae in saes.items()
        },
    }
    print("| | L0 | CE rec | clean CE | SAE CE | zero CE | EV | EV pooled | MSE |")
    for group, figures in golden.items():
        print_table(group, figures)

    model_bf16 = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).eval()
    bf16_losses = torch.cat([losses(forward(model_bf16, tokens)[1], tokens) for tokens in sequences])
    golden["harvest"] = {
        "rows": len(residuals),
        "mean_norm": mean_norm,
        "mean_first_8": residuals.mean(0)[:8].tolist(),
        "first_sequence": describe_first(model, sequences[0]),
        "ce_clean_bf16": bf16_losses.mean().item(),
    }
    print(f"mean norm {mean_norm}, scale {scale}, clean CE in bfloat16 {golden['harvest']['ce_clean_bf16']}")

    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(layout(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
