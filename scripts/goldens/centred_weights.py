"""Goldens of centred writing weights: TransformerLens's model of the GPT-2 fixture with `center_writing_weights`.

tests/fixtures/families/gpt2/centred.safetensors: `site.HOOK` [2, pos, d_model] of block 1, by TransformerLens's hooks; and
`spliced.HOOK` [2, LAST, vocab], log-probabilities at the last positions with the golden's noise added to the value at that site
at the positions SPLICED. The tokens and the noise are those of golden.safetensors beside it.

Run by scripts/goldens/run after decoder_families.py. A second run gives the same bytes.
"""

import torch
from decoder_families import FIXTURES, LAST, SPLICED, SPLICED_BLOCK
from safetensors.torch import load_file, save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights
from transformers import GPT2LMHeadModel

HOOKS = ["hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post"]


def main() -> None:
    folder = FIXTURES / "gpt2"
    reference = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager").eval()
    config = reference.config
    model = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config.n_layer,
            d_model=config.n_embd,
            n_ctx=config.n_positions,
            n_heads=config.n_head,
            d_head=config.n_embd // config.n_head,
            d_mlp=4 * config.n_embd,
            d_vocab=config.vocab_size,
            act_fn="gelu_new",
            normalization_type="LN",
            eps=config.layer_norm_epsilon,
            device="cpu",
        )
    )
    state = convert_gpt2_weights(reference, model.cfg)
    processing = {"fold_ln": False, "center_unembed": False, "fold_value_biases": False}
    model.load_and_process_state_dict(state, center_writing_weights=True, **processing)
    golden = load_file(folder / "golden.safetensors")
    tokens, noise = golden["tokens"], golden["noise"]
    recorded = {}
    with torch.no_grad():
        logits, cache = model.run_with_cache(tokens)
        apart = (logits.log_softmax(-1) - golden["logits"].log_softmax(-1)).abs().max().item()
        print(f"the model with centred weights predicts the same: within {apart:.1e}")
        for hook in HOOKS:
            name = f"blocks.{SPLICED_BLOCK}.{hook}"
            recorded[f"site.{hook}"] = cache[name]

            def change(value, hook):
                value = value.clone()
                value[:, SPLICED] += noise[:, SPLICED, : value.shape[-1]]
                return value

            spliced = model.run_with_hooks(tokens, fwd_hooks=[(name, change)])
            recorded[f"spliced.{hook}"] = spliced[:, -LAST:].log_softmax(-1)
    save_file({name: tensor.float().contiguous() for name, tensor in recorded.items()}, folder / "centred.safetensors")


if __name__ == "__main__":
    main()
