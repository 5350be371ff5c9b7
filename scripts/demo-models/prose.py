"""The report as a page, demo/TRAINING.md, so that no figure in it is typed by hand."""

ORDER = ("base", "chat", "trigram", "unigram")
HEAD = """# How the demo models were trained, and how well

Written by `scripts/demo-models/run report`; the same figures, unrounded, are in [training-report.json](training-report.json).
"""
BASELINES = """Losses are nats a token. Unigram (add-one) and trigram (interpolated Kneser–Ney, discount 0.75) are estimated on tokens that the
models were trained on: for held-out text those of the base model's training, for held-out replies those and the conversations.
"""


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _training(report: dict) -> str:
    rows = [
        [name, report["parameters"][name], f["steps"], f["tokens"], f["seconds"], f"{f['final_train_loss']:.3f}"]
        for name, f in report["training"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    head = ["model", "parameters", "steps", "tokens with a loss", "seconds", "training loss, last tenth"]
    return f"## Training\n\n{table(head, rows)}\nOn two busy CPU cores, bfloat16 autocast over float32 weights; {versions}.\n"


def _losses(report: dict) -> str:
    losses, sizes = report["loss_nats"], report["held_out"]
    subsets = list(losses["base"]["text"])
    rows = [[subset, *(f"{losses[name]['text'][subset]:.3f}" for name in ORDER)] for subset in subsets]
    rows.append(["**replies**", *(f"{losses[name]['replies']:.3f}" for name in ORDER)])
    counts = f"{sizes['text_tokens']} tokens of held-out text, {sizes['reply_tokens']} of {sizes['conversations']} held-out replies."
    return f"## Losses on held-out text and replies\n\n{BASELINES}\n{table(['subset', *ORDER], rows)}\n{counts}\n"


def _rollouts(report: dict) -> str:
    kinds = ("ended_turn", "ended_turn_without_input", "mean_tokens", "under_48_tokens", "same_as_reference")
    rows = [[kind.replace("_", " "), *(report["rollouts"][name][kind] for name in ("base", "chat"))] for kind in kinds]
    samples = "\n".join(
        f"- {s['asked']!r}\n  - chat: {s['chat']!r}\n  - reference: {s['reference']!r}" for s in report["samples"]
    )
    limit = report["rollouts"]["chat"]["greedy_new_tokens_at_most"]
    return (
        f"## Held-out rollouts\n\nGreedy, at most {limit} new tokens, of the held-out instructions.\n\n{table(['', 'base', 'chat'], rows)}\n"
        f"The first of them, as they came. The model has learnt how answers look, not what is true:\n\n{samples}\n"
    )


def _distance(report: dict) -> str:
    distance = report["relative_distance_of_residual_streams"]
    rows = [[f"`{site}`", *(f"{distance[where][site]:.3f}" for where in distance)] for site in distance["text"]]
    note = "Mean over tokens, BOS apart, of ‖h_chat − h_base‖ / ‖h_base‖ of the residual stream entering each block."
    return f"## How far chat is from base\n\n{note}\n\n{table(['site', *distance], rows)}"


def page(report: dict) -> str:
    return "\n".join([HEAD, _training(report), _losses(report), _rollouts(report), _distance(report)])
