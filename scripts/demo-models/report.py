"""Measures both models on held-out text and replies, and writes demo/training-report.json and demo/TRAINING.md."""

import json
import platform
import sys
from collections.abc import Callable
from statistics import mean

import packages
import prose
import torch
import train
import transformers
from conversations import chat_tokenizer, conversation, question, read
from layout import BASE, CHAT, DEMO, WORK
from losses import held_out_contexts, reply_loss, text_losses
from measures import NEW_TOKENS, measure, relative_distance, rollouts
from transformers import Qwen2ForCausalLM

REPORT = DEMO / "training-report.json"


def figures(step: str, committed: Callable[[dict], dict]) -> dict:
    """What a step wrote to WORK; of a step that has not run here, what the committed report has of it."""
    file = WORK / f"{step}.json"
    if file.exists():
        return json.loads(file.read_text())
    print(f"{step}: not run here; its figures are those of {REPORT.name}", file=sys.stderr)
    return committed(json.loads(REPORT.read_text()))


def main() -> None:
    train.seeded()
    models = {name: Qwen2ForCausalLM.from_pretrained(folder).eval() for name, folder in (("base", BASE), ("chat", CHAT))}
    contexts, subsets = held_out_contexts()
    rows = read("heldout")
    conversations = [conversation(row) for row in rows]
    sequences = [c.prompt + c.reply for c in conversations]

    losses: dict[str, dict] = {}
    on_text = {name: measure(model, contexts) for name, model in models.items()}
    on_replies = {name: measure(model, sequences) for name, model in models.items()}
    for name in models:
        losses[name] = {
            "text": text_losses(contexts, subsets, lambda n, p, of=on_text[name].losses: of[n][p - 1]),
            "replies": reply_loss(conversations, lambda n, p, of=on_replies[name].losses: of[n][p - 1]),
        }
    losses |= figures("baselines", lambda report: {name: report["loss_nats"][name] for name in ("unigram", "trigram")})

    end = chat_tokenizer().eos_token_id
    replies = {name: rollouts(model, conversations) for name, model in models.items()}
    without_input = [number for number, row in enumerate(rows) if not row["input"]]
    report = {
        "parameters": {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()},
        "training": {name: figures(name, lambda report, of=name: report["training"][of]) for name in models},
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
    REPORT.write_text(text + "\n")
    (DEMO / "TRAINING.md").write_text(prose.page(report))
    print(text)


if __name__ == "__main__":
    main()
