"""The chat model: the base model trained further on conversations, with a loss on both turns, and in turn on text.

Both turns have a loss so that the chat model models user prompts as well as replies. Every other step is a batch of the committed
text: without it the chat model forgets text, and SAEs are then measured on a model that is worse than a trigram. The learning rate
is the base model's, high for fine-tuning: base and chat should differ in their residual streams, not only in their last layer.
"""

import json
from collections.abc import Iterator

import base
import numpy as np
import texts
import tokenizer as own_tokenizer
import torch
import train
from conversations import Conversation, chat_tokenizer, conversation, read
from layout import BASE, CHAT, SEED, WORK
from transformers import Qwen2ForCausalLM

BATCH = 32  # conversations
STEPS = 800  # half of them on text
PEAK = 3e-3


def batch(chosen: list[Conversation]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and labels, [batch, pos] int64, padded on the right, which causal attention never sees."""
    sequences = [torch.tensor(c.prompt + c.reply) for c in chosen]
    pad = lambda value: torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=value)  # noqa: E731
    return pad(chat_tokenizer().pad_token_id), pad(train.IGNORED)


def conversation_batches(conversations: list[Conversation]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Epochs in different orders; within eight batches conversations are sorted by length, which saves padding."""
    for epoch in range(1_000):
        generator = np.random.default_rng([SEED, epoch])
        order = generator.permutation(len(conversations))
        for start in range(0, len(order) - 8 * BATCH + 1, 8 * BATCH):
            pool = sorted((conversations[i] for i in order[start : start + 8 * BATCH]), key=lambda c: len(c.prompt + c.reply))
            for group in generator.permutation(8):
                yield batch(pool[group * BATCH : (group + 1) * BATCH])


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """In turn a batch of conversations and one of text, as the base model had it."""
    contexts = own_tokenizer.pack(own_tokenizer.load(), texts.read_sample("train.jsonl.zst"))
    conversations = [conversation(row) for row in read("train")]
    for both in zip(conversation_batches(conversations), base.batches(contexts), strict=True):
        yield from both


def main() -> None:
    train.seeded()
    model = Qwen2ForCausalLM.from_pretrained(BASE)
    end = chat_tokenizer().eos_token_id
    model.config.eos_token_id = end
    model.generation_config.eos_token_id = end
    figures = train.train(model, batches(), STEPS, PEAK, CHAT)
    (WORK / "chat.json").write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
