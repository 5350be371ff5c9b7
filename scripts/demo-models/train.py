"""One training loop for both models: AdamW, warm-up, steady rate, linear decay; bfloat16 autocast over float32 weights."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from layout import SEED
from transformers import PreTrainedModel

THREADS = 2  # fixed, because another order of summation changes the last bits
WARM_UP = 100  # steps
IGNORED = -100  # the label of a position without a loss


def seeded() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear from 0 over WARM_UP steps, steady, then linear to 0 over the last 30% of the steps."""
    decay = max(1, steps * 3 // 10)
    return peak * min(1.0, (step + 1) / WARM_UP, (steps - step) / decay)


def _groups(model: PreTrainedModel) -> list[dict]:
    """Weight decay on matrices alone: not on biases, norms or the (tied) embedding."""
    named = list(model.named_parameters())
    decayed = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]


def train(
    model: PreTrainedModel,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    peak: float,
    folder: Path,
    checkpoint_every: int = 400,
) -> dict:
    """Trains on (tokens, labels), both [batch, pos] int64, and saves to the folder periodically and at the end.

    Returns steps, positions with a loss, seconds and the mean loss (nats) of the last tenth of the steps.
    """
    optimiser = torch.optim.AdamW(_groups(model), lr=peak, betas=(0.9, 0.98), eps=1e-8)
    started, seen, losses = time.monotonic(), 0, []
    model.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        tokens, labels = next(batches)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=tokens).logits[:, :-1]
        wanted = labels[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=IGNORED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        seen += int((wanted != IGNORED).sum())
        if step % 20 == 0 or step == steps - 1:
            spent = time.monotonic() - started
            print(f"step {step + 1}/{steps}  loss {sum(losses[-20:]) / len(losses[-20:]):.4f}  {seen / spent:.0f} tokens/s", flush=True)
        if (step + 1) % checkpoint_every == 0 or step == steps - 1:
            model.save_pretrained(folder)
    tail = losses[-max(1, steps // 10) :]
    return {"steps": steps, "tokens": seen, "seconds": round(time.monotonic() - started), "final_train_loss": sum(tail) / len(tail)}
