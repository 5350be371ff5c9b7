"""Goldens of evaluation and harvest on a real model: stories260K and the two SAEs trained on its blocks.3.hook_resid_pre.

Computes the study's figures with transformers and SAELens alone, and writes tests/fixtures/stories/golden.json:

- `published`: every position spliced and ablated, no scale. standard, jumprelu, and standard with outliers of norm over 10.
- `section_text`: only the positions after BOS are spliced, ablated and evaluated. Losses, the clean ones too, are of those
  positions that have a next token.
- `scaled`: every position, with c = sqrt(d_model) / mean norm: the SAE's input is c·x, and its output divided by c goes back into
  the model. Outliers are those of norm over 10 after scaling. `mse` is in scaled space, `mse_raw` is mse / c².
- `harvest`: the mean norm and mean of the residuals, the predictions for the first sequence, and the mean clean loss of the
  model run in bfloat16.

An outlier keeps its activation in the spliced run and is excluded from l0, mse and explained variance; its loss counts.
A document is one sequence: BOS and its tokens, cut to 512. The forward pass is float32, one sequence at a time on one thread;
everything after it (softmax, norms, every sum) is float64. Losses are in nats.

Run by scripts/goldens/run, with the versions in requirements.txt (transformers 5.23.0, sae-lens 6.54.12, torch 2.13.0). A
second run on the same machine gives the same bytes.
"""

import json
import math
import warnings
from pathlib import Path

import torch

warnings.filterwarnings("ignore")

from evaluation import COLUMNS, evaluate, forward, losses  # noqa: E402
from sae_lens import SAE  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
MODEL = FIXTURES / "stories260K"
OUT = FIXTURES / "stories" / "golden.json"
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


def describe_first(model, tokens):
    """A harvest's predictions for the first sequence. The loss is one shorter than the others: the last position has none."""
    logits = forward(model, BLOCK, tokens)[1]
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
    """JSON with each of an object's keys on a separate line and each array on one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = ",\n".join(f"{' ' * (indent + 1)}{json.dumps(key)}: {layout(each, indent + 1)}" for key, each in value.items())
    return f"{{\n{inner}\n{' ' * indent}}}"


def print_table(group, figures):
    for name, figure in figures.items():
        values = " | ".join(f"{figure[column]:.{4 if column == 'l0' else 6}f}" for column in COLUMNS)
        tallies = f"{figure['activation_rows']} activations, {figure['loss_tokens']} losses, {figure['outlier_rows']} outliers"
        print(f"| {group}: {name} | {values} | {tallies}")


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    saes = {name: SAE.load_from_disk(str(MODEL / "saes" / name), device="cpu").eval() for name in SAES}
    sequences = read_sequences(model.config.bos_token_id)

    residuals = torch.cat([forward(model, BLOCK, tokens)[0] for tokens in sequences]).double()
    mean_norm = residuals.norm(dim=-1).mean().item()
    scale = math.sqrt(model.config.hidden_size) / mean_norm
    everywhere = [torch.ones(len(tokens), dtype=torch.bool) for tokens in sequences]
    after_bos = [torch.arange(len(tokens)) > 0 for tokens in sequences]

    def over(masks, names=SAES, **settings):
        return {name: evaluate(model, BLOCK, saes[name], sequences, masks, **settings) for name in names}

    outliers_10 = over(everywhere, ["standard"], outlier_norm=OUTLIER_NORM)["standard"]
    golden = {
        "published": {**over(everywhere), "standard_outliers_10": outliers_10},
        "section_text": over(after_bos),
        "scaled": over(everywhere, scale=scale, outlier_norm=OUTLIER_NORM),
    }
    print("| | L0 | CE rec | clean CE | SAE CE | zero CE | EV | EV pooled | MSE |")
    for group, figures in golden.items():
        print_table(group, figures)

    model_bf16 = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).eval()
    bf16_losses = torch.cat([losses(forward(model_bf16, BLOCK, tokens)[1], tokens) for tokens in sequences])
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
