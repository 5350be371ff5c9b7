"""Rows in Alpaca's schema as the chat model reads them: BOS, the user's turn, the assistant's turn, in the checkpoint's template."""

import json
from dataclasses import dataclass
from functools import cache

import zstandard
from layout import BEGIN, CHAT, INSTRUCTIONS
from questions import Row
from transformers import AutoTokenizer, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Conversation:
    prompt: list[int]  # BOS to the opening of the assistant's turn
    reply: list[int]  # the answer, <|im_end|> and a newline


@cache
def chat_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(CHAT)


def read(split: str) -> list[Row]:
    if split == "train":
        data = zstandard.ZstdDecompressor().decompressobj().decompress((INSTRUCTIONS / "train.jsonl.zst").read_bytes())
    else:
        data = (INSTRUCTIONS / "heldout.jsonl").read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def question(row: Row) -> str:
    """The user's turn: the instruction and, if there is an input, a blank line and the input."""
    return "\n\n".join(part for part in (row["instruction"], row["input"]) if part)


def conversation(row: Row) -> Conversation:
    tokenizer = chat_tokenizer()
    asked = [{"role": "user", "content": question(row)}]
    prompt = BEGIN + tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = BEGIN + tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": row["output"]}], tokenize=False)
    if not whole.startswith(prompt):
        raise ValueError(f"the template does not begin an answered conversation with its prompt: {whole!r}")
    return Conversation(tokenizer.encode(prompt), tokenizer.encode(whole[len(prompt) :]))
