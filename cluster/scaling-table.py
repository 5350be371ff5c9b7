#!/usr/bin/env python3
"""Print the cost of a harvest and an evaluation for given numbers of tokens, from a model's shape, measured bytes, and assumed rates
and prices: the tables of docs/scaling.md. Every assumption is an option.

  cluster/scaling-table.py
  cluster/scaling-table.py --tokens 1e9 --flops 125e12 --dollars-per-gpu-hour 1.5      a smaller GPU
"""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A decoder's shape; by default Mistral-7B's, evaluated at the middle of its blocks, with an SAE of 65,536 latents."""

    d_model: int = 4096
    d_kv: int = 1024
    d_feed_forward: int = 14336
    blocks: int = 32
    vocabulary: int = 32000
    context: int = 1024
    site_block: int = 16
    latents: int = 65536

    @property
    def block_flops(self) -> float:
        """Operations of a token in a block: twice its weights, and the scores and their products over half the context."""
        weights = 2 * self.d_model**2 + 2 * self.d_model * self.d_kv + 3 * self.d_model * self.d_feed_forward
        return 2 * weights + 4 * self.d_model * self.context / 2

    @property
    def head_flops(self) -> float:
        return 2 * self.d_model * self.vocabulary

    @property
    def lower_flops(self) -> float:
        return self.site_block * self.block_flops

    @property
    def upper_flops(self) -> float:
        return (self.blocks - self.site_block) * self.block_flops + self.head_flops

    @property
    def sae_flops(self) -> float:
        """The encoder; decoding the latents that fire costs almost nothing."""
        return 2 * self.d_model * self.latents


def in_unit(amount: float, units: str, step: float = 1000.0) -> str:
    """A number with three digits and one of these units, each `step` times the one before."""
    names = units.split()
    for name in names:
        if amount < step or name == names[-1]:
            return f"{amount:,.3g} {name}" if amount < 1000 else f"{amount:,.0f} {name}"
        amount /= step
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tokens", type=float, nargs="+", default=[10e6, 1e9, 1e12], help="tokens of the cache")
    add("--bytes-per-element", type=float, default=1.324, help="of planes in bf16, as scripts/bench measured")
    add("--prediction-bytes", type=float, default=222, help="of predictions and records a token, with the top 64 logits, as scripts/bench measured in bf16")
    add("--flops", type=float, default=400e12, help="a second that a GPU gives: an assumption")
    add("--gpus", type=int, default=8)
    add("--dollars-per-gpu-hour", type=float, default=2.5)
    add("--dollars-per-tb-month", type=float, default=23.0)
    given = parser.parse_args()
    model = Model()
    hour = 3600 * given.flops
    bytes_per_token = model.d_model * given.bytes_per_element + given.prediction_bytes
    full = model.lower_flops + model.upper_flops
    spliced = model.upper_flops + model.sae_flops

    print(f"operations a token: {full / 1e9:.1f} G whole, {model.lower_flops / 1e9:.1f} G below the site, {spliced / 1e9:.1f} G above it with an SAE")
    print(f"bytes a token: {bytes_per_token:,.0f}; a GPU harvests {given.flops / full:,.0f} tokens/s and writes "
          f"{given.flops / full * bytes_per_token / 1e6:,.0f} MB/s; evaluating one SAE it reads "
          f"{given.flops / spliced * model.d_model * given.bytes_per_element / 1e6:,.0f} MB/s\n")
    print(f"| tokens | cache | storage a month | harvest, GPU-hours | hours on {given.gpus} GPUs | dollars | one SAE, GPU-hours | dollars |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for tokens in given.tokens:
        stored = tokens * bytes_per_token
        harvest, evaluate = tokens * full / hour, tokens * spliced / hour
        monthly = stored / 1e12 * given.dollars_per_tb_month
        print(f"| {in_unit(tokens / 1e6, 'M B T')} | {in_unit(stored / 1e9, 'GB TB PB')} | ${monthly:,.2f} "
              f"| {harvest:,.2f} | {harvest / given.gpus:,.2f} | ${harvest * given.dollars_per_gpu_hour:,.2f} "
              f"| {evaluate:,.2f} | ${evaluate * given.dollars_per_gpu_hour:,.2f} |")
    store = bytes_per_token / 1e12 * given.dollars_per_tb_month
    recompute = model.lower_flops / hour * given.dollars_per_gpu_hour
    live = 3 * full / hour * given.dollars_per_gpu_hour
    print(f"\nbreak-even: a token's storage for a month is worth {store / recompute:.1f} passes of the lower half, "
          f"or {store / live:.1f} evaluations that run the whole model three times beside the spliced one")
    print("shards, and what is kept of each, a site and section:")
    print("| tokens | tokens a shard | shards | a shard | sums in records and baselines (80 kB a shard) |\n|---:|---:|---:|---:|---:|")
    for tokens in given.tokens:
        for shard_tokens in (65_536, 1_048_576):
            shards = -(-tokens // shard_tokens)
            print(f"| {in_unit(tokens / 1e6, 'M B T')} | {shard_tokens:,} | {shards:,.0f} | {in_unit(shard_tokens * bytes_per_token / 1e9, 'GB TB')} "
                  f"| {in_unit(shards * 80e3 / 1e6, 'MB GB TB')} |")


if __name__ == "__main__":
    main()
