"""How fast Python reads activations: a Hayloft cache beside SAELens's cached activations, safetensors and a memory-mapped
file of numpy. The same bf16 rows of d_model 4096, one process, two threads on every side, all files in the page cache.

  scripts/bench --reading [--rows N] [--repeats N] [--folder DIR]

Prints gigabytes (1e9) of plain bf16 a second: `in order`, all rows in pieces of 4096; `shuffled`, all rows in batches of
4096 mixed over the whole (SAELens: over half of its buffer). safetensors reads the whole file into memory before the
first batch. `Rust, decoded` is what the store's example codec_speed decodes of the same cache, into memory used before;
`Rust, batches` draws the same batches (example batch_speed), so that the rest is what Python adds.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "scripts/checks")]

from python import install  # noqa: E402

install(Path(sys.argv[sys.argv.index("--programs") + 1]))

import hayloft as hl  # noqa: E402

SITE = "blocks.16.hook_resid_pre"
D_MODEL = 4096
CONTEXT = 512
BATCH = 4096
SEED = 0


def rows(count: int, generator: torch.Generator, scales: torch.Tensor) -> torch.Tensor:
    """Rows of a residual stream's shape: channels of very different sizes, ``[count, d_model]`` bf16."""
    return (torch.randn(count, D_MODEL, generator=generator) * scales).bfloat16()


