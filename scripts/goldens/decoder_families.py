"""Goldens of the families of public SAEs, site by site: tiny random checkpoints, and their outputs in transformers.

Each folder under tests/fixtures/families holds a checkpoint as transformers saves it and golden.safetensors:

  tokens              [2, pos] int64
  residual.L          [2, pos, d_model] float32 entering block L; the last one enters the final norm
  logits              [2, pos, vocab] float32
  noise               [2, pos, d_model or wider] float32, to be added to a site's value, its first columns
  site.HOOK           [2, pos, width] of the block SPLICED_BLOCK, by TransformerLens's name of the hook
  spliced.HOOK        [2, LAST, vocab]: logits at the last positions where the value at that site has the noise added to it at
                      the positions SPLICED

Forward hooks read and change all values. The configurations cover hard cases: sequences longer than the window, heads whose
widths do not add up to the model's, grouped key heads, tied and untied heads, partial rotary embedding, caps that take effect.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes. With arguments, only the
folders of these names are made.
"""

import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from decoder import FIXTURES as OLDER
from decoder import randomise, rope

FIXTURES = OLDER.parent / "families"
LENGTH = 24
SPLICED_BLOCK = 1
SPLICED = slice(5, 15)
LAST = 6

SMALL = {
    "vocab_size": 64,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
WINDOWED = ["sliding_attention", "full_attention", "sliding_attention"]
GEMMA = SMALL | {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 20}
LLAMA31 = rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
NEOX = {key: value for key, value in SMALL.items() if key != "num_key_value_heads"}

FAMILIES = {
    "llama31": ("Llama", SMALL | LLAMA31),
    "llama32": ("Llama", SMALL | LLAMA31 | {"tie_word_embeddings": True, "head_dim": 8}),
    "smollm": ("Llama", SMALL | {"tie_word_embeddings": True, "num_attention_heads": 3, "num_key_value_heads": 1}),
    "mistral": ("Mistral", SMALL | {"sliding_window": 6}),
    "qwen2": ("Qwen2", SMALL),
    "qwen3": ("Qwen3", SMALL | {"head_dim": 8}),
    "gemma": ("Gemma", SMALL | {"head_dim": 8}),
    "gemma2": ("Gemma2", GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3": (
        "Gemma3",
        GEMMA
        | {"layer_types": WINDOWED}
        | {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e5},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
            }
        },
    ),
    "gpt2": ("GPT2", {"vocab_size": 64, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64}),
    "gpt-neox": ("GPTNeoX", NEOX | {"num_attention_heads": 3} | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    "gpt-neox-sequential": (
        "GPTNeoX",
        NEOX
        | {"use_parallel_residual": False, "num_attention_heads": 2}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
    ),
    "phi3": ("Phi3", SMALL | {"sliding_window": 6, "pad_token_id": 0, "num_attention_heads": 2} | rope("default", 1e4, partial_rotary_factor=0.5)),
    "olmo2": ("Olmo2", SMALL | {"pad_token_id": 0}),
}
BF16 = ["gemma2", "gpt2", "gpt-neox", "qwen3", "olmo2"]
# Made after the others, whose seeds are their places in the list.
LATER = {
    "gpt-neo": (
        "GPTNeo",
        {"vocab_size": 64, "hidden_size": 24, "num_layers": 3, "num_heads": 4, "max_position_embeddings": 64}
        | {"attention_types": [[["local", "global"], 1], [["local"], 1]], "window_size": 6},
    ),
    "gptj": ("GPTJ", {"vocab_size": 64, "n_embd": 24, "n_layer": 3, "n_head": 2, "n_positions": 64, "rotary_dim": 4}),
    "phi": ("Phi", SMALL | {"num_attention_heads": 2, "num_key_value_heads": 1} | rope("default", 1e4, partial_rotary_factor=0.4)),
    "opt": (
        "OPT",
        {"vocab_size": 64, "hidden_size": 24, "ffn_dim": 40, "num_hidden_layers": 3, "num_attention_heads": 4}
        | {"max_position_embeddings": 64, "word_embed_proj_dim": 24},
    ),
    # As Phi-4-mini: partial rotary embedding, grouped keys, a tied head. Each list has one divisor for each pair of 8 elements.
    "phi4": (
        "Phi3",
        SMALL
        | {"pad_token_id": 0, "tie_word_embeddings": True, "num_attention_heads": 2, "num_key_value_heads": 1}
        | {"original_max_position_embeddings": 32}
        | rope(
            "longrope", 1e4, partial_rotary_factor=0.67, short_factor=[1.0, 1.25, 1.5, 2.0], long_factor=[1.0, 2.0, 4.0, 8.0]
        ),
    ),
    "qwen3-yarn": (
        "Qwen3",
        SMALL | {"head_dim": 8} | rope("yarn", 1e4, factor=4.0, original_max_position_embeddings=16),
    ),
    # Saved with its image encoder.
    "gemma3-multimodal": ("Gemma3Multimodal", GEMMA | {"sliding_window": 6, "layer_types": WINDOWED}),
}
CONFIGS = {"Gemma3": "Gemma3TextConfig"}
LM_HEAD = {"GPT2": "GPT2LMHeadModel", "Gemma3Multimodal": "Gemma3ForConditionalGeneration"}
VISION = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 8,
    "patch_size": 4,
}


