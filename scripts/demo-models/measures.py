"""The report's measurements of a model: losses by position, rollouts that end their turn, distance of residual streams."""

from dataclasses import dataclass

import torch
from conversations import Conversation, chat_tokenizer
from transformers import Qwen2ForCausalLM

NEW_TOKENS = 64
ROLLOUTS_AT_ONCE = 25


@dataclass(frozen=True)
class Measured:
    losses: list[list[float]]  # nats; entry p - 1 of a sequence is the loss of its token p
    residual: list[torch.Tensor]  # per sequence [block, pos, d_model] float32, entering each block


@torch.inference_mode()
def measure(model: Qwen2ForCausalLM, sequences: list[list[int]]) -> Measured:
    measured = Measured([], [])
    for sequence in sequences:
        tokens = torch.tensor([sequence])
        out = model(input_ids=tokens, output_hidden_states=True)
        losses = torch.nn.functional.cross_entropy(out.logits[0, :-1], tokens[0, 1:], reduction="none")
        measured.losses.append(losses.tolist())
        # transformers gives the embedding, then the output of each block; the last one is normalised and left out.
        measured.residual.append(torch.stack([state[0] for state in out.hidden_states[:-1]]))
    return measured


def relative_distance(base: Measured, chat: Measured) -> list[float]:
    """Per block, mean over all tokens except BOS of ‖chat − base‖ / ‖base‖ of the residual stream entering it."""
    ratios = [
        ((other - one).norm(dim=-1) / one.norm(dim=-1))[:, 1:]  # [block, pos]
        for one, other in zip(base.residual, chat.residual, strict=True)
    ]
    return torch.cat(ratios, dim=1).mean(dim=1).tolist()


@torch.inference_mode()
def rollouts(model: Qwen2ForCausalLM, conversations: list[Conversation]) -> list[list[int]]:
    """Greedy replies of at most NEW_TOKENS tokens; <|im_end|> is the last token of replies that ended their turn."""
    end, pad = chat_tokenizer().eos_token_id, chat_tokenizer().pad_token_id
    replies: list[list[int]] = []
    for start in range(0, len(conversations), ROLLOUTS_AT_ONCE):
        prompts = [conversation.prompt for conversation in conversations[start : start + ROLLOUTS_AT_ONCE]]
        longest = max(map(len, prompts))
        tokens = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        out = model.generate(
            input_ids=tokens, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=end, pad_token_id=pad
        )
        for reply in out[:, longest:].tolist():
            replies.append(reply[: reply.index(end) + 1] if end in reply else reply)
    return replies
