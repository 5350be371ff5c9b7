"""Goldens of the decoder: tiny random checkpoints, and their outputs in transformers.

Each folder under tests/fixtures/decoder holds a checkpoint as transformers saves it (config.json and safetensors) and
golden.safetensors: `tokens` [2, pos] int64, `residual.L` [2, pos, d_model] float32 entering block L (the last one enters the
final norm; taken by hooks, since transformers' own hidden_states end after the norm), `logits` [2, pos, vocab] float32.

The configurations cover hard cases: sequences longer than the window, heads whose widths do not add up to the model's,
grouped and single key heads, tied and untied heads, biases, every branch of Llama 3's frequency rule, both spellings of
config.json, shards, bfloat16, a tied configuration over a head that is not the embedding.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "decoder"
LENGTH = 40
SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
# 24 is no square, so the square root that scales the embedding is rounded in bfloat16.
GEMMA = SMALL | {"hidden_size": 24, "num_key_value_heads": 1, "head_dim": 16}


def rope(kind: str, theta: float, **parameters: float) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **parameters}}


# With theta 5e5 the wavelengths of the four pairs are 6, 167, 4443 and 118143: by an original context of 256 the first is
# short, the second medium, the others long.
LLAMA3 = SMALL | {"max_position_embeddings": 2048} | rope(
    "llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=256
)

CHECKPOINTS = {
    "llama2": (LlamaForCausalLM, LlamaConfig(**SMALL, head_dim=12, rms_norm_eps=1e-5)),
    "llama-tied-biases": (
        LlamaForCausalLM,
        LlamaConfig(**SMALL, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    ),
    "llama3": (LlamaForCausalLM, LlamaConfig(**LLAMA3)),
    "llama-linear": (LlamaForCausalLM, LlamaConfig(**SMALL, **rope("linear", 1e4, factor=4.0))),
    "llama-gelu": (LlamaForCausalLM, LlamaConfig(**SMALL, hidden_act="gelu")),
    "mistral-window": (MistralForCausalLM, MistralConfig(**SMALL, head_dim=10, sliding_window=8)),
    "mistral": (MistralForCausalLM, MistralConfig(**SMALL, sliding_window=None)),
    "qwen2-tied": (Qwen2ForCausalLM, Qwen2Config(**SMALL, tie_word_embeddings=True)),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    ),
    "gemma": (GemmaForCausalLM, GemmaConfig(**GEMMA)),
    "gemma-bf16": (GemmaForCausalLM, GemmaConfig(**GEMMA)),
    "llama2-bf16": (LlamaForCausalLM, LlamaConfig(**SMALL, head_dim=12, rms_norm_eps=1e-5)),
    "llama2-sharded": (LlamaForCausalLM, LlamaConfig(**SMALL, head_dim=12, rms_norm_eps=1e-5)),
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights large enough that every part of the model changes the logits; biases that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.add_(0.2 * noise)
            else:
                parameter.copy_(0.3 * noise)


def record(model: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Runs the model and records the residual before each block and before the final norm."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, model.config.vocab_size, (2, LENGTH), generator=generator)
    recorded: dict[str, torch.Tensor] = {}

    def recorder(name: str):
        def hook(_module, arguments, keywords):
            recorded[name] = arguments[0] if arguments else keywords["hidden_states"]

        return hook

    for block, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(recorder(f"residual.{block}"), with_kwargs=True)
    model.model.norm.register_forward_pre_hook(recorder(f"residual.{len(model.model.layers)}"), with_kwargs=True)
    with torch.no_grad():
        recorded["logits"] = model(tokens).logits
    golden = {name: tensor.float().contiguous() for name, tensor in recorded.items()}
    return golden | {"tokens": tokens}


def edit_config(folder: Path, edit) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def copy(source: str, name: str, edit) -> None:
    """The same weights and golden with another spelling of the configuration."""
    folder = FIXTURES / name
    shutil.copytree(FIXTURES / source, folder)
    edit_config(folder, edit)
    print(f"{name:20} as {source}, spelled otherwise")


def older_spelling(config: dict) -> None:
    """As transformers 4 writes it: separate rope_theta, rope_scaling beside it, torch_dtype."""
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = parameters
    config["torch_dtype"] = config.pop("dtype")


def released_gemma_spelling(config: dict) -> None:
    """As in the released Gemma files: "gelu", which means its tanh approximation."""
    older_spelling(config)
    config["rope_scaling"] = None
    config["hidden_act"] = "gelu"
    config["hidden_activation"] = None


def main() -> None:
    shutil.rmtree(FIXTURES, ignore_errors=True)
    for seed, (name, (model_class, config)) in enumerate(CHECKPOINTS.items()):
        model = model_class(config)
        randomise(model, seed)
        precision = torch.bfloat16 if name.endswith("-bf16") else torch.float32
        folder = FIXTURES / name
        model.to(precision).save_pretrained(folder, max_shard_size="60KB" if name.endswith("-sharded") else "1GB")
        (folder / "generation_config.json").unlink()
        # Loaded as a user would: casting a model in memory would round its rotary frequencies too.
        model = model_class.from_pretrained(folder, dtype=precision, attn_implementation="eager").eval()
        golden = record(model, seed + 1000)
        save_file(golden, folder / "golden.safetensors")
        files = len(list(folder.glob("model*.safetensors")))
        print(f"{name:20} {files} weight file(s), largest logit {golden['logits'].abs().max():.2f}")
    copy("llama3", "llama3-older", older_spelling)
    copy("gemma", "gemma-released", released_gemma_spelling)
    # The unembedding in the files is not the embedding: only the configuration claims that they are tied.
    copy("llama2", "tied-llama2-own-head", lambda config: config.update(tie_word_embeddings=True))
    model = LlamaForCausalLM.from_pretrained(FIXTURES / "tied-llama2-own-head", attn_implementation="eager").eval()
    golden = load_file(FIXTURES / "llama2" / "golden.safetensors")
    with torch.no_grad():
        assert torch.equal(model(golden["tokens"]).logits, golden["logits"])
    size = sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in {FIXTURES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
