#!/usr/bin/env python3
"""Runs data-manifests/gemma-3 from `harvest fetch` to the report, on small random weights with released configurations.

Proves: the experiment on Gemma 3 runs as it stands, with transformers' losses
Needs: ../shared, SAELens environment, LibTorch, zstd
Takes: minutes

  scripts/check gemma-3 [SIZE…]      270m, 1b, 4b [default: all]
      --files DIR                    the folder of released files [default: ../shared/released]
      --programs DIR                 built programs [default: builds them in debug]

The folder `hub` stands for the Hugging Face Hub's cache, from which data-manifests/gemma-3/run fetches without a network: models in
the layout of the released ones (4B beside an image encoder), SAEs in that of Gemma Scope 2 (those of 270M without config.json), the
demo's documents and instructions in place of The Pile and Alpaca. Widths are smaller than the configurations', and the vocabulary is
that of a tokenizer in Gemma's form, which is trained here. Clean and spliced losses are then computed with transformers and numpy.
Exit code 1 if one differs by more than 2e-4, or if the report lacks a figure.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
if not {"--help", "-h"} & set(sys.argv):
    environment.enter("goldens")

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText  # noqa: E402

EXPERIMENT = ROOT / "data-manifests/gemma-3"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ALPACA_COMMIT = "dce01c9b08f87459cf36a430d809084718273017"
TOLERANCE = 2e-4
VOCABULARY, D_SAE, BOS = 1024, 128, 2
DOCUMENTS, INSTRUCTIONS = 70, 10
"""Of the demo's: about two contexts of text, and a few instructions without an input."""
NARROW = {"hidden_size": 32, "intermediate_size": 64, "head_dim": 16, "vocab_size": VOCABULARY}
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "image_size": 32,
    "patch_size": 16,
}
GENERATION = {"cache_implementation": "hybrid", "do_sample": True, "top_k": 64, "top_p": 0.95, "bos_token_id": BOS, "pad_token_id": 0}
TOKENIZER = {
    "tokenizer_class": "GemmaTokenizer",
    "add_bos_token": True,
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}

# Of each size: the released configuration, the base model's repository, the layer of the SAEs.
SIZES = {
    "270m": ("gemma-3-270m-transformers-5", "gemma-3-270m", 9),
    "1b": ("gemma-3-1b-it", "gemma-3-1b-pt", 13),
    # The smallest released one that has an image encoder, and as many blocks as the 4B model.
    "4b": ("gemma-3-12b-it", "gemma-3-4b-pt", 17),
}
BLOCKS_4B = 34


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows_of(path: Path, count: int) -> list[dict]:
    text = programs.quietly("zstd", "-dc", path) if path.suffix == ".zst" else path.read_text()
    return [json.loads(line) for line in itertools.islice(text.splitlines(), count)]


