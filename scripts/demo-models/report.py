"""Measures both models on held-out text and replies beside n-gram baselines, and writes demo/training-report.json and demo/TRAINING.md."""

import json
import platform
from collections import defaultdict
from collections.abc import Callable
from statistics import mean

import base
import numpy as np
import packages
import prose
import texts
import tokenizer as own_tokenizer
import torch
import train
import transformers
import zstandard
from conversations import Conversation, chat_tokenizer, conversation, question, read
from layout import BASE, BEGIN, CHAT, CONTEXT, DEMO, TEXT, WORK
from measures import NEW_TOKENS, measure, relative_distance, rollouts
from ngrams import Trigram, Unigram
from transformers import Qwen2ForCausalLM

Loss = Callable[[int, int], float]  # of token `position` of sequence number so-and-so


def held_out_contexts() -> tuple[list[list[int]], list[list[str]]]:
    """The committed held-out text, joined and cut as for training (a last short context is kept), and each token's subset."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress((TEXT / "heldout.jsonl.zst").read_bytes())
    tokenizer = own_tokenizer.load()
    begin = tokenizer.token_to_id(BEGIN)
    stream: list[tuple[int, str]] = []
    for line in data.decode().splitlines():
        document = json.loads(line)
        subset = document["meta"]["pile_set_name"]
        stream += [(begin, subset)] * bool(stream) + [(token, subset) for token in tokenizer.encode(document["text"]).ids]
    contexts, subsets = [], []
    for start in range(0, len(stream), CONTEXT - 1):
        piece = stream[start : start + CONTEXT - 1]
        contexts.append([begin, *(token for token, _ in piece)])
        subsets.append([piece[0][1], *(subset for _, subset in piece)])
    return contexts, subsets


def text_losses(contexts: list[list[int]], subsets: list[list[str]], loss: Loss) -> dict[str, float]:
    """Mean over all predicted tokens, and over those of each subset."""
    found: dict[str, list[float]] = defaultdict(list)
    for number, context in enumerate(contexts):
        for position in range(1, len(context)):
            value = loss(number, position)
            found["all"].append(value)
            found[subsets[number][position]].append(value)
    return {name: round(mean(found[name]), 4) for name in ["all", *texts.BUDGET]}


def reply_loss(conversations: list[Conversation], loss: Loss) -> float:
    """Mean over the tokens of the answers and the <|im_end|> after them; the newline after that is not counted."""
    values = [
        loss(number, position)
        for number, c in enumerate(conversations)
        for position in range(len(c.prompt), len(c.prompt) + len(c.reply) - 1)
    ]
    return round(mean(values), 4)


def main() -> None:
    train.seeded()
    models = {name: Qwen2ForCausalLM.from_pretrained(folder).eval() for name, folder in (("base", BASE), ("chat", CHAT))}
    contexts, subsets = held_out_contexts()
    rows = read("heldout")
    conversations = [conversation(row) for row in rows]
    sequences = [c.prompt + c.reply for c in conversations]

    batches = base.batches(np.load(WORK / "train.npy"))
    seen = [context for _ in range(base.STEPS) for context in next(batches)[0].tolist()]
    taught = [c.prompt + c.reply for c in map(conversation, read("train"))]
    losses: dict[str, dict] = {}
    on_text = {name: measure(model, contexts) for name, model in models.items()}
    on_replies = {name: measure(model, sequences) for name, model in models.items()}
    for name in models:
        losses[name] = {
            "text": text_losses(contexts, subsets, lambda n, p, of=on_text[name].losses: of[n][p - 1]),
            "replies": reply_loss(conversations, lambda n, p, of=on_replies[name].losses: of[n][p - 1]),
        }
    for name, kind in (("unigram", Unigram), ("trigram", Trigram)):
        of_text, of_both = (kind(tokens, own_tokenizer.VOCABULARY) for tokens in (seen, seen + taught))
        losses[name] = {
            "text": text_losses(contexts, subsets, lambda n, p, of=of_text: of.loss(contexts[n], p)),
            "replies": reply_loss(conversations, lambda n, p, of=of_both: of.loss(sequences[n], p)),
        }

    end = chat_tokenizer().eos_token_id
    replies = {name: rollouts(model, conversations) for name, model in models.items()}
    without_input = [number for number, row in enumerate(rows) if not row["input"]]
    report = {
        "parameters": {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()},
        "training": {name: json.loads((WORK / f"{name}.json").read_text()) for name in models},
        "held_out": {
            "text_tokens": sum(len(context) - 1 for context in contexts),
            "conversations": len(rows),
            "reply_tokens": sum(len(c.reply) - 1 for c in conversations),
        },
        "loss_nats": losses,
        "rollouts": {
            name: {
                "greedy_new_tokens_at_most": NEW_TOKENS,
                "ended_turn": round(mean(reply[-1] == end for reply in of), 4),
                "ended_turn_without_input": round(mean(of[n][-1] == end for n in without_input), 4),
                "mean_tokens": round(mean(map(len, of)), 1),
                "under_48_tokens": round(mean(len(reply) < 48 for reply in of), 4),
                "same_as_reference": round(mean(r == c.reply[:-1] for r, c in zip(of, conversations, strict=True)), 4),
            }
            for name, of in replies.items()
        },
        "relative_distance_of_residual_streams": {
            where: {f"blocks.{block}.hook_resid_pre": round(d, 4) for block, d in enumerate(relative_distance(m["base"], m["chat"]))}
            for where, m in (("text", on_text), ("conversations", on_replies))
        },
        "packages": {package.name: package.version for package in packages.table()},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": train.THREADS,
        },
        "samples": [
            {"asked": question(rows[n]), "chat": chat_tokenizer().decode(replies["chat"][n]), "reference": rows[n]["output"]}
            for n in range(8)
        ],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (DEMO / "training-report.json").write_text(text + "\n")
    (DEMO / "TRAINING.md").write_text(prose.page(report))
    print(text)


if __name__ == "__main__":
    main()
