"""The base model: Qwen2's architecture, trained once over the training text."""

import json
from collections.abc import Iterator

import numpy as np
import tokenizer as own_tokenizer
import torch
import train
from layout import BASE, BEGIN, CONTEXT, SEED, WORK
from transformers import Qwen2Config, Qwen2ForCausalLM

BATCH = 4  # contexts
STEPS = 3_400
PEAK = 3e-3


def configuration() -> Qwen2Config:
    begin = own_tokenizer.load().token_to_id(BEGIN)
    return Qwen2Config(
        vocab_size=own_tokenizer.VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=begin,
        eos_token_id=begin,
        pad_token_id=begin,
        rms_norm_eps=1e-6,
        initializer_range=0.03,
        dtype="float32",
    )


def batches(contexts: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for epoch in range(1_000):
        order = np.random.default_rng([SEED, epoch]).permutation(len(contexts))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            tokens = torch.from_numpy(contexts[order[start : start + BATCH]].astype(np.int64))
            yield tokens, tokens


def main() -> None:
    train.seeded()
    contexts = np.load(WORK / "train.npy")
    model = Qwen2ForCausalLM(configuration())
    figures = train.train(model, batches(contexts), STEPS, PEAK, BASE)
    (WORK / "base.json").write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
