"""The examples and the notebook of docs/python, with the caches that they name."""

import json
import os
import sys

import nbclient
import nbformat
import programs

from trainer_parts.common import ROOT, SITE, SITES, check

EXAMPLES = ROOT / "docs/python"
SAVED = ("ae.pt", "sae.safetensors", "sae_weights.safetensors")
"""Files of SAEs that the trainers save."""


def run(caches):
    examples(caches)
    notebook(caches)


def examples(caches):
    """Each example, and its SAEs by `evaluate run`; on caches in bfloat16."""
    one, chat = (caches.harvested(model, "bf16").place for model in ("base", "chat"))
    three = caches.harvested("base", "bf16", SITES).place
    arguments = {
        "train_crosscoder": (one, chat, SITE),
        "train_sites_with_saelens": (three,),
        "train_with_dictionary_learning": (one, 2),
        "train_with_saelens": (one, SITE),
        "train_with_sparsify": (three,),
    }
    found = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    check(found == list(arguments), f"examples: {', '.join(found)}")
    for name, given in arguments.items():
        out = caches.folder / name
        printed = programs.quietly(sys.executable, EXAMPLES / f"{name}.py", *given, out, cwd=caches.folder)
        saes = sorted({path.parent for path in out.rglob("*") if path.name in SAVED})
        if name == "train_crosscoder":
            last = printed.strip().splitlines()[-1]
            variance = float(last.split("variance ")[1].split(",")[0])
            check(out.is_file() and variance > 0.5, f"{name}: {last}")
            continue
        check(len(saes) == (3 if three in given else 1), f"{name}: {len(saes)} SAEs")
        for sae in saes:
            site = sae.name if three in given else SITE
            words = ["--cache", three, "--sae", sae, "--site", site, "--exclude", "bos"]
            figures = json.loads(caches.run("evaluate", "run", "--json", *words))[0]
            variance = figures["explained_variance_pooled"]
            told = f"L0 {figures['l0']:.1f}, explained variance {variance:.3f} by evaluate run"
            check(variance > 0.5, f"{name}: {site}: {told}")


def demo(caches):
    """A folder with the notebook's caches, as scripts/demo makes them, of less text."""
    folder = caches.folder / "demo"
    folder.mkdir()
    manifest = (ROOT / "demo/experiment/text-train.toml").read_text().replace("../text", str(ROOT / "demo/text"))
    (folder / "text.toml").write_text(manifest.replace("[[files]]", f"max_tokens = {1 << 18}\n\n[[files]]"))
    model, rollouts = ["--model", "demo/chat"], folder / "rollouts.parquet"
    caches.run("harvest", "rollouts", *model, "--data", "demo/experiment/instructions.toml", "--out", rollouts)
    conversations = ["--data", "demo/experiment/conversations.toml", "--data-root", folder]
    text = ["--data", folder / "text.toml", "--logits", "none"]
    for name, data in [("alpaca-chat", conversations), ("train-chat", text)]:
        caches.run("harvest", "run", *model, *data, "--site", SITE, "--out", folder / "caches" / name)
    return folder


def notebook(caches):
    page = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    check(not any(cell.get("outputs") for cell in page.cells), "the notebook is stored without outputs")
    first = next(cell for cell in page.cells if cell.cell_type == "code")
    places = {'Path("../..").resolve()': ROOT, 'root / "target/demo"': demo(caches)}
    for given, place in places.items():
        check(given in first.source, f"the notebook says {given}")
        first.source = first.source.replace(given, f"Path({str(place)!r})")
    page.cells.append(nbformat.v4.new_code_cell('print(frame.to_json(orient="records"))'))
    os.environ["HAYLOFT_PROGRAMS"] = str(caches.built)
    nbclient.NotebookClient(page, timeout=1800, kernel_name="python3").execute()
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    check(sum("image/png" in output.get("data", {}) for output in outputs) == 1, "the notebook ran, with a plot")
    for row in json.loads(outputs[-1].text):
        variance, recovered = row["explained_variance"], row["ce_recovered"]
        figures = f"L0 {row['l0']:.1f}, explained variance {variance:.3f}, loss recovered {recovered:.3f}"
        check(variance > 0.5 and recovered > 0.5, f"the notebook: SAE {row['sae']}, {row['section']}: {figures}")
