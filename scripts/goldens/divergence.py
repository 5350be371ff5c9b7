"""Goldens of KL(clean || spliced): transformers' logits in float64, the definition, and SAELens's function.

Writes tests/fixtures/divergence.json: for the sequences and sections of evaluate/tests/support/tiny.rs on tests/fixtures/tiny-llama
(made by tiny_llama.py, which runs before) and its SAE, a row for each section and setting: `kl` and `kl_ablated`, means over counted
tokens in nats, `kl_recovered` as SAELens's kl_div_score, `bounds` of `kl` from the 1, 8, 64 and 320 largest clean logits by the log-sum
inequality, `saelens` (sae_lens.evals._kl on the same tokens, float32), and for the section `all` `tokens`, the divergence at each token.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
import math
from pathlib import Path

import torch
from sae_lens import SAE
from sae_lens.evals import _kl
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from evaluation import forward

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "fixtures" / "tiny-llama"
OUT = ROOT / "tests" / "fixtures" / "divergence.json"
BLOCK = 1
LENGTHS = [14, 9, 7, 20, 12, 8]
TOP = [1, 8, 64, 320]


def norm_in_own_type(self, x):
    """transformers' RMS norm, which computes in float32."""
    return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon))


def tokens_of(sequence: int, length: int) -> torch.Tensor:
    return torch.tensor([0 if position == 0 else (sequence * 37 + position * 13) % 318 + 2 for position in range(length)])


def section(position: int, length: int) -> str:
    if position == 0:
        return "bos"
    if position in (1, 2):
        return "control"
    if position + 2 >= length:
        return "final"
    return "user_prompt" if position < length // 2 else "rollout"


def divergence(clean, changed):
    p, q = clean.log_softmax(-1), changed.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def bound(clean, changed, k):
    p, q = clean.softmax(-1), changed.softmax(-1)
    places = clean.topk(k, -1).indices
    p, q = p.gather(-1, places), q.gather(-1, places)
    rest_p, rest_q = 1 - p.sum(-1), 1 - q.sum(-1)
    rest = torch.where(rest_p > 1e-12, rest_p * (rest_p / rest_q.clamp_min(1e-300)).log(), torch.zeros_like(rest_p))
    return (p * (p / q).log()).sum(-1) + rest


def row(model, sae, name, scale, outlier_norm):
    kl, ablated, saelens, bounds = [], [], [], {k: [] for k in TOP}
    for sequence, length in enumerate(LENGTHS):
        tokens = tokens_of(sequence, length)
        member = torch.tensor([name in ("all", section(position, length)) for position in range(length)])
        residual, clean = forward(model, BLOCK, tokens)
        scaled = residual * scale
        replaced = member & (scaled.norm(dim=-1) <= outlier_norm)
        reconstruction = sae.decode(sae.encode(scaled)) / scale
        spliced = forward(model, BLOCK, tokens, lambda x: torch.where(replaced[:, None], reconstruction, x))[1]
        zeroed = forward(model, BLOCK, tokens, lambda x: torch.where(member[:, None], torch.zeros_like(x), x))[1]
        counted = member.clone()
        counted[-1] = False
        clean, spliced, zeroed = clean[counted], spliced[counted], zeroed[counted]
        kl.append(divergence(clean, spliced))
        ablated.append(divergence(clean, zeroed))
        saelens.append(_kl(clean.float(), spliced.float()))
        for k in TOP:
            bounds[k].append(bound(clean, spliced, k))
    mean = lambda parts: torch.cat(parts).double().mean().item()  # noqa: E731
    found = {
        "section": name,
        "scale": scale,
        "outlier_norm": None if math.isinf(outlier_norm) else outlier_norm,
        "kl": mean(kl),
        "kl_ablated": mean(ablated),
        "kl_recovered": (mean(ablated) - mean(kl)) / mean(ablated),
        "bounds": {str(k): mean(parts) for k, parts in bounds.items()},
        "saelens": mean(saelens),
    }
    if name == "all":
        found["tokens"] = torch.cat(kl).tolist()
    return found


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    LlamaRMSNorm.forward = norm_in_own_type
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64, attn_implementation="sdpa").eval()
    sae = SAE.load_from_disk(MODEL / "sae", device="cpu").double()
    names = ["all", "user_prompt", "rollout", "control", "final"]
    rows = [row(model, sae, name, 1.0, math.inf) for name in names]
    rows += [row(model, sae, name, 1.7, 7.5) for name in ("all", "rollout")]
    for found in rows:
        print({name: value for name, value in found.items() if name != "tokens"})
    OUT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
