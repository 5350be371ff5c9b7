"""Trains an SAE on the output of a layer by dictionary-learning: train_with_dictionary_learning.py CACHE LAYER OUT"""

import sys

import torch
from dictionary_learning.trainers import TopKTrainer
from dictionary_learning.training import trainSAE

import hayloft as hl

place, layer, out = sys.argv[1:]
acts = hl.open(place)[f"model.layers.{layer}"]
batches = acts.batches(1024, shuffle=0, exclude="bos", epochs=None)

config = {
    "trainer": TopKTrainer,
    "activation_dim": acts.d_model,
    "dict_size": 8 * acts.d_model,
    "k": 16,
    "layer": int(layer),
    "lm_name": "demo/base",
    "steps": 200,
    "warmup_steps": 20,
    "device": "cpu",
}
# normalize_activations sums norms in the dtype of the batch, which is that of the cache.
data = map(torch.Tensor.float, batches)
trainSAE(data, [config], steps=200, save_dir=out, normalize_activations=True, device="cpu")
