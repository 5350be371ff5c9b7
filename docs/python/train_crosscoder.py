"""Trains a crosscoder of two models' caches of the same text: train_crosscoder.py BASE CHAT SITE OUT

`pair` has what trainers of crosscoders read of a PairedActivationCache, and `pair.batches(...)` is the data of their
trainSAE(data=...). Those trainers are no released package; a crosscoder in a few lines stands for them here.
"""

import sys

import torch

import hayloft as hl
from hayloft.trainers.crosscoder import PairedActivationCache

base, chat, site, out = sys.argv[1:]
pair = PairedActivationCache(hl.open(base)[site], hl.open(chat)[site])
scale = torch.tensor([cache.acts.scale for cache in (pair.activation_cache_1, pair.activation_cache_2)])[:, None]

torch.manual_seed(0)
d_model, width = pair[0].shape[1], 1024
decoder = torch.nn.Parameter(0.1 * torch.nn.functional.normalize(torch.randn(width, 2, d_model), dim=-1))
encoder = torch.nn.Parameter(decoder.detach().permute(1, 2, 0).clone())
b_enc, b_dec = torch.nn.Parameter(torch.zeros(width)), torch.nn.Parameter(torch.zeros(2, d_model))
optimizer = torch.optim.Adam([encoder, decoder, b_enc, b_dec], lr=1e-3)
for step, batch in zip(range(200), pair.batches(1024, shuffle=0, exclude="bos", epochs=None)):
    x = batch * scale  # [batch, 2, d_model]
    latents = torch.relu(torch.einsum("bmd,mdl->bl", x, encoder) + b_enc)
    error = (torch.einsum("bl,lmd->bmd", latents, decoder) + b_dec - x).square().sum((1, 2)).mean()
    loss = error + 0.5 * (latents * decoder.norm(dim=-1).sum(1)).sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        variance = (x - x.mean(0)).square().sum((1, 2)).mean()
        l0 = (latents > 0).sum(1).float().mean()
        print(f"step {step + 1}: explained variance {1 - error / variance:.3f}, L0 {l0:.0f}")
torch.save({"encoder": encoder, "decoder": decoder, "b_enc": b_enc, "b_dec": b_dec}, out)
