"""Goldens of the identity of models, by transformers' configurations and Python's hashlib.

Writes tests/fixtures/model-identity.json: for checkpoints under tests/fixtures, `facts`, `tensors_sha256` and `sha256`, as
store/FORMAT.md defines them. Nothing here is shared with the Rust code: transformers reads config.json and fills in what it
does not say, and the headers of safetensors files are read by hand.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import hashlib
import json
from decimal import Decimal
from pathlib import Path

from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
CHECKPOINTS = [
    "stories260K",
    *(f"decoder/{name}" for name in ["gemma", "llama-gelu", "llama-tied-biases", "llama2", "llama2-bf16", "llama2-sharded", "llama3", "mistral-window", "qwen2-tied", "tied-llama2-own-head"]),
    *(f"families/{name}" for name in ["gemma2-bf16", "gemma3", "gemma3-multimodal", "gpt-neox", "gpt2", "olmo2", "phi4", "qwen3-yarn"]),
]  # fmt: skip
DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
HEADS = {"gpt_neox": ("embed_out.weight", "gpt_neox.embed_in.weight"), "gpt2": ("lm_head.weight", "transformer.wte.weight")}
NAMES = ("lm_head.weight", "model.embed_tokens.weight")
BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias")


def number(value) -> str:
    """A number with at most twelve significant digits and without an exponent; `none` for None."""
    if value is None:
        return "none"
    return format(Decimal(repr(float(f"{value:.11e}"))).normalize(), "f")


def of_blocks(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def rope_scaling(config, parameters: dict) -> str:
    kind = parameters.get("rope_type", "default")
    if kind == "default":
        return "none"
    if kind == "linear":
        return f"linear factor={number(parameters['factor'])}"
    if kind == "llama3":
        keys = [("factor", "factor"), ("low", "low_freq_factor"), ("high", "high_freq_factor"), ("original", "original_max_position_embeddings")]
        return "llama3 " + " ".join(f"{name}={number(parameters[key])}" for name, key in keys)
    attention = number(ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=1)[1])
    if kind == "yarn":
        fast, slow = parameters.get("beta_fast") or 32, parameters.get("beta_slow") or 1
        truncate = "true" if parameters.get("truncate", True) else "false"
        numbers = f"factor={number(parameters['factor'])} fast={number(fast)} slow={number(slow)}"
        return f"yarn {numbers} original={number(parameters['original_max_position_embeddings'])} truncate={truncate} attention={attention}"
    assert kind == "longrope", kind
    return f"longrope factors={'/'.join(number(factor) for factor in parameters['short_factor'])} attention={attention}"


def facts(whole) -> dict[str, str]:
    config = whole.get_text_config()
    family = config.model_type
    blocks, heads = config.num_hidden_layers, config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    gemma, gpt = family.startswith("gemma"), family in ("gpt2", "gpt_neox")
    scalar = config.query_pre_attn_scalar if family in ("gemma2", "gemma3_text") else head_dim
    types = getattr(config, "layer_types", None) or ["sliding_attention" if family in ("mistral", "phi3") else "full_attention"] * blocks
    window = getattr(config, "sliding_window", None)
    activation = getattr(config, "hidden_activation", None) if gemma else None
    activation = activation or getattr(config, "hidden_act", None) or config.activation_function
    biased = getattr(config, "attention_bias", family == "gpt2")
    found = {
        "dtype": DTYPES[str(whole.dtype).removeprefix("torch.")],
        "vocab_size": str(config.vocab_size),
        "hidden_size": str(config.hidden_size),
        "num_hidden_layers": str(blocks),
        "intermediate_size": str(getattr(config, "intermediate_size", None) or 4 * config.hidden_size),
        "embedding_scale": number(config.hidden_size**0.5 if gemma else None),
        "final_logit_softcapping": number(getattr(config, "final_logit_softcapping", None)),
        "lm_head_bias": "false",
        "norm_placement": "around" if family in ("gemma2", "gemma3_text") else "behind" if family == "olmo2" else "before",
        "residuals": "parallel" if getattr(config, "use_parallel_residual", False) else "sequential",
        "sliding_window": of_blocks([str(window) if window and kind == "sliding_attention" else "none" for kind in types]),
        "hidden_act": {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}.get(activation, activation),
        "mlp": "plain" if gpt else "gated",
        "mlp_bias": "all" if gpt or getattr(config, "mlp_bias", False) else "none",
        "num_attention_heads": str(heads),
        "num_key_value_heads": str(getattr(config, "num_key_value_heads", heads)),
        "head_dim": str(head_dim),
        "attention_scale": number(scalar**-0.5),
        "attention_bias": "inputs" if family == "qwen2" else "all" if biased else "none",
        "query_key_norm": {"qwen3": "each_head", "gemma3_text": "each_head", "olmo2": "all_heads"}.get(family, "none"),
        "attn_logit_softcapping": number(getattr(config, "attn_logit_softcapping", None)),
        "norm": "layer" if gpt else "rms",
        "norm_weight": "one_plus" if gemma else "wide" if gpt or family == "olmo2" else "plain",
    }
    if gpt:
        found["layer_norm_epsilon"] = number(getattr(config, "layer_norm_epsilon", None) or config.layer_norm_eps)
    else:
        found["rms_norm_eps"] = number(config.rms_norm_eps)
    if family == "gpt2":
        return found | {"positions": "learned", "position_offset": "0"}
    ropes = config.rope_parameters
    of_type = [ropes[kind] if kind in ropes else ropes for kind in types]
    rotated = [int(head_dim * rope.get("partial_rotary_factor", 1.0)) for rope in of_type]
    return found | {
        "positions": "rotary",
        "rope_theta": of_blocks([number(rope["rope_theta"]) for rope in of_type]),
        "rope_dimensions": of_blocks([str(width) for width in rotated]),
        "rope_pairs": "halves",
        "rope_scaling": of_blocks([rope_scaling(config, rope) for rope in of_type]),
    }


def tensors(folder: Path):
    """Name, type, shape and bytes of each tensor in the safetensors files of a folder."""
    for file in sorted(folder.glob("model*.safetensors")):
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__":
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                yield name, entry["dtype"], entry["shape"], data[start:end]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tensors_sha256(folder: Path, family: str) -> str:
    lines = {}
    for name, dtype, shape, data in tensors(folder):
        if "vision_tower." in name or "multi_modal_projector." in name or name.endswith(BUFFERS):
            continue
        name = name.replace("language_model.model.", "model.").replace("model.language_model.", "model.")
        if family == "gpt2" and not name.startswith(("transformer.", "lm_head.")):
            name = f"transformer.{name}"
        lines[name] = f"{dtype} {'x'.join(map(str, shape))} {hashlib.sha256(data).hexdigest()}"
    head, embedding = HEADS.get(family, NAMES)
    if lines.get(head) == lines[embedding]:
        del lines[head]
    return sha256("hayloft tensors 1\n" + "".join(f"{name} {line}\n" for name, line in sorted(lines.items())))


def identity(folder: Path) -> dict:
    config = AutoConfig.from_pretrained(folder)
    found, digest = facts(config), tensors_sha256(folder, config.get_text_config().model_type)
    lines = "".join(f"{name} {value}\n" for name, value in sorted(found.items()))
    return {"facts": dict(sorted(found.items())), "tensors_sha256": digest, "sha256": sha256(f"hayloft model 1\n{lines}tensors {digest}\n")}


def main():
    goldens = {name: identity(FIXTURES / name) for name in CHECKPOINTS}
    (FIXTURES / "model-identity.json").write_text(json.dumps(goldens, indent=1) + "\n")


if __name__ == "__main__":
    main()
