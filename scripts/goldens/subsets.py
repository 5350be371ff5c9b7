"""Figures of each subset of packed documents, by transformers and numpy alone, in float64: the reference of `evaluate run --by subset`
and `store inspect`.

Writes tests/fixtures/subsets: text.jsonl, stories of tests/fixtures/tiny-llama with one of three subsets each, and
golden.json: `sections`, for each of `all` and `text` the figures of each subset.

SAELens's `concat_and_batch_sequences` packs the documents, so that contexts mix subsets. To find each token's document, it is also
given numbers that encode the document instead of tokens. A BOS added by the packing counts with the document after it. The model is
transformers', with float64 weights, and the SAE tests/fixtures/tiny-llama/sae, in numpy's float64. An activation belongs to its
token's subset, a loss to that of the predicting token; x̄ is that of all rows of the section.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
from pathlib import Path

import numpy
import torch
from evaluation import forward, losses
from sae_lens.tokenization_and_batching import concat_and_batch_sequences
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "fixtures" / "tiny-llama"
OUT = ROOT / "tests" / "fixtures" / "subsets"
SUBSETS = ["bells", "hay", "keys"]
BLOCK, DOCUMENTS, CONTEXT_LENGTH, BOS = 1, slice(8, 40), 128, 0
# More than the tokens of any document.
STRIDE = 10_000


def write_text():
    """The documents: texts, and the index of each one's subset."""
    lines = [json.loads(line) for line in (MODEL / "text.jsonl").read_text().splitlines()[DOCUMENTS]]
    subsets = [place % len(SUBSETS) for place in range(len(lines))]
    documents = [{"text": line["text"], "meta": {"subset": SUBSETS[subset]}} for line, subset in zip(lines, subsets, strict=True)]
    (OUT / "text.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    return [line["text"] for line in lines], subsets


def pack(texts, subsets):
    """Contexts of tokens [positions], and the subset of each token."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    documents = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert all(BOS not in document and 0 < len(document) < STRIDE for document in documents)
    # Token k of document d is number d · STRIDE + k + 1, and no BOS.
    numbers = (torch.arange(1, len(document) + 1) + place * STRIDE for place, document in enumerate(documents))
    packed = concat_and_batch_sequences(
        numbers, CONTEXT_LENGTH, begin_batch_token_id=BOS, sequence_separator_token_id=BOS
    )
    packed = torch.stack(list(packed)).numpy()
    document, place = (packed - 1) // STRIDE, (packed - 1) % STRIDE
    is_bos = packed == BOS
    tokens = [[BOS if own else documents[d][k] for d, k, own in zip(*rows, strict=True)] for rows in zip(document, place, is_bos, strict=True)]
    # From the last token to the first: BOS belongs to the document of the token after it.
    of = numpy.array(subsets)[document]
    flat, bos = of.reshape(-1), is_bos.reshape(-1)
    assert not bos[-1], "the document of the last BOS is not there"
    for row in reversed(range(flat.size - 1)):
        if bos[row]:
            flat[row] = flat[row + 1]
    return torch.tensor(tokens), of, is_bos


def reconstruct(x):
    """The SAE's reconstruction of x [rows, d], and its latents [rows, d_sae]."""
    weights = {name: value.astype(numpy.float64) for name, value in load_file(MODEL / "sae" / "sae_weights.safetensors").items()}
    before = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    nearest = numpy.abs(before).min()
    assert nearest > 2e-6, f"whether a latent fires would depend on rounding: {nearest}"
    latents = numpy.maximum(before, 0)
    return latents @ weights["W_dec"] + weights["b_dec"], latents


def run(model, tokens, edit=None):
    """Residuals [contexts, positions, d] and losses [contexts, positions - 1]."""
    found = [forward(model, BLOCK, context, edit and edit[place]) for place, context in enumerate(tokens)]
    rows = torch.stack([residual for residual, _ in found]).numpy()
    return rows, torch.stack([losses(logits, context) for (_, logits), context in zip(found, tokens, strict=True)]).numpy()


def put(values, members):
    """The edit that replaces the residual's rows that are members [positions] by values [positions, d]."""
    values, members = torch.from_numpy(values), torch.from_numpy(members)[:, None]
    return lambda residual: torch.where(members, values, residual)


def mean(values):
    return float(numpy.mean(values, dtype=numpy.float64))


def figures(model, tokens, subsets, members):
    """The figures of each subset over the members [contexts, positions]."""
    x, clean = run(model, tokens)
    r, latents = reconstruct(x)
    spliced = run(model, tokens, [put(*pair) for pair in zip(r, members, strict=True)])[1]
    zero = run(model, tokens, [put(numpy.zeros_like(own), own_members) for own, own_members in zip(x, members, strict=True)])[1]
    error, deviation = (numpy.square(x - other).sum(-1) for other in (r, x[members].mean(0)))
    product, norms = (x * r).sum(-1), [numpy.linalg.norm(rows, axis=-1) for rows in (x, r)]
    of = {}
    for place, name in enumerate(SUBSETS):
        rows = members & (subsets == place)
        counted = rows[:, :-1]
        of[name] = {
            "sequences": int(rows.any(1).sum()),
            "loss_tokens": int(counted.sum()),
            "activation_rows": int(rows.sum()),
            "l0": mean((latents > 0).sum(-1)[rows]),
            "ce_clean": mean(clean[counted]),
            "ce_sae": mean(spliced[counted]),
            "ce_zero": mean(zero[counted]),
            "ce_delta": mean(spliced[counted]) - mean(clean[counted]),
            "ce_recovered": (mean(zero[counted]) - mean(spliced[counted])) / (mean(zero[counted]) - mean(clean[counted])),
            "explained_variance": mean(1 - error[rows] / deviation[rows]),
            "explained_variance_pooled": 1 - mean(error[rows]) / mean(deviation[rows]),
            "mse": mean(error[rows]),
            "cosine_similarity": mean((product / norms[0] / norms[1])[rows]),
            "l2_ratio": mean((norms[1] / norms[0])[rows]),
        }
    return of


@torch.no_grad()
def main() -> None:
    OUT.mkdir(exist_ok=True)
    tokens, subsets, is_bos = pack(*write_text())
    model = LlamaForCausalLM.from_pretrained(MODEL, dtype=torch.float64).eval()
    mixed = sum(len(set(context)) == len(SUBSETS) for context in subsets.tolist())
    assert mixed > 2, f"{mixed} contexts with all subsets"
    golden = {
        "context_length": CONTEXT_LENGTH,
        "contexts": len(tokens),
        "contexts_with_all_subsets": mixed,
        "sections": {
            "all": figures(model, tokens, subsets, numpy.ones_like(is_bos)),
            "text": figures(model, tokens, subsets, ~is_bos),
        },
    }
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"subsets              {len(tokens)} contexts, {mixed} of them with all subsets, in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
