"""The workload: a seeded model of 47 million parameters, eight SAEs at its middle, and the demo's text.

Speed does not depend on what a model has learnt, so weights are random. The number of latents that fire matters to a program that
skips zeros, so the SAEs' biases are set such that about L0 of them fire.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch
import zstandard
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

CONTEXT = 512
BATCH = 8  # contexts in a batch of every side: 4096 tokens, the size of the cache's row groups
VOCABULARY = 16384
D_MODEL = 512
BLOCKS = 12
MIDDLE = 6
SITE = f"blocks.{MIDDLE}.hook_resid_pre"
LAST_SITE = f"blocks.{BLOCKS - 1}.hook_resid_post"
SAES = 8
WIDTH = 8192
L0 = 64
TOKENIZER = Path("demo/base")
TEXT = Path("demo/text/train.jsonl.zst")


@dataclass(frozen=True)
class Workload:
    """Folders of the benchmark, relative to the repository's root."""

    folder: Path
    model: Path
    saes: list[Path]

    def manifest(self, tokens: int) -> Path:
        """Writes the data manifest of the first `tokens` tokens of the text, in full contexts."""
        path = self.folder / f"text-{tokens}.toml"
        path.write_text(
            f'name = "bench"\npacking = "concat"\ncontext_length = {CONTEXT}\nmax_tokens = {tokens}\n\n'
            f'[[files]]\npath = "{TEXT.name}"\n'
        )
        return path


def make(folder: Path) -> Workload:
    """Makes the model and the SAEs anew in `folder`."""
    workload = Workload(folder, folder / "model", [folder / f"sae-{number}" for number in range(SAES)])
    for made in [workload.model, *workload.saes]:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    model = make_model(workload.model)
    residuals = middle_residuals(model)
    for number, sae in enumerate(workload.saes):
        make_sae(sae, number, residuals)
    return workload


def make_model(folder: Path) -> Qwen2ForCausalLM:
    """Weights wide enough (a standard deviation of 0.05) that the loss depends on the input; the demo's tokenizer, which has
    fewer tokens than the model."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        intermediate_size=1376,
        num_hidden_layers=BLOCKS,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=0,
        eos_token_id=0,  # no padding token: its embedding would be zero
    )
    model = Qwen2ForCausalLM(config).eval()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder / name)
    return model


@torch.no_grad()
def middle_residuals(model: Qwen2ForCausalLM) -> torch.Tensor:
    """The residual stream entering the middle block on some of the text: [tokens, D_MODEL]."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
    ids: list[int] = []
    with zstandard.open(TEXT, "rt") as lines:
        for line in lines:
            ids += tokenizer.encode(json.loads(line)["text"]).ids
            if len(ids) >= 4 * CONTEXT:
                break
    batch = torch.tensor(ids[: 4 * CONTEXT]).view(4, CONTEXT)
    hidden = model.model(batch, output_hidden_states=True, use_cache=False).hidden_states
    return hidden[MIDDLE].reshape(-1, D_MODEL)


def make_sae(folder: Path, seed: int, residuals: torch.Tensor) -> None:
    """A `standard` SAE of random directions, in SAELens's format. Its one bias lets L0 latents fire on average."""
    generator = torch.Generator().manual_seed(1000 + seed)
    decoder = torch.randn(WIDTH, D_MODEL, generator=generator)
    decoder /= decoder.norm(dim=-1, keepdim=True)
    centre = residuals.mean(0)
    projections = (residuals - centre) @ decoder.T
    threshold = projections.flatten().topk(L0 * len(residuals)).values[-1]
    weights = {
        "W_dec": decoder,
        "W_enc": decoder.T.contiguous(),
        "b_enc": torch.full((WIDTH,), -threshold.item()),
        "b_dec": centre.contiguous(),
    }
    save_file(weights, folder / "sae_weights.safetensors")
    config = {
        "architecture": "standard",
        "d_in": D_MODEL,
        "d_sae": WIDTH,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"hook_name": SITE},
    }
    (folder / "cfg.json").write_text(json.dumps(config, indent=2))


def read_tokens(cache: Path) -> torch.Tensor:
    """The token ids of a cache's plan, in order: [contexts, CONTEXT]."""
    shards = sorted(Path(cache, "plan").glob("[0-9]*"), key=lambda path: int(path.name))
    tables = [pq.read_table(shard / "tokens.parquet", columns=["token"]) for shard in shards]
    ids = [torch.from_numpy(table["token"].to_numpy().astype("int64")) for table in tables]
    return torch.cat(ids).view(-1, CONTEXT)
