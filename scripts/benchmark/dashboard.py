"""Prints the seconds that SAEDashboard's runner takes for the first latents of an SAE, on the live model. A part of
`latents_elsewhere.py`, in an environment of its own, since SAEDashboard 0.8.0 needs an older transformers.

  dashboard.py MODEL SAE HOOK TOKENS.npy LATENTS

TOKENS are `[contexts, context]`. Imports and loading do not count, nor does the page that SAEDashboard can make of its data. The
runner keeps the model's activations in files, so that the model runs once and not for each batch of latents. It takes 256 latents
at a time, its default, which was the fastest of 128, 256 and 512.
"""

import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sae_dashboard.sae_vis_data import SaeVisConfig  # noqa: E402
from sae_dashboard.sae_vis_runner import SaeVisRunner  # noqa: E402
from sae_lens import SAE, HookedSAETransformer  # noqa: E402
from transformer_lens import loading_from_pretrained as loading  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

logging.disable(logging.WARNING)
THREADS = 2
CONTEXTS_AT_ONCE, LATENTS_AT_ONCE = 8, 256


def hooked(folder: str) -> HookedSAETransformer:
    """As `from_pretrained_no_processing`, which takes only models on TransformerLens's list."""
    bare = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    config = loading.get_pretrained_model_config(folder, device="cpu", dtype=torch.float32)
    weights = loading.get_pretrained_state_dict(folder, config, bare, dtype=torch.float32)
    model = HookedSAETransformer(config, AutoTokenizer.from_pretrained(folder))
    unchanged = dict.fromkeys(["fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"], False)
    model.load_and_process_state_dict(weights, **unchanged)
    return model.eval()


def main() -> None:
    model_folder, sae_folder, hook, tokens_path, latents = sys.argv[1:]
    torch.set_num_threads(THREADS)
    tokens = torch.from_numpy(np.load(tokens_path))
    model, sae = hooked(model_folder), SAE.load_from_disk(sae_folder).eval()
    with tempfile.TemporaryDirectory() as folder:
        config = SaeVisConfig(
            hook_point=hook,
            features=list(range(int(latents))),
            minibatch_size_features=LATENTS_AT_ONCE,
            minibatch_size_tokens=CONTEXTS_AT_ONCE,
            cache_dir=Path(folder),
        )
        start = time.perf_counter()
        data = SaeVisRunner(config).run(encoder=sae, model=model, tokens=tokens)
        seconds = time.perf_counter() - start
    if len(data.feature_data_dict) != len(config.features):
        sys.exit(f"error: expected data of {len(config.features)} latents, got {len(data.feature_data_dict)}")
    print(seconds)


if __name__ == "__main__":
    main()
