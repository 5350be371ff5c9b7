#!/usr/bin/env python3
"""Compares `evaluate latents` with numpy on SAELens's latents of the same tokens, on a cache that pyarrow reads.

Proves: statistics and examples of latents are those of numpy on SAELens's latents
Needs: SAELens environment, LibTorch
Takes: minutes

  scripts/check latents [--programs DIR]     built programs [default: builds them in debug]

Harvests conversations of two turns made of stories, trains a TopK and a gated SAE beside the JumpReLU and the ReLU SAE
of the fixtures, and compares 200 latents of each: counts and densities of all tokens, sections, subsets and turns,
means, maxima, quantiles, top examples, samples, contexts, nearest and co-firing latents; then the tokens whose logits
latents raise and lower with numpy on transformers' weights, for models of several families, and the change of the loss without
a latent with transformers' model and a hook that takes its contribution away. SAELens adds in another order,
so activations agree to 1e-5 of their size. A latent whose pre-activation is within 1e-5 of where it begins to fire may
fire for one of the two; such firings are counted, printed, and at most one in 100,000.
"""

import json
import math
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("goldens")

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from sae_lens import SAE, StandardSAE, StandardSAEConfig  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

MODEL = ROOT / "tests/fixtures/stories260K"
SITE = "blocks.3.hook_resid_pre"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ 'Once: ' + message['content'] + ' And then:' }}{% else %}"
    "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
LATENTS, TOP, SAMPLED, WINDOW, SEED, SIMILAR = 200, 20, 20, 16, 5, 5
TOLERANCE = 1e-5
QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}
WORD = (1 << 64) - 1
ABLATED = (3, 20, 77, 150)
FAMILIES = ("gemma2", "gemma3", "gpt-neox", "gpt2", "llama32", "olmo2", "opt", "phi", "qwen3-bf16")
EFFECT_TOLERANCE = 1e-4
failures = []


def check(holds, message):
    if not holds:
        failures.append(message)
        print(f"FAILED {message}", file=sys.stderr)


