"""Trains an SAE for each site of a cache by eai-sparsify: train_with_sparsify.py CACHE OUT

On a machine without a GPU, set SPARSIFY_DISABLE_TRITON=1.
"""

import sys

from sparsify import SaeConfig, TrainConfig

import hayloft as hl
from hayloft.trainers.sparsify import Trainer

place, out = sys.argv[1:]
cache = hl.open(place)
sae = SaeConfig(expansion_factor=8, k=16)
# Batches of 8 pieces of 128 rows.
cfg = TrainConfig(sae, batch_size=8, optimizer="adam", lr=1e-3, lr_warmup_steps=10, log_to_wandb=False, save_dir=out)
Trainer(cfg, {site: cache[site] for site in cache.sites}, context=128, shuffle=0, exclude="bos").fit()
