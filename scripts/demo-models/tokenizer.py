"""A byte-level BPE tokenizer trained on the corpus, with ChatML's two special tokens, and its two configurations.

Base and chat share tokenizer.json byte for byte; they differ only in the end-of-sequence token.
"""

import json
from pathlib import Path

import numpy as np
import texts
from layout import BASE, BEGIN, CHAT, CONTEXT, TURN_BEGIN, TURN_END, WORK
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 4096
# ChatML as Qwen has it, without the system turn that Qwen adds to a conversation without one. The caller adds BOS.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def make() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, TURN_BEGIN, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A third of the training text is enough for 4096 merges.
    tokenizer.train_from_iterator((document.text for document in texts.read("train")[::3]), trainer)
    return tokenizer


def configuration(folder: Path) -> dict:
    # The base model has the template too, as Qwen's have: it reads the same conversations, token for token.
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": TURN_END if folder == CHAT else BEGIN,
        "pad_token": BEGIN,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def load() -> Tokenizer:
    return Tokenizer.from_file(str(BASE / "tokenizer.json"))


def pack(tokenizer: Tokenizer, documents: list[texts.Document]) -> np.ndarray:
    """[contexts, CONTEXT] uint16: the documents joined with BOS and cut, each context beginning with BOS."""
    begin = tokenizer.token_to_id(BEGIN)
    stream: list[int] = []
    for encoded in tokenizer.encode_batch([document.text for document in documents]):
        if stream:
            stream.append(begin)
        stream.extend(encoded.ids)
    body = CONTEXT - 1
    whole = np.array(stream[: len(stream) // body * body], dtype=np.uint16).reshape(-1, body)
    return np.concatenate([np.full((len(whole), 1), begin, dtype=np.uint16), whole], axis=1)


def main() -> None:
    tokenizer = make()
    for folder in (BASE, CHAT):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(configuration(folder), indent=2) + "\n")
    contexts = pack(tokenizer, texts.read("train"))
    np.save(WORK / "train.npy", contexts)
    print(f"{tokenizer.get_vocab_size()} tokens in the vocabulary, {contexts.size} tokens in {len(contexts)} training contexts")


if __name__ == "__main__":
    main()
