#!/usr/bin/env python3
"""Fills caches from transformers and trains on caches by the released trainers of other libraries, from Python.

Proves: SAELens, dictionary-learning, eai-sparsify and trainers of crosscoders train on a cache as on their own data
Needs: Rust; trainers environment (3 GB), LibTorch
Takes: 5 minutes

  scripts/check trainers [--programs DIR] [PART...]     built programs [default: builds them in debug]; parts by name

Passes if SAELens trains the same weights from a cache's batches as from its own cached activations of the same rows, in
three orders; if its scaling factors are those of the cache; if each SAE of a MultiSAETrainer on three sites is the one
that a trainer by itself makes; if dictionary-learning trains the same weights from batches as from rows in memory; if
the caches for crosscoders answer what the public trainers ask of theirs; if eai-sparsify trains the same weights as
with a model whose layers put out the cache's rows; if a cache that transformers fills has the figures of a harvest; if
SAEs as tensors give what the libraries that published them give; and if the examples and the notebook in docs/python run.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("trainers")
sys.path.append(str(ROOT / "python"))
warnings.filterwarnings("ignore")
os.environ |= {"PYTHONPATH": str(ROOT / "python"), "TQDM_DISABLE": "1", "WANDB_MODE": "disabled"}
# Triton needs a GPU. More threads do not speed up matrices this small.
os.environ |= {"SPARSIFY_DISABLE_TRITON": "1", "OMP_NUM_THREADS": "1"}

from python import install  # noqa: E402

PARTS = ["writer", "saelens", "dictionary_learning", "crosscoder", "sparsify", "documents"]
"""Modules of trainer_parts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs.add_option(parser)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} [default: all]")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"expected parts of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    built = programs.given_or_built(arguments.programs, "--workspace", "--bins", "--lib")
    install(built)
    os.environ["HAYLOFT_PROGRAMS"] = str(built)
    # The package can be imported from here on.
    from trainer_parts import common, crosscoder, dictionary_learning, documents, saelens, sparsify, writer

    modules = [writer, saelens, dictionary_learning, crosscoder, sparsify, documents]
    with tempfile.TemporaryDirectory(prefix="hayloft-trainers-") as folder:
        caches = common.Caches(built, Path(folder))
        for name, module in zip(PARTS, modules):
            if not arguments.parts or name in arguments.parts:
                module.run(caches)
    if common.failures:
        sys.exit(f"{len(common.failures)} of the comparisons failed")


if __name__ == "__main__":
    main()