def write(folder: Path, count: int, programs: Path) -> None:
    """The same rows in every format."""
    generator = torch.Generator().manual_seed(SEED)
    scales = torch.exp(torch.randn(D_MODEL, generator=generator))
    sequences = [[1 + position % 100 for position in range(CONTEXT)]] * (count // CONTEXT)
    whole = torch.empty(count, D_MODEL, dtype=torch.bfloat16)
    for codec in ("planes", "raw"):
        generator.manual_seed(SEED)
        made = hl.Writer(folder / codec, sequences, sites={SITE: D_MODEL}, codec=codec, shard_tokens=1 << 15)
        with made as writer:
            for batch in writer.batches(BATCH // CONTEXT):
                part = rows(int(batch.lengths.sum()), generator, scales)
                for sequence, row in zip(batch.sequences, part.split(CONTEXT)):
                    whole[sequence * CONTEXT : (sequence + 1) * CONTEXT] = row
                writer.write(batch, {SITE: part})
    save_file({SITE: whole}, folder / "rows.safetensors")
    np.save(folder / "rows.npy", whole.view(torch.int16).numpy())
    subprocess.run(
        [programs / "store", "export", folder / "planes", "--to", "saelens", "--site", SITE, "--out", folder / "saelens"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def of_saelens(folder: Path, count: int, mixing: float) -> Iterable[torch.Tensor]:
    """Batches of SAELens's cached activations."""
    from sae_lens import ActivationsStore

    store = ActivationsStore(
        model=None, dataset=None, streaming=False, hook_name=SITE, hook_head_index=None, context_size=CONTEXT,
        d_in=D_MODEL, n_batches_in_buffer=16, total_training_tokens=count, store_batch_size_prompts=BATCH // CONTEXT,
        train_batch_size_tokens=BATCH, prepend_bos=False, normalize_activations="none", device=torch.device("cpu"),
        dtype="float32", cached_activations_path=str(folder / "saelens"), activations_mixing_fraction=mixing,
    )  # fmt: skip
    # The last mixing buffer is not full, so that its rows never come.
    for _ in range(count // BATCH // 2):
        yield store.next_batch()


def in_order(folder: Path, count: int) -> "dict[str, Callable[[], Iterable]]":
    """Each side's rows in order, in pieces."""
    starts = range(0, count, BATCH)
    planes, raw = (hl.open(folder / codec)[SITE] for codec in ("planes", "raw"))
    mapped = np.load(folder / "rows.npy", mmap_mode="r")
    return {
        "Hayloft, planes": lambda: (planes[at : at + BATCH] for at in starts),
        "Hayloft, raw": lambda: (raw[at : at + BATCH] for at in starts),
        "safetensors load_file": lambda: (part.clone() for part in load_file(folder / "rows.safetensors")[SITE].split(BATCH)),
        "numpy memory map": lambda: (np.array(mapped[at : at + BATCH]) for at in starts),
        "SAELens cache": lambda: of_saelens(folder, count, 0.0),
    }


def shuffled(folder: Path, count: int) -> "dict[str, Callable[[], Iterable]]":
    """Each side's rows in random order, in batches."""
    mapped = np.load(folder / "rows.npy", mmap_mode="r")

    def of_safetensors():
        loaded = load_file(folder / "rows.safetensors")[SITE]
        return (loaded[numbers] for numbers in torch.randperm(count).split(BATCH))

    def of_map():
        return (mapped[numbers] for numbers in np.split(np.random.default_rng(SEED).permutation(count), count // BATCH))

    planes, raw = (hl.open(folder / codec)[SITE] for codec in ("planes", "raw"))
    return {
        "Hayloft, planes": lambda: planes.batches(BATCH, shuffle=SEED),
        "Hayloft, raw": lambda: raw.batches(BATCH, shuffle=SEED),
        "safetensors load_file": of_safetensors,
        "numpy memory map": of_map,
        "SAELens cache": lambda: of_saelens(folder, count, 0.5),
    }


def speed(read: Callable[[], Iterable]) -> float:
    """Gigabytes of plain bf16 a second."""
    # What the side before has left is not cleared away in this one's time.
    gc.collect()
    start, seen = time.perf_counter(), 0
    for batch in read():
        seen += len(batch)
        # Touch what was read, as a trainer's first operation does.
        batch[0, 0].item()
    return seen * D_MODEL * 2 / (time.perf_counter() - start) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=1 << 17, help=f"how many rows, a multiple of {1 << 15}")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--folder", type=Path, help="where the files go [default: a temporary folder]")
    given = parser.parse_args()
    if given.rows <= 0 or given.rows % (1 << 15):
        parser.error(f"--rows: expected a multiple of {1 << 15}, got {given.rows}")
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory(prefix="hayloft-reading-", dir=given.folder) as made:
        folder = Path(made)
        write(folder, given.rows, given.programs)
        measured: "dict[tuple[str, str], list[float]]" = {}
        rust: "dict[str, list[float]]" = {}
        for _ in range(given.repeats + 1):
            for order, sides in [("in order", in_order), ("shuffled", shuffled)]:
                for name, read in sides(folder, given.rows).items():
                    measured.setdefault((order, name), []).append(speed(read))
            for example, options in [("codec_speed", ["--json"]), ("batch_speed", [])]:
                command = [given.programs / "examples" / example, *options, "--threads", "2", folder / "planes"]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                for name, value in found.items():
                    rust.setdefault(name, []).append(value)
        size = given.rows * D_MODEL * 2 / 1e9
        print(f"{given.rows} rows, {size:.2f} GB of bf16; {torch.__version__=!s}, two threads")
        print(f"{'':34}{'median':>8}{'least':>8}{'most':>8}  GB/s")
        # The first round warms the page cache.
        for (order, name), values in measured.items():
            values = values[1:]
            print(f"{order + ', ' + name:34}{median(values):8.2f}{min(values):8.2f}{max(values):8.2f}")
        of_rust = {
            "decoded": rust["planes_decode_gb_per_s"][1:],
            "batches in order": rust["in_order_gb_per_s"][1:],
            "batches shuffled": rust["shuffled_gb_per_s"][1:],
        }
        for name, values in of_rust.items():
            print(f"{'Rust, ' + name:34}{median(values):8.2f}{min(values):8.2f}{max(values):8.2f}")
        ours = {order: median(measured[order, "Hayloft, planes"][1:]) for order in ("in order", "shuffled")}
        theirs = {order: median(measured[order, "SAELens cache"][1:]) for order in ("in order", "shuffled")}
        same = {"in order": of_rust["decoded"], "shuffled": of_rust["batches shuffled"]}
        for order, values in same.items():
            share = ours[order] / median(values)
            print(f"{order}: {ours[order] / theirs[order]:.1f} times SAELens's cache, {share:.0%} of Rust's same reading")


if __name__ == "__main__":
    main()
