"""dictionary-learning: trainSAE, and its norm factor."""

import numpy as np
import torch
from dictionary_learning.trainers import StandardTrainer, TopKTrainer
from dictionary_learning.training import get_norm_factor, trainSAE

from trainer_parts.common import (
    BATCH, BUFFER, D_MODEL, RATE, SITE, SITES, STEPS, WIDTH, check, same, silently, versions,
)  # fmt: skip

KINDS = [(StandardTrainer, {"lr": RATE, "sparsity_warmup_steps": 10}), (TopKTrainer, {"k": 16})]
CONFIG = {
    "activation_dim": D_MODEL,
    "dict_size": WIDTH,
    "steps": STEPS,
    "warmup_steps": 10,
    "layer": 2,
    "lm_name": "demo/base",
    "seed": 0,
    "device": "cpu",
}


def run(caches):
    versions("dictionary-learning")
    acts = caches.harvested("base", sites=SITES)[SITE]
    training(acts, caches.folder / "dictionary-learning")
    norm_factor(acts, caches.harvested("base", "bf16")[SITE])


def training(acts, folder):
    """The same weights from batches as from rows in memory."""
    rows = acts[:]
    choice = {"shuffle": 5, "buffer_rows": BUFFER, "exclude": "bos", "epochs": 4}
    numbers = [numbers for _, numbers in acts.batches(BATCH, with_rows=True, **choice)]
    for trainer, fields in KINDS:
        for normalize in (False, True):
            made = []
            # A map, since tqdm without a bar closes a generator after the batches of the norm.
            for data in (acts.batches(BATCH, **choice), map(rows.__getitem__, numbers)):
                out = folder / f"{trainer.__name__}-{normalize}-{len(made)}"
                how = {"save_dir": str(out), "normalize_activations": normalize, "device": "cpu"}
                silently(trainSAE, data, [{"trainer": trainer, **CONFIG, **fields}], STEPS, **how)
                made.append(torch.load(out / "trainer_0/ae.pt"))
            name = f"{trainer.__name__}{', normalize_activations' if normalize else ''}"
            check(same(*made), f"trainSAE, {name}: same weights after {STEPS} steps as from rows in memory")


def norm_factor(wide, narrow):
    """The norm factor of a cache in float32 and of one in bfloat16."""
    widened = map(torch.Tensor.float, narrow.batches(BATCH))
    distances = []
    for acts, batches in [(wide, wide.batches(BATCH)), (narrow, narrow.batches(BATCH)), (narrow, widened)]:
        expected = np.sqrt(np.square(acts.numpy(dtype="float32").astype(np.float64)).sum(1).mean())
        distances.append(silently(get_norm_factor, batches, 100) / expected - 1)
    own, as_it_is, as_float32 = distances
    check(abs(own) < 1e-6, f"trainSAE's norm factor over an epoch is that of numpy in float64, to {own:.1e}")
    told = f"of a bfloat16 cache it is off by {as_it_is:.1e} as it is, and by {as_float32:.1e} as float32"
    check(abs(as_float32) < 1e-6, told)
