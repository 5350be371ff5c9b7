"""The smallest whole checkpoint: weights, tokenizer, text and an SAE, so that tests and the demo need nothing else.

Writes tests/fixtures/tiny-llama: config.json, model.safetensors, tokenizer.json, tokenizer_config.json, text.jsonl (stories
from a small grammar, with a subset each) and sae/ (SAELens-native, standard, for blocks.1.hook_resid_pre). All weights are
random: the fixture shows that programs run and agree, not findings.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
import random
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "fixtures" / "tiny-llama"
VOCABULARY = 320
D_MODEL = 32
D_SAE = 64

ANIMALS = ["mouse", "owl", "swallow", "barn cat", "old dog", "hen", "carthorse"]
PLACES = ["loft", "barn", "meadow", "yard", "orchard", "lane", "stable"]
DEEDS = ["gathered the hay", "slept till noon", "found a key", "sang to the rain", "hid from the wind", "counted the stars"]
MOODS = ["warm", "tired", "curious", "glad", "quiet", "hungry"]


def story(chance: random.Random) -> dict:
    hero, place = chance.choice(ANIMALS), chance.choice(PLACES)
    sentences = [f"Once there was a {chance.choice(MOODS)} {hero} who lived in the {place}."]
    for _ in range(chance.randint(1, 6)):
        friend = chance.choice(ANIMALS)
        sentences.append(
            chance.choice(
                [
                    f"One day the {hero} {chance.choice(DEEDS)}, and the {friend} {chance.choice(DEEDS)}.",
                    f'"Are you {chance.choice(MOODS)}?" asked the {friend}.',
                    f"They walked to the {chance.choice(PLACES)} and felt {chance.choice(MOODS)}.",
                ]
            )
        )
    return {"text": " ".join(sentences), "meta": {"subset": f"{place} stories"}}


def make_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 8,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    chance = random.Random(0)
    stories = [story(chance) for _ in range(64)]
    (FOLDER / "text.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stories))
    make_tokenizer([line["text"] for line in stories]).save(str(FOLDER / "tokenizer.json"))
    (FOLDER / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<s>"}, "eos_token": "</s>"}) + "\n")

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink()

    sae = FOLDER / "sae"
    sae.mkdir()
    decoder = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL), dim=1)
    weights = {
        "W_dec": decoder,
        "W_enc": decoder.T.contiguous(),
        "b_enc": 0.1 * torch.randn(D_SAE) - 0.2,
        "b_dec": 0.1 * torch.randn(D_MODEL),
    }
    save_file(weights, sae / "sae_weights.safetensors")
    settings = {
        "architecture": "standard",
        "d_in": D_MODEL,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"model_name": "tiny-llama", "hook_name": "blocks.1.hook_resid_pre", "context_size": 64, "prepend_bos": True},
    }
    (sae / "cfg.json").write_text(json.dumps(settings, indent=1) + "\n")
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"tiny-llama           {len(stories)} stories, {size / 1e6:.2f} MB in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
