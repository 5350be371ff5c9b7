"""The SAEs that SAELens's registry lists, as a table: crates/sae/src/registry/saes.tsv.zst.

A line with eight columns, the first of which is empty, begins a release:
    "", release, repository, loader, model, normalisation, weights, format
and the lines after it are its SAEs:
    id, path (empty where it is the id), site, L0, explained variance, scale, Neuronpedia id
Empty columns are unknown. Normalisation and weights are what the registry says and the files do not; scale is the factor of
expected_average_only_in. The site is that of SAELens's loader, or is told from the id.
"""

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pyarrow
import yaml

assert version("sae-lens") == "6.54.12", version("sae-lens")

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "crates" / "sae" / "src" / "registry" / "saes.tsv.zst"
SITE = re.compile(r"blocks\.\d+\.(?:attn\.|mlp\.)?hook_(?:resid_pre|resid_mid|resid_post|mlp_out|attn_out|z|in)")
FORMATS = {
    "sae_lens": "saelens",
    "gemma_2": "gemma-scope",
    "gemma_2_transcoder": "gemma-scope",
    "gemma_3": "gemma-scope-2",
    "llama_scope": "llama-scope",
    "llama_scope_r1_distill": "llamascopium",
    "dictionary_learning_1": "dictionary-learning",
    "connor_rob_hook_z": "attn-saes",
    "deepseek_r1": "goodfire",
    "goodfire": "goodfire",
    "qwen_scope": "qwen-scope",
    "mwhanna_transcoder": "circuit-tracer",
}
"""The formats here that read what each of SAELens's loaders reads."""


def layer_in(text):
    found = re.search(r"layer_?(\d+)", text)
    return int(found.group(1)) if found else None


def site(loader, repository, name, path):
    """The site of an SAE, in the names of the sites here; empty if it is not known."""
    named = SITE.search(name.replace(".hook_z", ".attn.hook_z") if "attn" not in name else name)
    layer = layer_in(path)
    hook = None
    if loader == "gemma_2":
        hook = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}[re.search(r"-(res|mlp|att)", repository).group(1)]
        layer, hook = (0, "hook_resid_pre") if "embedding" in path else (layer, hook)
    elif loader in ("gemma_2_transcoder", "mwhanna_transcoder"):
        hook = "mlp.hook_in"
    elif loader == "gemma_3":
        kinds = {"resid_post": "hook_resid_post", "attn_out": "attn.hook_z", "mlp_out": "hook_mlp_out", "transcoder": "mlp.hook_in"}
        hook = kinds[path.split("/")[0].removesuffix("_all")]
    elif loader == "llama_scope":
        layer, kind = re.fullmatch(r"l(\d+)([amr])_\d+x", name).groups()
        hook = {"r": "hook_resid_post", "a": "hook_attn_out", "m": "hook_mlp_out"}[kind]
    elif loader == "llama_scope_r1_distill":
        layer, hook = re.search(r"/L(\d+)R$", path).group(1), "hook_resid_post"
    elif loader in ("qwen_scope", "goodfire", "deepseek_r1"):
        layer, hook = re.search(r"layer_?(\d+)|-l(\d+)", path).group(1) or re.search(r"-l(\d+)", path).group(1), "hook_resid_post"
    elif loader == "dictionary_learning_1" and not named:
        hook = "hook_resid_post"
    if hook is not None and layer is not None:
        return f"blocks.{layer}.{hook}"
    return named.group(0) if named else ""


def text(value):
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def main():
    file = Path(importlib.util.find_spec("sae_lens").origin).parent / "pretrained_saes.yaml"
    registry = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    lines, sites = [], 0
    for release, entry in registry.items():
        loader = entry.get("conversion_func") or "sae_lens"
        overrides = entry.get("config_overrides") or {}
        centred = (overrides.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights")
        weights = "centred" if centred else ""
        normalisation = overrides.get("normalize_activations", "")
        head = ["", release, entry["repo_id"], loader, entry["model"], normalisation, weights, FORMATS.get(loader, "")]
        lines.append("\t".join(head))
        for sae in entry["saes"]:
            name, path = sae["id"], str(sae["path"])
            own = site(loader, entry["repo_id"], name, path)
            sites += own != ""
            scale = sae.get("norm_scaling_factor")
            row = [name, "" if path == name else path, own, text(sae.get("l0")), text(sae.get("variance_explained"))]
            row += ["" if scale is None else repr(float(scale)), text(sae.get("neuronpedia"))]
            assert not any("\t" in cell or "\n" in cell for cell in row), row
            lines.append("\t".join(row))
    data = ("\n".join(lines) + "\n").encode()
    OUT.write_bytes(pyarrow.Codec("zstd", compression_level=19).compress(data, asbytes=True))
    count = sum(len(entry["saes"]) for entry in registry.values())
    print(f"{len(registry)} releases, {count} SAEs, {sites} with a site; {len(data)} bytes, {OUT.stat().st_size} compressed")


if __name__ == "__main__":
    main()
