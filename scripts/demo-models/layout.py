"""Paths of all files, and the seed of every random choice."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEMO = ROOT / "demo"
WORK = ROOT / "target" / "demo-models"  # downloads and intermediate files; never committed

BASE = DEMO / "base"
CHAT = DEMO / "chat"
TEXT = DEMO / "text"
INSTRUCTIONS = DEMO / "instructions"
PACKAGES_TABLE = HERE / "packages.tsv"
CORPUS = WORK / "corpus.jsonl"

SEED = 3
CONTEXT = 512
BEGIN, TURN_BEGIN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
