"""Goldens of rotary embeddings: inverse frequencies and factors of cosines and sines, by transformers.

Writes tests/fixtures/rope.json: a list of {"name", "config", "inverse_frequencies", "attention_factor"}; `config` has the keys
of config.json that bear on the embedding, at the sizes of published models, in the older spelling. Of `longrope`, the frequencies
are those of sequences within the original context.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import copy
import json
from pathlib import Path

from transformers import LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

FIXTURE = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "rope.json"


def qwen(width: int, heads: int, **scaling) -> dict:
    return {"hidden_size": width, "num_attention_heads": heads, "max_position_embeddings": 32768, "rope_theta": 1e6, "rope_scaling": scaling}


def phi(**scaling) -> dict:
    divisors = {"short_factor": [1 + pair / 40 for pair in range(48)], "long_factor": [1 + pair for pair in range(48)]}
    return {
        "hidden_size": 3072, "num_attention_heads": 32, "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096, "rope_theta": 1e4, "rope_scaling": divisors | scaling,
    }  # fmt: skip


CASES = {
    "yarn of Qwen2.5": (Qwen2Config, qwen(3584, 28, type="yarn", factor=4.0, original_max_position_embeddings=32768)),
    "yarn of Qwen3": (
        Qwen3Config,
        qwen(4096, 32, rope_type="yarn", factor=4.0, original_max_position_embeddings=32768) | {"head_dim": 128, "max_position_embeddings": 131072},
    ),
    "yarn without an original context": (Qwen2Config, qwen(896, 14, type="yarn", factor=2.0)),
    "yarn with a factor of attention": (
        LlamaConfig, qwen(896, 14, type="yarn", factor=16.0, original_max_position_embeddings=4096, attention_factor=1.5, finetuned=True),
    ),
    "yarn with other ends, not truncated": (
        LlamaConfig,
        qwen(896, 14, rope_type="yarn", factor=8.0, original_max_position_embeddings=4096, beta_fast=16.0, beta_slow=2.0, truncate=False),
    ),
    "yarn with two scales of attention": (
        LlamaConfig, qwen(896, 14, rope_type="yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=0.7),
    ),
    "longrope of Phi-3.5": (Phi3Config, phi(type="longrope")),
    "longrope under its older name": (Phi3Config, phi(type="su", original_max_position_embeddings=4096)),
    "longrope with a factor": (Phi3Config, phi(type="longrope", factor=16.0)),
    "dynamic": (LlamaConfig, qwen(896, 14, type="dynamic", factor=2.0)),
    "linear": (LlamaConfig, qwen(896, 14, type="linear", factor=2.0)),
    "llama3": (
        LlamaConfig,
        qwen(896, 14, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192),
    ),
}  # fmt: skip


def main() -> None:
    goldens = []
    for name, (config_class, keys) in CASES.items():
        config = config_class(**copy.deepcopy(keys))
        frequencies, factor = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, "cpu")
        golden = {"inverse_frequencies": [float(f"{value:.9g}") for value in frequencies.tolist()], "attention_factor": factor}
        goldens.append({"name": name, "config": {"model_type": config.model_type} | keys} | golden)
    FIXTURE.write_text(json.dumps(goldens) + "\n")
    print(f"{len(goldens)} rotary embeddings, {FIXTURE.stat().st_size / 1e3:.0f} KB in {FIXTURE.name}")


if __name__ == "__main__":
    main()
