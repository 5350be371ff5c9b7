"""eai-sparsify: its trainer over a cache, and over the model."""

import numpy as np
import torch
from sparsify import SaeConfig, TrainConfig, Trainer
from transformers import AutoModelForCausalLM

from hayloft.trainers import sparsify as adapter
from trainer_parts.common import (
    CONTEXT, D_MODEL, RATE, ROOT, SITES, WIDTH, check, refusal, same, silently, versions, weights,
)  # fmt: skip

SEQUENCES = 2
"""Sequences in a batch."""


def run(caches):
    versions("eai-sparsify", "transformers")
    cache = caches.harvested("base", sites=SITES)
    sites = {name: cache[f"model.{name}"] for name in ("layers.1", "layers.2")}
    with_model(cache, sites, caches.folder)
    pieces(sites, caches.folder)
    for name, value in {"exclude_tokens": [0], "loss_fn": "ce", "hookpoints": ["layers.2"], "layer_stride": 2}.items():
        told = refusal(adapter.Trainer, settings(caches.folder, **{name: value}), sites)
        check(told.startswith(f"{name}: expected"), f"refused: {told}")


def settings(folder, **changes):
    how = {"batch_size": SEQUENCES, "optimizer": "adam", "lr": RATE, "lr_warmup_steps": 10}
    sae = SaeConfig(num_latents=WIDTH, k=16)
    return TrainConfig(sae, log_to_wandb=False, save_dir=str(folder), **{**how, **changes})


def all_weights(trainer):
    return {f"{name}/{key}": value for name, sae in trainer.saes.items() for key, value in weights(sae).items()}


def trained(trainer):
    silently(trainer.fit)
    return all_weights(trainer)


def model(rows):
    """The model in transformers; if rows are given, they are what its layers put out, batch by batch."""
    model = AutoModelForCausalLM.from_pretrained(ROOT / "demo/base", dtype=torch.float32)
    for name, values in rows.items():
        batches = iter(values.reshape(-1, SEQUENCES, CONTEXT, D_MODEL))

        def put(module, inputs, output, batches=batches):
            # The trainer runs the model once on a few tokens, to learn the widths.
            return next(batches) if output.shape[1] == CONTEXT else output

        model.base_model.get_submodule(name).register_forward_hook(put)
    return model


def with_model(cache, sites, folder):
    """The same sequences by the library's own way: through the model."""
    sequences = torch.from_numpy(cache.tokens["token"].astype(np.int64)).reshape(-1, CONTEXT)
    tokens = [{"input_ids": sequence} for sequence in sequences]
    steps = len(tokens) // SEQUENCES
    ours = trained(silently(adapter.Trainer, settings(folder), sites, context=CONTEXT))
    own = lambda rows: silently(Trainer, settings(folder, hookpoints=list(sites)), tokens, model(rows))
    exact = trained(own({name: acts[:] for name, acts in sites.items()}))
    told = f"same weights after {steps} steps as with the model whose layers put out the cache's rows"
    check(same(exact, ours), f"two sites: {told}")
    trainer = own({})
    begun = {name: value.clone() for name, value in all_weights(trainer).items()}
    computed = trained(trainer)
    for name in sites:
        key = f"{name}/W_dec"
        moved = (computed[key] - begun[key]).norm().item()
        distance = (computed[key] - ours[key]).norm().item() / moved
        told = f"with what transformers computes, W_dec differs by {distance:.1e} of the {moved:.1f} that it moved"
        check(distance < 1e-3 and moved > 1, f"{name}: {told}")


def pieces(sites, folder):
    """Rows that count at both sites, in pieces of another size and order."""
    rules = {"exclude": "bos", "outlier_norm": "3xmedian"}
    trainer = silently(adapter.Trainer, settings(folder), sites, context=100, shuffle=1, **rules)
    numbers = trainer.dataset.numbers
    masks = [acts.mask(**rules) for acts in sites.values()]
    kept = np.flatnonzero(masks[0] & masks[1])
    whole = kept[: len(kept) // 100 * 100]
    are_those = np.array_equal(numbers.flatten().sort().values, whole) and not np.array_equal(numbers.flatten(), whole)
    left_out = 65536 - len(kept)
    check(
        are_those and left_out > 128, f"{len(numbers)} pieces of 100 of the {len(kept)} rows that count at both sites"
    )
    part = trainer.dataset.select(range(3, 5))
    check(len(part) == 2 and torch.equal(part[0]["input_ids"], numbers[3]), "select takes pieces, to resume with")
