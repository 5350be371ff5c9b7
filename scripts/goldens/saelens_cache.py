"""Writes store/tests/fixtures/saelens: cached activations as SAELens's CacheActivationsRunner writes them, and as plain numbers.

Two folders, float32 and float16, of two files each: the runner's functions make a shard with the `datasets` library and join
shards. `values.safetensors` has the same arrays.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import torch
from datasets import Array2D, Features, Sequence, Value, disable_progress_bars
from sae_lens.cache_activations_runner import CacheActivationsRunner
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2] / "store" / "tests" / "fixtures" / "saelens"
SITE = "blocks.0.hook_resid_pre"
CONTEXT, D_IN, SHARDS, ROWS = 4, 3, 2, 3
BOS = 1


def main():
    disable_progress_bars()
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(SHARDS * ROWS, CONTEXT, D_IN, generator=generator)
    tokens = torch.randint(2, 100, (SHARDS * ROWS, CONTEXT), generator=generator).to(torch.int32)
    tokens[:, 0] = BOS
    tokens[2, 2] = BOS
    arrays = {"token_ids": tokens}
    for dtype in ("float32", "float16"):
        folder = ROOT / dtype
        shutil.rmtree(folder, ignore_errors=True)
        shards = folder / ".tmp_shards"
        shards.mkdir(parents=True)
        features = Features(
            {
                SITE: Array2D(shape=(CONTEXT, D_IN), dtype=dtype),
                "token_ids": Sequence(Value(dtype="int32"), length=CONTEXT),
            }
        )
        arrays[dtype] = activations.to(getattr(torch, dtype))
        runner = SimpleNamespace(
            cfg=SimpleNamespace(hook_name=SITE, n_seq_in_buffer=ROWS, d_in=D_IN), context_size=CONTEXT, features=features
        )
        for index in range(SHARDS):
            rows = slice(index * ROWS, (index + 1) * ROWS)
            buffer = (arrays[dtype][rows].reshape(-1, D_IN), tokens[rows].reshape(-1))
            shard = CacheActivationsRunner._create_shard(runner, buffer)
            shard.save_to_disk(str(shards / f"shard_{index:05d}"), num_shards=1)
        CacheActivationsRunner._consolidate_shards(shards, folder, copy_files=False)
    save_file(arrays, ROOT / "values.safetensors")


if __name__ == "__main__":
    main()
