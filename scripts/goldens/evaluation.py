"""The study's figures by transformers and SAELens alone: the reference of evaluations. A module without a main.

The forward pass is float32, one sequence at a time; everything after it (softmax, norms, every sum) is float64. Losses are in
nats.
"""

import math

import torch

COLUMNS = ["l0", "ce_recovered", "ce_clean", "ce_sae", "ce_zero", "explained_variance", "explained_variance_pooled", "mse"]


def forward(model, block, tokens, edit=None):
    """The residual entering the block [pos, d_model], unchanged, and the float64 logits [pos, vocab] after edit(residual)."""
    seen = []

    def hook(_module, arguments):
        seen.append(arguments[0][0])
        if edit is not None:
            return (edit(arguments[0][0])[None], *arguments[1:])

    handle = model.model.layers[block].register_forward_pre_hook(hook)
    logits = model(tokens[None], use_cache=False).logits[0].double()
    handle.remove()
    return seen[0], logits


def losses(logits, tokens):
    """[pos - 1] float64: the loss of predicting token t + 1 at position t."""
    return logits[:-1].logsumexp(-1) - logits[:-1].gather(-1, tokens[1:, None])[:, 0]


def evaluate(model, block, sae, sequences, masks, scale=1.0, outlier_norm=math.inf, left_out=None):
    """The protocol's columns over all sequences, as fractions and nats. masks: for each sequence [pos] bool, the positions that
    are spliced, ablated and evaluated; the loss is over those of them that have a next token. left_out: for each sequence [pos]
    bool, positions that are no outliers, but keep their activation like them; by default none."""
    clean, spliced, zeroed, rows, reconstructions, counts, outliers = [], [], [], [], [], [], 0
    left_out = left_out or [torch.zeros(len(tokens), dtype=torch.bool) for tokens in sequences]
    for tokens, evaluated, own in zip(sequences, masks, left_out, strict=True):
        residual, logits = forward(model, block, tokens)
        scaled = residual * scale
        outlier = (scaled.double().norm(dim=-1) > outlier_norm) & ~own
        latents = sae.encode(scaled)
        reconstruction = sae.decode(latents)

        replaced = (evaluated & ~outlier & ~own)[:, None]
        splice = lambda x: torch.where(replaced, reconstruction / scale, x)  # noqa: E731
        ablate = lambda x: torch.where(evaluated[:, None], torch.zeros_like(x), x)  # noqa: E731
        for edit, into in ((None, clean), (splice, spliced), (ablate, zeroed)):
            into.append(losses(forward(model, block, tokens, edit)[1], tokens)[evaluated[:-1]])

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
