"""Losses of the n-gram baselines, estimated on the models' training tokens: WORK/baselines.json for the report."""

import json

import base
import numpy as np
import tokenizer as own_tokenizer
from conversations import conversation, read
from layout import WORK
from losses import held_out_contexts, reply_loss, text_losses
from ngrams import Trigram, Unigram


def main() -> None:
    batches = base.batches(np.load(WORK / "train.npy"))
    seen = [context for _ in range(base.STEPS) for context in next(batches)[0].tolist()]
    taught = [c.prompt + c.reply for c in map(conversation, read("train"))]
    contexts, subsets = held_out_contexts()
    conversations = [conversation(row) for row in read("heldout")]
    sequences = [c.prompt + c.reply for c in conversations]
    losses: dict[str, dict] = {}
    for name, kind in (("unigram", Unigram), ("trigram", Trigram)):
        of_text, of_both = (kind(tokens, own_tokenizer.VOCABULARY) for tokens in (seen, seen + taught))
        losses[name] = {
            "text": text_losses(contexts, subsets, lambda n, p, of=of_text: of.loss(contexts[n], p)),
            "replies": reply_loss(conversations, lambda n, p, of=of_both: of.loss(sequences[n], p)),
        }
    (WORK / "baselines.json").write_text(json.dumps(losses, indent=2))


if __name__ == "__main__":
    main()