class Places:
    """The modules of a transformers model at which the sites of a block are, as ("input" | "output", module)."""

    def __init__(self, model: torch.nn.Module, family: str):
        if family in ("GPT2", "GPTNeo", "GPTJ"):
            self.layers, self.final_norm = model.transformer.h, model.transformer.ln_f
        elif family == "OPT":
            self.layers, self.final_norm = model.model.decoder.layers, model.model.decoder.final_layer_norm
        elif family == "Phi":
            self.layers, self.final_norm = model.model.layers, model.model.final_layernorm
        elif family == "Gemma3Multimodal":
            self.layers, self.final_norm = model.model.language_model.layers, model.model.language_model.norm
        elif family == "GPTNeoX":
            self.layers, self.final_norm = model.gpt_neox.layers, model.gpt_neox.final_layer_norm
        else:
            self.layers, self.final_norm = model.model.layers, model.model.norm
        layer = self.layers[SPLICED_BLOCK]
        self.layer = layer
        # Parallel attention and feed-forward behind one norm: its output is the input of the latter.
        self.one_norm = family in ("GPTJ", "Phi")
        if family == "GPT2":
            self.join, self.ln2, self.layer_norm = layer.attn.c_proj, layer.ln_2, True
        elif family == "GPTNeo":
            self.join, self.ln2, self.layer_norm = layer.attn.attention.out_proj, layer.ln_2, True
        elif family == "GPTJ":
            self.join, self.ln2, self.layer_norm = layer.attn.out_proj, layer.ln_1, True
        elif family == "Phi":
            self.join, self.ln2, self.layer_norm = layer.self_attn.dense, layer.input_layernorm, True
        elif family == "OPT":
            self.join, self.ln2, self.layer_norm = layer.self_attn.out_proj, layer.final_layer_norm, True
        elif family == "GPTNeoX":
            self.join = layer.attention.dense
            self.ln2, self.layer_norm = layer.post_attention_layernorm, True
        else:
            self.join, self.layer_norm = layer.self_attn.o_proj, False
            gemma = family in ("Gemma2", "Gemma3", "Gemma3Multimodal")
            self.ln2 = layer.pre_feedforward_layernorm if gemma else layer.post_attention_layernorm
        behind = family in ("Gemma2", "Gemma3", "Gemma3Multimodal", "Olmo2")
        if family == "Olmo2":
            self.ln2 = None
        self.attention_output = layer.post_attention_layernorm if behind else self.join
        self.mlp = layer.fc1 if family == "OPT" else layer.mlp
        self.mlp_output = layer.fc2 if family == "OPT" else layer.post_feedforward_layernorm if behind else layer.mlp
        self.parallel = self.one_norm or (family == "GPTNeoX" and model.config.use_parallel_residual)
        self.one_plus = family.startswith("Gemma")

    def hooks(self) -> dict[str, tuple[str, torch.nn.Module]]:
        places = {
            "hook_resid_pre": ("input", self.layer),
            "attn.hook_z": ("input", self.join),
            "hook_attn_out": ("output", self.attention_output),
            "mlp.hook_in": ("input", self.mlp),
            "hook_mlp_out": ("output", self.mlp_output),
            "hook_resid_post": ("output", self.layer),
        }
        if not self.parallel:
            # The stream between the two is the input of the norm before the feed-forward part, or of that part itself.
            places["hook_resid_mid"] = ("input", self.ln2 if self.ln2 is not None else self.mlp)
        if self.one_norm:
            places["ln2.hook_normalized"] = ("input", self.mlp)
        elif self.ln2 is not None:
            places["ln2.hook_normalized"] = ("output" if self.layer_norm else "unweighted", self.ln2)
        return places

    def weight(self) -> torch.Tensor:
        weight = self.ln2.weight.detach()
        return weight + 1 if self.one_plus else weight


def by_sequence(value: torch.Tensor) -> torch.Tensor:
    """[2, pos, width], where OPT flattens the first two."""
    return value.reshape(2, LENGTH, -1)


def first(value):
    return value[0] if isinstance(value, tuple) else value


def changed(value, new):
    return (new, *value[1:]) if isinstance(value, tuple) else new