def make_cache(built, folder):
    """A cache of conversations, in several shards, with activations as pyarrow reads them."""
    model = folder / "model"
    shutil.copytree(MODEL, model, ignore=shutil.ignore_patterns("saes"))
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEMPLATE}))
    stories = [json.loads(line)["text"] for line in (MODEL / "stories-train.jsonl").read_text().splitlines()[:400]]
    with (folder / "chats.jsonl").open("w") as file:
        for number in range(0, len(stories), 2):
            roles = ["user", "assistant", "user", "assistant"]
            parts = [part.strip() for story in stories[number : number + 2] for part in (story[:120], story[120:420])]
            messages = [{"role": role, "content": part} for role, part in zip(roles, parts)]
            file.write(json.dumps({"messages": messages, "kind": ["odd", "even", None][number // 2 % 3]}) + "\n")
    (folder / "chats.toml").write_text(
        'name = "chats"\npacking = "per-document"\ncontext_length = 512\nsubset_field = "kind"\n'
        'chat = { messages_field = "messages" }\nfiles = [{ path = "chats.jsonl" }]\n'
    )
    cache = folder / "cache"
    how = ["--codec", "raw", "--dtype", "f32", "--shard-tokens", 8192, "--row-group-rows", 2048]
    programs.quietly(
        built / "harvest",
        "run",
        "--model",
        model,
        "--data",
        folder / "chats.toml",
        "--site",
        SITE,
        *how,
        "--out",
        cache,
    )
    return cache, model


def make_saes(built, folder, cache):
    saes = {name: MODEL / "saes" / name for name in ("jumprelu", "standard")}
    for name, options in {"topk": ["--k", 12], "gated": ["--l1", 2]}.items():
        saes[name] = folder / name
        words = ["--architecture", name, *options, "--width", 384, "--tokens", 65536, "--batch", 1024, "--site", SITE]
        programs.quietly(built / "evaluate", "train", "--cache", cache, *words, "--out", saes[name])
    return saes


def read_cache(cache):
    """The columns of all tokens, and the activations, [rows, d_model]."""
    shards = sorted((cache / "shards").glob("[0-9]*"))
    tables = [pq.read_table(shard / "tokens.parquet").to_pydict() for shard in shards]
    tokens = {name: [value for table in tables for value in table[name]] for name in tables[0]}
    bits = [pq.read_table(shard / f"{SITE}.parquet")["bits"].to_pylist() for shard in shards]
    x = np.frombuffer(b"".join(row for rows in bits for row in rows), "<f4")
    return tokens, x.reshape(len(tokens["token"]), -1)


def encode(path, x):
    """SAELens's latents, [rows, latents], for each whether it nearly begins to fire, and the decoder."""
    sae = SAE.load_from_disk(path).requires_grad_(False)
    with torch.no_grad():
        rows = torch.from_numpy(x.copy())
        latents = sae.encode(rows).numpy()
        double = sae.to(torch.float64)
        double.dtype = torch.float64
        exact = double.process_sae_in(rows.double()) @ double.W_enc
    kind = sae.cfg.architecture()
    if kind == "topk":
        pre = (exact + double.b_enc).numpy()
        # Of a row, the smallest of the k largest and the largest of the others.
        ends = np.sort(pre, axis=1)[:, -sae.cfg.k - 1 : -sae.cfg.k + 1 or None]
        unsure = (np.abs(pre) < TOLERANCE) | (
            (ends[:, 1] - ends[:, 0] < TOLERANCE)[:, None] & (np.abs(pre - ends[:, 1:]) < TOLERANCE)
        )
    else:
        bias = double.b_gate if kind == "gated" else double.b_enc
        threshold = double.threshold.numpy() if kind == "jumprelu" else 0.0
        unsure = np.abs((exact + bias).numpy() - threshold) < TOLERANCE
        if kind == "gated":
            unsure |= np.abs((exact * double.r_mag.exp() + double.b_mag).numpy()) < TOLERANCE
    return latents, unsure, double.W_dec.detach().numpy()


def mix(bits):
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def priorities(*words):
    """The numbers that samples come from: see docs/latents.md."""
    with np.errstate(over="ignore"):
        number = mix(np.uint64(words[0]))
        for word in words[1:]:
            number = mix((number + np.uint64(0x9E3779B97F4A7C15)) ^ np.asarray(word).astype(np.uint64))
    return number


def near(left, right):
    return abs(left - right) <= TOLERANCE * max(1.0, abs(right))


def quantile(values, share):
    """From a histogram of the first three bits of the mantissa."""
    bins, counts = np.unique(values.view(np.uint32) >> 20, return_counts=True)
    rank, below = share * len(values), 0
    for number, count in zip(bins, counts):
        if below + count >= rank:
            start, end = (float(np.uint32(edge << 20).view(np.float32)) for edge in (int(number), int(number) + 1))
            return start + (min(end, float(values.max())) - start) * (rank - below) / count
        below += count
    return None


def strata(latent, values, sequences, positions):
    """Indices of the sampled firings, in order."""
    numbers = priorities(SEED, latent, sequences, positions)
    chosen = np.lexsort((positions, sequences, numbers))[: 4 * SAMPLED]
    chosen = chosen[np.lexsort((positions[chosen], sequences[chosen], numbers[chosen], values[chosen]))]
    if len(chosen) <= SAMPLED:
        return chosen.tolist()
    edges = [stratum * len(chosen) // SAMPLED for stratum in range(SAMPLED + 1)]
    return [min(chosen[start:end], key=lambda index: numbers[index]) for start, end in zip(edges, edges[1:])]


def compare_groups(name, latent, row, fires, tokens, kept):
    for column, key, values in [
        ("sections", "section", "section"),
        ("subsets", "subset", "subset"),
        ("turns", "turn", "turn"),
    ]:
        names = [tokens[values][index] for index in kept]
        all_of, own = Counter(names), Counter(group for group, fired in zip(names, fires) if fired)
        expected = {group: (all_of[group], own[group], own[group] / all_of[group]) for group in all_of}
        got = {group[key]: (group["tokens"], group["firings"], group["density"]) for group in row[column]}
        check(got == expected, f"{name} {latent}: {column}: expected {expected}, got {got}")


def compare_examples(name, latent, examples, values, column, tokens, kept, skipped):
    """Compares the examples of a latent, which is `column` at all tokens and `values` at those that are read."""
    sequences = np.array([tokens["sequence"][index] for index in kept])
    positions = np.array([tokens["position"][index] for index in kept])
    fired = np.flatnonzero(values > 0)
    largest = fired[np.lexsort((positions[fired], sequences[fired], -values[fired]))][:TOP]
    sampled = fired[strata(latent, values[fired], sequences[fired], positions[fired])] if len(fired) else fired
    place_of = dict(zip(zip(tokens["sequence"], tokens["position"]), range(len(column))))
    swapped = 0
    for kind, chosen in (("top", largest), ("sampled", sampled)):
        got = [example for example in examples if example["kind"] == kind]
        check(
            [example["rank"] for example in got] == list(range(len(chosen))),
            f"{name} {latent}: {len(got)} {kind} examples",
        )
        for example, index in zip(got, chosen):
            check(
                near(example["activation"], values[index]),
                f"{name} {latent}: {kind} {example['rank']}: {example['activation']}",
            )
            swapped += (example["sequence"], example["position"]) != (sequences[index], positions[index])
            place = place_of[example["sequence"], example["position"]]
            first, last = place - min(WINDOW, example["position"]), place + WINDOW
            around = [
                at
                for at in range(first, last + 1)
                if at < len(column) and tokens["sequence"][at] == example["sequence"]
            ]
            for key in ("token", "section", "document", "subset", "turn"):
                check(example[key] == tokens[key][place], f"{name} {latent}: {key}")
            check(
                example["tokens"] == [tokens["token"][at] for at in around], f"{name} {latent}: tokens of the context"
            )
            check(example["first_position"] == tokens["position"][around[0]], f"{name} {latent}: first position")
            expected = [None if at in skipped else column[at] for at in around]
            same = len(expected) == len(example["activations"]) and all(
                (a is None) == (b is None) and (a is None or near(a, b))
                for a, b in zip(example["activations"], expected)
            )
            check(
                same, f"{name} {latent}: activations of the context: expected {expected}, got {example['activations']}"
            )
    return swapped


def compare(name, path, table, examples, tokens, x, kept):
    latents, unsure, decoder = encode(path, x)
    read, doubt = latents[kept], unsure[kept]
    fires, width = read > 0, latents.shape[1]
    own = [row for row in table if row["sae"] == name]
    check([row["latent"] for row in own] == list(range(width)), f"{name}: latents")
    skipped = set(range(len(x))) - set(kept)
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    # Those that fire most, and others by chance.
    order = np.argsort(-fires.sum(axis=0), kind="stable")
    chosen = [*order[:50], *np.random.default_rng(SEED).permutation(order[50:])[: LATENTS - 50]]
    doubtful = [latent for latent in chosen if own[latent]["firings"] != fires[:, latent].sum()]
    for latent in doubtful:
        difference = abs(own[latent]["firings"] - int(fires[:, latent].sum()))
        check(difference <= doubt[:, latent].sum(), f"{name} {latent}: {difference} other firings")
    swapped, differing = 0, sum(abs(own[latent]["firings"] - int(fires[:, latent].sum())) for latent in doubtful)
    counts = fires.T.astype(np.float32) @ fires.astype(np.float32)
    of_latent = {}
    for example in examples:
        if example["sae"] == name:
            of_latent.setdefault(example["latent"], []).append(example)
    for latent in (latent for latent in map(int, chosen) if latent not in doubtful):
        row, values = own[latent], read[:, latent]
        fired = values[values > 0]
        check((row["tokens"], row["density"]) == (len(kept), len(fired) / len(kept)), f"{name} {latent}: density")
        compare_groups(name, latent, row, fires[:, latent], tokens, kept)
        check(sum(bin["count"] for bin in row["histogram"]) == len(fired), f"{name} {latent}: histogram")
        if len(fired):
            check(near(row["mean"], math.fsum(fired.tolist()) / len(fired)), f"{name} {latent}: mean {row['mean']}")
            check(near(row["max"], fired.max()), f"{name} {latent}: max {row['max']}")
            edge = (fired.view(np.uint32) + 64) >> 20 != (fired.view(np.uint32) - 64) >> 20
            for column, share in QUANTILES.items():
                # An activation at a border of two bins may be in either.
                slack = 0.125 if edge.any() else TOLERANCE
                expected = quantile(fired, share)
                check(
                    abs(row[column] - expected) <= slack * expected,
                    f"{name} {latent}: {column}: {row[column]}, not {expected}",
                )
        else:
            check(
                all(row[column] is None for column in ("mean", "max", *QUANTILES)),
                f"{name} {latent}: figures without firings",
            )
        swapped += compare_examples(
            name, latent, of_latent.get(latent, []), values, latents[:, latent], tokens, kept, skipped
        )
        cosines = unit @ unit[latent]
        cosines[latent] = -2
        expected = np.sort(cosines)[::-1][:SIMILAR]
        got = [pair["cosine"] for pair in row["nearest"]]
        check(np.allclose(got, expected, atol=1e-5), f"{name} {latent}: nearest: {got}, not {expected}")
        check(
            np.allclose(got, [cosines[pair["latent"]] for pair in row["nearest"]], atol=1e-5),
            f"{name} {latent}: nearest latents",
        )
        if not doubtful:
            either = counts[latent, latent] + np.diag(counts) - counts[latent]
            jaccard = np.where(np.arange(width) == latent, 0, counts[latent] / np.maximum(either, 1).astype(np.float64))
            order = sorted(np.flatnonzero(jaccard), key=lambda other: (-jaccard[other], other))[:SIMILAR]
            got = [(pair["latent"], pair["together"]) for pair in row["cofiring"]]
            check(got == [(other, counts[latent, other]) for other in order], f"{name} {latent}: co-firing: {got}")
    total = int(fires[:, chosen].sum())
    check(differing <= max(1, total // 100_000), f"{name}: {differing} of {total} firings differ")
    ratios = [
        group["density"] / own[latent]["density"]
        for latent in chosen
        if own[latent]["firings"]
        for group in own[latent]["sections"]
    ]
    print(
        f"{name}: {len(kept)} tokens, {LATENTS} of {width} latents: {total} firings, {differing} differ in "
        f"{len(doubtful)} latents; {swapped} examples of other firings with the same activation; densities in sections "
        f"are {min(ratios):.2f} to {max(ratios):.2f} of those overall"
    )


def compare_ablations(built, folder, cache, model, saes, tokens, x):
    """The change of the loss where a latent fires, with everything else of the residual as it is."""
    out, chosen = folder / "ablated", {name: saes[name] for name in ("jumprelu", "topk", "gated")}
    words = [word for path in chosen.values() for word in ("--sae", path)]
    words += ["--model", model, "--ablate", ",".join(map(str, ABLATED)), "--shards", "0..1", "--top", 0, "--sampled", 0]
    programs.quietly(built / "evaluate", "latents", "--cache", cache, *words, "--out", out)
    table = pq.read_table(out / "latents.parquet").to_pylist()
    count = pq.read_metadata(sorted((cache / "shards").glob("[0-9]*"))[0] / "tokens.parquet").num_rows
    sequences = {}
    for row in range(count):
        sequences.setdefault(tokens["sequence"][row], []).append(row)
    transformer = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    furthest, compared = 0.0, 0
    for name, path in chosen.items():
        latents, _, decoder = encode(path, x[:count])
        own = {row["latent"]: row["ablation"] for row in table if row["sae"] == name}
        check(all((own[latent] is not None) == (latent in ABLATED) for latent in own), f"{name}: ablated latents")
        for latent in ABLATED:
            changes = []
            for rows in sequences.values():
                values = latents[rows, latent]
                if not (values > 0).any():
                    continue
                ids = torch.tensor([[tokens["token"][row] for row in rows]])
                taken = torch.from_numpy(values[:, None] * decoder[latent][None]).float()
                losses = []
                for without in (0.0, 1.0):
                    hook = lambda module, inputs, output: output - without * taken[None]  # noqa: B023, E731
                    handle = transformer.model.layers[2].register_forward_hook(hook)
                    with torch.no_grad():
                        logits = transformer(input_ids=ids).logits[0, :-1].double()
                    handle.remove()
                    losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none"))
                changes += (losses[1] - losses[0])[torch.from_numpy(values[:-1] > 0)].tolist()
            got = own[latent]
            check(got["tokens"] == len(changes), f"{name} {latent}: {got['tokens']} tokens, not {len(changes)}")
            if changes:
                compared += len(changes)
                furthest = max(furthest, abs(got["ce_delta"] - math.fsum(changes) / len(changes)))
            else:
                check(got["ce_delta"] is None, f"{name} {latent}: a change over no tokens")
    check(furthest < 1e-5, f"changes of the loss differ by {furthest}")
    print(f"ablations of {len(ABLATED)} latents of {len(chosen)} SAEs at {compared} tokens: changes differ by {furthest:.1e} nats at most")


def effects(model, directions):
    """Of each direction on all logits, [latents, vocab] float64: through the final norm's weight and the unembedding."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    names = ("norm", "final_layer_norm", "final_layernorm", "ln_f")
    norm = next(getattr(decoder, name) for name in names if getattr(decoder, name, None) is not None)
    weight = norm.weight.detach().double().numpy() + (1.0 if "Gemma" in type(norm).__name__ else 0.0)
    if isinstance(norm, torch.nn.LayerNorm):
        directions = directions - directions.mean(axis=1, keepdims=True)
    return (directions * weight) @ model.get_output_embeddings().weight.detach().double().numpy().T


def compare_effects(built, folder, family):
    """The tokens whose logits random directions raise and lower."""
    source = folder / family
    shutil.copytree(ROOT / "tests/fixtures/families" / family, source)
    shutil.copy(ROOT / "tests/fixtures/tiny-llama/tokenizer.json", source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    width, d_model, vocabulary = 64, model.config.hidden_size, model.config.vocab_size
    (folder / "ids.jsonl").write_text(json.dumps({"ids": [1 + number % (vocabulary - 1) for number in range(64)]}) + "\n")
    (folder / "ids.toml").write_text(
        'name = "ids"\npacking = "per-document"\ncontext_length = 16\ntokens_field = "ids"\nbos = "none"\n'
        'files = [{ path = "ids.jsonl" }]\n'
    )
    site = "blocks.1.hook_resid_pre"
    cache, sae_folder, out = (folder / f"{family}-{name}" for name in ("cache", "sae", "latents"))
    words = ["--model", source, "--data", folder / "ids.toml", "--site", site, "--logits", "none", "--out", cache]
    programs.quietly(built / "harvest", "run", *words)
    torch.manual_seed(SEED)
    sae = StandardSAE(StandardSAEConfig(d_in=d_model, d_sae=width))
    sae.cfg.metadata.hook_name = site
    sae.W_dec.data = torch.randn(width, d_model)
    sae.save_model(sae_folder)
    words = ["--cache", cache, "--sae", sae_folder, "--model", source, "--logit-tokens", SIMILAR, "--out", out]
    programs.quietly(built / "evaluate", "latents", *words)
    table = pq.read_table(out / "latents.parquet").to_pylist()
    expected = effects(model, sae.W_dec.detach().double().numpy())
    furthest = 0.0
    for row, own in zip(table, expected):
        for column, order in (("logits_raised", np.sort(own)[::-1]), ("logits_lowered", np.sort(own))):
            got = [entry["effect"] for entry in row[column]]
            of_tokens = [own[entry["token"]] for entry in row[column]]
            differences = np.abs([np.subtract(got, order[:SIMILAR]), np.subtract(got, of_tokens)])
            furthest = max(furthest, float(differences.max()))
    check(furthest <= EFFECT_TOLERANCE, f"{family}: effects on logits differ by {furthest}")
    norm = type(model.base_model).__name__
    print(f"{family} ({norm}): effects of {width} directions on {vocabulary} logits differ by {furthest:.1e} at most")


def main():
    built = programs.asked(__doc__, *programs.ALL_TARGETS, names=("harvest", "evaluate"))
    with tempfile.TemporaryDirectory(prefix="hayloft-latents-") as folder:
        folder = Path(folder)
        cache, model = make_cache(built, folder)
        saes = make_saes(built, folder, cache)
        tokens, x = read_cache(cache)
        print(
            f"{len(x)} tokens in sections {dict(Counter(tokens['section']))} and turns {dict(Counter(tokens['turn']))}"
        )
        words = [word for path in saes.values() for word in ("--sae", path)]
        how = [
            "--top",
            TOP,
            "--sampled",
            SAMPLED,
            "--window",
            WINDOW,
            "--seed",
            SEED,
            "--nearest",
            SIMILAR,
            "--cofiring",
            SIMILAR,
        ]
        for exclude in ("none", "bos"):
            out = folder / f"latents-{exclude}"
            more = ["--exclude", exclude, "--tokenizer", model, "--out", out]
            programs.quietly(built / "evaluate", "latents", "--cache", cache, *words, *how, *more)
            table, examples = (pq.read_table(out / f"{name}.parquet").to_pylist() for name in ("latents", "examples"))
            kept = [row for row, section in enumerate(tokens["section"]) if exclude == "none" or section != "bos"]
            for name, path in saes.items():
                compare(name, path, table, examples, tokens, x, kept)
        compare_ablations(built, folder, cache, model, saes, tokens, x)
        for family in FAMILIES:
            compare_effects(built, folder, family)
    if failures:
        sys.exit(f"{len(failures)} failures")
    print("statistics and examples are those of numpy on SAELens's latents")


if __name__ == "__main__":
    main()
