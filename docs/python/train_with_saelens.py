"""Trains an SAE on a site of a cache by SAELens: train_with_saelens.py CACHE SITE OUT"""

import sys

import torch
from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig

import hayloft as hl

place, site, out = sys.argv[1:]
acts = hl.open(place)[site]
batches = acts.batches(1024, shuffle=0, exclude="bos", epochs=None)

settings = {"normalize_activations": "expected_average_only_in", "device": "cpu"}
sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=acts.d_model, d_sae=8 * acts.d_model, k=16, **settings))
sae.cfg.metadata.hook_name = acts.name
cfg = SAETrainerConfig(total_training_samples=200 * 1024, train_batch_size_samples=1024, lr=1e-3, lr_end=1e-4)
# SAELens scales in the dtype of the batch, which is that of the cache.
trainer = SAETrainer(cfg, sae, data_provider=map(torch.Tensor.float, batches))
# The cache knows the scale; without this line SAELens estimates it from the first 1000 batches.
trainer.activation_scaler.scaling_factor = acts.scale
trainer.fit().save_inference_model(out)