def reading(kind: str, module: torch.nn.Module, keep, places: Places):
    """Registers a hook that passes the value at a place to `keep`."""
    if kind == "input":
        def hook(_module, arguments, keywords):
            keep(arguments[0] if arguments else keywords["hidden_states"])

        return module.register_forward_pre_hook(hook, with_kwargs=True)
    if kind == "output":
        return module.register_forward_hook(lambda _module, _arguments, output: keep(first(output)))
    # TransformerLens's hook_normalized of a root-mean-square norm is before the weight.
    return module.register_forward_hook(lambda _module, _arguments, output: keep(first(output) / places.weight()))


def writing(name: str, places: Places, change):
    """Registers a hook that replaces the value at a place by `change` of it."""
    kind, module = places.hooks()[name]
    if name == "hook_resid_mid":
        # The stream continues past the norm: a change of attention's output changes the stream too.
        kind, module = "output", places.attention_output
    if name == "ln2.hook_normalized" and not places.layer_norm:
        # The input of the feed-forward part is this times the norm's weight.
        def hook(_module, arguments):
            return (change(arguments[0] / places.weight()) * places.weight(), *arguments[1:])

        return places.mlp.register_forward_pre_hook(hook)
    if kind == "input":
        def hook(_module, arguments, keywords):
            if arguments:
                return (change(arguments[0]), *arguments[1:]), keywords
            return arguments, keywords | {"hidden_states": change(keywords["hidden_states"])}

        return module.register_forward_pre_hook(hook, with_kwargs=True)
    return module.register_forward_hook(lambda _module, _arguments, output: changed(output, change(first(output))))


def record(model: torch.nn.Module, family: str, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vocab_size = model.config.get_text_config().vocab_size
    tokens = torch.randint(0, vocab_size, (2, LENGTH), generator=generator)
    places = Places(model, family)
    recorded: dict[str, torch.Tensor] = {}
    handles = []
    for block, layer in enumerate(places.layers):
        handles.append(reading("input", layer, lambda value, block=block: recorded.update({f"residual.{block}": value}), places))
    last = f"residual.{len(places.layers)}"
    handles.append(reading("input", places.final_norm, lambda value: recorded.update({last: value}), places))
    for name, (kind, module) in places.hooks().items():
        handles.append(reading(kind, module, lambda value, name=name: recorded.update({f"site.{name}": by_sequence(value)}), places))
    with torch.no_grad():
        recorded["logits"] = model(tokens).logits
    for handle in handles:
        handle.remove()
    widest = max(value.shape[-1] for name, value in recorded.items() if name.startswith("site."))
    noise = 0.5 * torch.randn((2, LENGTH, widest), generator=generator)

    def change(value: torch.Tensor) -> torch.Tensor:
        new = by_sequence(value).clone()
        new[:, SPLICED] += noise[:, SPLICED, : value.shape[-1]].to(value.dtype)
        return new.reshape(value.shape)

    for name in places.hooks():
        handle = writing(name, places, change)
        with torch.no_grad():
            recorded[f"spliced.{name}"] = model(tokens).logits[:, -LAST:]
        handle.remove()
    golden = {name: tensor.float().contiguous().clone() for name, tensor in recorded.items()}
    return golden | {"tokens": tokens, "noise": noise}


def config_of(family: str, settings: dict):
    if family == "Gemma3Multimodal":
        return transformers.Gemma3Config(text_config=settings, vision_config=VISION, mm_tokens_per_image=4)
    return getattr(transformers, CONFIGS.get(family, f"{family}Config"))(**settings)


def main() -> None:
    made = [(name, torch.float32) for name in FAMILIES] + [(name, torch.bfloat16) for name in BF16]
    made += [(name, torch.float32) for name in LATER]
    chosen = sys.argv[1:]
    if not chosen:
        shutil.rmtree(FIXTURES, ignore_errors=True)
    for seed, (name, precision) in enumerate(made):
        folder = FIXTURES / (name if precision == torch.float32 else f"{name}-bf16")
        if chosen and folder.name not in chosen:
            continue
        family, settings = (FAMILIES | LATER)[name]
        config = config_of(family, settings)
        model_class = getattr(transformers, LM_HEAD.get(family, f"{family}ForCausalLM"))
        model = model_class(config)
        randomise(model, seed)
        model.to(precision).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        model = model_class.from_pretrained(folder, dtype=precision, attn_implementation="eager").eval()
        golden = record(model, family, seed + 2000)
        save_file(golden, folder / "golden.safetensors")
        sites = sum(key.startswith("site.") for key in golden)
        print(f"{folder.name:22} {sites} sites, largest logit {golden['logits'].abs().max():.2f}")
    size = sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in {FIXTURES.name}")


if __name__ == "__main__":
    main()
