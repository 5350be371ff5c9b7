"""Trains an SAE for each site of a cache at once, by SAELens: train_sites_with_saelens.py CACHE OUT"""

import sys
from pathlib import Path

from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.multi_sae_trainer import MultiSAETrainer

import hayloft as hl

place, out = sys.argv[1:]
cache = hl.open(place)
saes = {}
for site in cache.sites:
    d_model = cache[site].d_model
    saes[site] = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d_model, d_sae=8 * d_model, k=16, device="cpu"))
    saes[site].cfg.metadata.hook_name = site

# Dicts of batches by site: row i of each is the same token.
batches = cache.batches(1024, shuffle=0, exclude="bos", epochs=None)
cfg = SAETrainerConfig(total_training_samples=100 * 1024, train_batch_size_samples=1024, lr=1e-3, lr_end=1e-4)
trainer = MultiSAETrainer(cfg, saes, hook_names={site: site for site in saes}, data_provider=batches)
for site, sae in trainer.fit().items():
    sae.save_inference_model(Path(out) / site)