def snapshot(hub: Path, kind: str, repo: str, commit: str = COMMIT) -> Path:
    """The folder of a repository's files in the Hub's cache."""
    repository = hub / f"{kind}--{repo.replace('/', '--')}"
    write(repository / "refs/main", commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    return repository / "snapshots" / commit


def make_data(hub: Path) -> None:
    documents = rows_of(ROOT / "demo/text/heldout.jsonl.zst", DOCUMENTS)
    pile = snapshot(hub, "datasets", "monology/pile-uncopyrighted") / "val.jsonl"
    pile.write_text("".join(json.dumps(row) + "\n" for row in documents))
    programs.quietly("zstd", "-q", "--rm", pile)
    folder = snapshot(hub, "datasets", "tatsu-lab/alpaca", ALPACA_COMMIT) / "data"
    folder.mkdir()
    instructions = rows_of(ROOT / "demo/instructions/heldout.jsonl", INSTRUCTIONS)
    pq.write_table(pa.Table.from_pylist(instructions), folder / "train-00000-of-00001-a09b74b3ef9c3b56.parquet")


def make_tokenizer(folder: Path) -> None:
    """A tokenizer in the form of Gemma's: its special tokens at its ids, bytes for what is not in the vocabulary, ▁ for blanks."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]", *(f"<unused{i}>" for i in range(99))]
    special += ["<start_of_turn>", "<end_of_turn>"]
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    words = [f"▁{word}" for row in rows_of(ROOT / "demo/text/heldout.jsonl.zst", 1060) for word in row["text"].split()]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 256, special_tokens=special, show_progress=False)
    made.train_from_iterator(words, trainer)
    made.post_processor = processors.TemplateProcessing("<bos> $A", None, [("<bos>", 2)])
    contents = json.loads(made.to_str())
    vocabulary = contents["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    (folder / "tokenizer.json").write_text(json.dumps(contents))


def make_model(folder: Path, config: dict, tokenizer: Path, settings: dict, seed: int) -> None:
    """Writes a checkpoint of random weights as transformers saves it, with the released configuration."""
    write(folder / "config.json", json.dumps(config))
    kind = AutoModelForImageTextToText if "vision_config" in config else AutoModelForCausalLM
    model = kind.from_config(AutoConfig.from_pretrained(folder))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.2 * noise if "norm" in name else 0.1 * noise)
        # As in Gemma, the norm of BOS is far above that of any other token, and does not reach the logits.
        text = getattr(model.model, "language_model", model.model)
        text.embed_tokens.weight[BOS, 0] = 200.0
        text.norm.weight[0] = -1.0
    model.save_pretrained(folder)
    write(folder / "config.json", json.dumps(config))
    write(folder / "generation_config.json", json.dumps(GENERATION | {"eos_token_id": config["eos_token_id"]}))
    write(folder / "tokenizer.json", (tokenizer / "tokenizer.json").read_text())
    write(folder / "tokenizer_config.json", json.dumps(TOKENIZER | settings))


def make_sae(folder: Path, width: int, seed: int, config: dict | None) -> None:
    """Writes a random SAE of which about a tenth of the latents fire."""
    generator = np.random.default_rng(seed)
    encoder = generator.normal(size=(width, D_SAE)) / np.sqrt(width)
    tensors = {
        "w_enc": encoder,
        "w_dec": 0.5 * encoder.T,
        "b_enc": 0.1 * generator.normal(size=D_SAE),
        "b_dec": 0.1 * generator.normal(size=width),
        "threshold": np.full(D_SAE, 1.0),
    }
    folder.mkdir(parents=True)
    save_file({name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}, folder / "params.safetensors")
    if config is not None:
        write(folder / "config.json", json.dumps(config))


def make_size(hub: Path, size: str, files: Path, tokenizer: Path) -> None:
    released, base, layer = SIZES[size]
    config = json.loads((files / f"models/{released}.json").read_text())
    config |= {"dtype": "float32"} if "dtype" in config else {"torch_dtype": "float32"}
    if "vision_config" in config:
        config["text_config"] |= NARROW | {"num_hidden_layers": BLOCKS_4B}
        config["vision_config"] |= VISION
        config |= {"boi_token_index": 4, "eoi_token_index": 5, "image_token_index": VOCABULARY - 1, "mm_tokens_per_image": 4}
    else:
        config |= NARROW
    template = (files / "templates/google-gemma-2b-it.jinja").read_text()
    for seed, (name, settings, end) in enumerate(((base, {}, 1), (f"gemma-3-{size}-it", {"chat_template": template}, [1, 106]))):
        folder = snapshot(hub, "models", f"google/{name}")
        make_model(folder, config | {"eos_token_id": end}, tokenizer, settings, seed)
        kind = "it" if seed else "pt"
        sae_config = json.loads((files / "saes/gemma-scope-2-4b-pt/resid_post/layer_17_width_16k_l0_big/config.json").read_text())
        sae_config |= {"width": D_SAE, "model_name": f"google/{name}"}
        sae_config |= dict.fromkeys(("hf_hook_point_in", "hf_hook_point_out"), f"model.layers.{layer}.output")
        path = f"resid_post/layer_{layer}_width_16k_l0_medium"
        repository = snapshot(hub, "models", f"google/gemma-scope-2-{size}-{kind}")
        make_sae(repository / path, NARROW["hidden_size"], seed, None if size == "270m" else sae_config)


def sequences_of(cache: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The token ids and the sections of each sequence of a cache."""
    columns = ["sequence", "token", "section"]
    paths = sorted(cache.glob("shards/*/tokens.parquet"))
    table = pa.concat_tables([pq.read_table(path, columns=columns, partitioning=None) for path in paths])
    sequence, token = (table[name].to_numpy() for name in ("sequence", "token"))
    section = np.array(table["section"].to_pylist())
    return [(token[sequence == number], section[sequence == number]) for number in np.unique(sequence)]


class Oracle:
    """A checkpoint in transformers, with reconstructions in place of the output of one layer."""

    def __init__(self, folder: Path, layer: int):
        has_images = "vision_config" in json.loads((folder / "config.json").read_text())
        kind = AutoModelForImageTextToText if has_images else AutoModelForCausalLM
        self.model = kind.from_pretrained(folder, dtype=torch.float32).eval()
        text = getattr(self.model.model, "language_model", self.model.model)
        text.layers[layer].register_forward_hook(self.hook)
        self.change, self.seen = None, None

    def hook(self, _module, _arguments, output):
        value = output[0] if isinstance(output, tuple) else output
        if self.change is None:
            self.seen = value[0].numpy().astype(np.float64)
            return None
        changed = torch.from_numpy(self.change(value[0].numpy().astype(np.float64))).float()[None]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    @torch.no_grad()
    def losses(self, tokens: np.ndarray, change=None) -> np.ndarray:
        """The loss at each position but the last."""
        self.change = change
        ids = torch.from_numpy(tokens.astype(np.int64))
        logits = self.model(input_ids=ids[None]).logits[0].double()
        return torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none").numpy()


def reconstruct(sae: dict, x: np.ndarray) -> np.ndarray:
    before = x @ sae["w_enc"] + sae["b_enc"]
    return np.where(before > sae["threshold"], np.maximum(before, 0), 0) @ sae["w_dec"] + sae["b_dec"]


def spliced(oracle: Oracle, saes: list[dict], sequences: list, section: str | None, largest: float) -> list[float]:
    """For each SAE, the loss of a section, with rows of a norm above the largest left as they are."""
    runs = [[] for _ in saes]
    for tokens, sections in sequences:
        taken = sections == section if section else np.full(len(tokens), True)
        for run, sae in zip(runs, saes):

            def change(x, sae=sae, taken=taken):
                replaced = taken & (np.linalg.norm(x, axis=-1) <= largest)
                return np.where(replaced[:, None], reconstruct(sae, x), x)

            run.append(oracle.losses(tokens, change)[taken[:-1]])
    return [float(np.concatenate(run).mean()) for run in runs]


def clean(oracle: Oracle, sequences: list, section: str | None) -> tuple[float, float]:
    """The clean loss of a section, and the median norm of all rows."""
    norms, losses = [], []
    for tokens, sections in sequences:
        taken = sections == section if section else np.full(len(tokens), True)
        losses.append(oracle.losses(tokens)[taken[:-1]])
        norms.append(np.linalg.norm(oracle.seen, axis=-1))
    return float(np.concatenate(losses).mean()), float(np.median(np.concatenate(norms)))


def check_size(size: str, out: Path, data: Path) -> list[str]:
    """What is wrong with the figures of a size."""
    _, base, layer = SIZES[size]
    place = f"resid_post/layer_{layer}_width_16k_l0_medium/params.safetensors"
    saes = [load_file(data / f"gemma-scope-2-{size}-{kind}" / place) for kind in ("pt", "it")]
    saes = [{name: tensor.astype(np.float64) for name, tensor in sae.items()} for sae in saes]
    wrong = []
    for cell, model, section in (("pile-base", base, None), ("alpaca-chat", f"gemma-3-{size}-it", "rollout")):
        oracle, sequences = Oracle(data / model, layer), sequences_of(out / f"caches/{cell}")
        clean_loss, median = clean(oracle, sequences, section)
        for outliers, largest in (("kept", np.inf), ("filtered", 10 * median)):
            results = json.loads((out / f"results/{cell}-{outliers}/results.json").read_text())
            results = [result for result in results if result["section"] == (section or "all")]
            count = sum(int((tokens == BOS).sum()) for tokens, _ in sequences)
            if outliers == "filtered" and not section and results[0]["outlier_rows"] != count:
                wrong.append(f"{cell}: expected {count} tokens of BOS as outliers, got {results[0]['outlier_rows']} rows")
            for result, loss in zip(results, spliced(oracle, saes, sequences, section, largest), strict=True):
                got = [result["ce_clean"], result["ce_sae"]]
                apart = max(abs(got[0] - clean_loss), abs(got[1] - loss))
                sae = result["sae"].split("__")[0]
                print(f"{cell} {outliers} {sae}: clean {got[0]:.5f}, spliced {got[1]:.5f}, apart by {apart:.1e}", flush=True)
                if not apart <= TOLERANCE:
                    wrong.append(f"{cell} {outliers} {result['sae']}: expected {[clean_loss, loss]}, got {got}")
    rows = json.loads((out / "report/summary.json").read_text())["rows"]
    # Two SAEs, two models and outliers kept or not, on text and on two sections.
    if len(rows) != 24 or any(row[figure] is None for row in rows for figure in ("l0", "ce_sae", "explained_variance")):
        wrong.append(f"report: expected 24 rows with every figure, got {len(rows)}")
    return [f"{size} {problem}" for problem in wrong]


def unpublished(built: Path, size: str) -> list[str]:
    """The SAEs of a size that SAELens's registry does not have."""
    path = f"resid_post/layer_{SIZES[size][2]}_width_16k_l0_medium"
    problems = []
    for kind in ("pt", "it"):
        releases = json.loads(programs.quietly(built / "evaluate", "list", f"gemma-scope-2-{size}-{kind}-res", "--json"))
        if not any(sae["path"] == path for release in releases for sae in release["saes"]):
            problems.append(f"{size}: expected {path} of {kind} in SAELens's registry, found none")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", metavar="SIZE")
    parser.add_argument("--files", type=Path, default=ROOT.parent / "shared" / "released", metavar="DIR")
    programs.add_option(parser)
    arguments = parser.parse_args()
    if not (arguments.files / "models").is_dir():
        programs.fail(f"{arguments.files}: expected a folder of released files, found none. Name one with --files")
    if unknown := set(arguments.sizes) - SIZES.keys():
        programs.fail(f"expected sizes of {', '.join(SIZES)}, got {', '.join(sorted(unknown))}")
    built = programs.given_or_built(arguments.programs, *programs.ALL_TARGETS)
    wrong = [problem for size in arguments.sizes or SIZES for problem in unpublished(built, size)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_tokenizer(folder)
        make_data(folder / "hub")
        for size in arguments.sizes or SIZES:
            make_size(folder / "hub", size, arguments.files, folder)
            here = os.environ | {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
            out, data = folder / size, folder / "data"
            command = [EXPERIMENT / "run", size, "--data", data, "--out", out, "--programs", built]
            programs.quietly(*command, env=here)
            wrong += check_size(size, out, data)
    for problem in wrong:
        print(problem)
    count = len(arguments.sizes or SIZES)
    print(f"{len(wrong)} figures of {count} sizes are wrong" if wrong else f"{count} sizes run to the report, with transformers' losses")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
