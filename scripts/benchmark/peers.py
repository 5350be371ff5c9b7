"""SAELens and transformers on the same model, SAEs and tokens. Importing and loading are never in the seconds.

SAELens runs a model as TransformerLens's HookedTransformer (its default, and that of its evaluation command) or as transformers'
own class (`AutoModelForCausalLM`). Both are measured.
"""

import logging
import shutil
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

warnings.filterwarnings("ignore")

from sae_lens import SAE  # noqa: E402
from sae_lens.cache_activations_runner import CacheActivationsRunner  # noqa: E402
from sae_lens.config import CacheActivationsRunnerConfig  # noqa: E402
from sae_lens.evals import EvalConfig, run_evals  # noqa: E402
from sae_lens.load_model import HookedProxyLM  # noqa: E402
from sae_lens.training.activation_scaler import ActivationScaler  # noqa: E402
from sae_lens.training.activations_store import ActivationsStore  # noqa: E402
from transformer_lens import HookedTransformer  # noqa: E402
from transformer_lens import loading_from_pretrained as loading  # noqa: E402

from ours import THREADS, Measurement, folder_bytes  # noqa: E402
from workload import BATCH, CONTEXT, D_MODEL, MIDDLE, SITE  # noqa: E402

logging.disable(logging.WARNING)

# SAELens's kinds of model, and their names of the hook where the residual enters the middle block.
HOOKS = {"HookedTransformer": SITE, "AutoModelForCausalLM": f"model.layers.{MIDDLE - 1}"}
STORED = {"f32": "float32", "bf16": "bfloat16"}
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Peers:
    """The peers over `tokens` [contexts, CONTEXT], of which SAELens takes BATCH contexts at a time."""

    def __init__(self, model: Path, sae: Path, tokens: torch.Tensor, scratch: Path) -> None:
        torch.set_num_threads(THREADS)
        self.folder, self.sae_folder, self.tokens, self.scratch = model, sae, tokens, scratch

    @cache  # noqa: B019
    def transformers(self, dtype: str) -> Any:
        """The bare model."""
        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=TYPES[dtype]).eval()

    @cache  # noqa: B019
    def lower_half(self, dtype: str) -> Any:
        """The bare model, cut off where the residual enters the middle block."""
        half = AutoModelForCausalLM.from_pretrained(self.folder, dtype=TYPES[dtype]).eval().model
        half.layers = half.layers[:MIDDLE]
        return half

    @cache  # noqa: B019
    def hooked(self, kind: str, dtype: str) -> Any:
        """The model in SAELens's wrapper."""
        if kind == "HookedTransformer":
            # As `from_pretrained_no_processing`, which takes only models on TransformerLens's list.
            config = loading.get_pretrained_model_config(str(self.folder), device="cpu", dtype=TYPES[dtype])
            weights = loading.get_pretrained_state_dict(str(self.folder), config, self.transformers(dtype), dtype=TYPES[dtype])
            model = HookedTransformer(config, AutoTokenizer.from_pretrained(self.folder))
            unchanged = dict.fromkeys(["fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"], False)
            model.load_and_process_state_dict(weights, **unchanged)
            return model.eval()
        bare = AutoModelForCausalLM.from_pretrained(self.folder, dtype=TYPES[dtype]).eval()
        return HookedProxyLM(bare, AutoTokenizer.from_pretrained(self.folder), hook_names=[HOOKS[kind]])

    @cache  # noqa: B019
    def sae(self, kind: str, dtype: str) -> Any:
        """The first SAE, at that model class's name of the hook."""
        sae = SAE.load_from_disk(self.sae_folder, device="cpu", dtype=STORED[dtype]).eval()
        sae.cfg.metadata.hook_name = HOOKS[kind]
        return sae

    def store(self, kind: str, dtype: str, tokens: torch.Tensor, batch: int) -> ActivationsStore:
        """SAELens's source of batches, over tokens that already are full contexts."""
        return ActivationsStore(
            model=self.hooked(kind, dtype),
            dataset=Dataset.from_dict({"tokens": tokens.tolist()}),
            streaming=False,
            hook_name=HOOKS[kind],
            hook_head_index=None,
            context_size=CONTEXT,
            d_in=D_MODEL,
            n_batches_in_buffer=1,
            total_training_tokens=tokens.numel(),
            store_batch_size_prompts=batch,
            train_batch_size_tokens=batch * CONTEXT,
            prepend_bos=False,
            normalize_activations="none",
            device=torch.device("cpu"),
            dtype=STORED[dtype],
        )

    def evaluate(self, kind: str, dtype: str, config: dict[str, bool]) -> Measurement:
        """SAELens's `run_evals` with the metrics that `config` enables."""
        tokens = self.tokens
        batch = min(BATCH, len(tokens))
        batches = len(tokens) // batch
        settings = EvalConfig(
            batch_size_prompts=batch,
            n_eval_reconstruction_batches=batches,
            n_eval_sparsity_variance_batches=batches,
            **config,
        )
        store, sae, model = self.store(kind, dtype, tokens, batch), self.sae(kind, dtype), self.hooked(kind, dtype)
        started = time.perf_counter()
        metrics, _ = run_evals(sae, store, model, ActivationScaler(), settings, exclude_special_tokens=False)
        seconds = time.perf_counter() - started
        flat = {name: value for group in metrics.values() for name, value in group.items()}
        return {"seconds": seconds, "tokens": tokens.numel(), "model_class": kind, "metrics": flat}

    def harvest(self, kind: str, dtype: str) -> Measurement:
        """SAELens's `CacheActivationsRunner`, writing included."""
        tokens = self.tokens
        folder = self.scratch / f"saelens-{dtype}"
        shutil.rmtree(folder, ignore_errors=True)
        batch = min(BATCH, len(tokens))
        stored = "float16" if dtype == "bf16" else STORED[dtype]  # its files have no bfloat16
        config = CacheActivationsRunnerConfig(
            dataset_path="bench",
            model_name=str(self.folder),
            model_batch_size=batch,
            hook_name=HOOKS[kind],
            d_in=D_MODEL,
            training_tokens=tokens.numel(),
            context_size=CONTEXT,
            new_cached_activations_path=str(folder),
            shuffle=False,
            prepend_bos=False,
            streaming=False,
            dtype=stored,
            device="cpu",
            # One buffer of exactly these tokens; a byte more, because SAELens rounds down.
            buffer_size_gb=(tokens.numel() * D_MODEL * (2 if dtype == "bf16" else 4) + 1) / 1e9,
        )
        dataset = Dataset.from_dict({"tokens": tokens.tolist()})
        with patch("sae_lens.cache_activations_runner.load_model", return_value=self.hooked(kind, dtype)):
            runner = CacheActivationsRunner(config, override_dataset=dataset)
        started = time.perf_counter()
        written = runner.run()
        seconds = time.perf_counter() - started
        if len(written) != len(tokens):
            raise RuntimeError(f"SAELens wrote {len(written)} contexts, expected {len(tokens)}")
        return {
            "seconds": seconds,
            "tokens": tokens.numel(),
            "model_class": kind,
            "stored": stored,
            "folder_bytes": folder_bytes(folder),
        }

    def forward(self, dtype: str, whole: bool) -> Measurement:
        """transformers' forward pass alone: to the logits, or to the middle block."""
        model = self.transformers(dtype) if whole else self.lower_half(dtype)
        with torch.inference_mode():
            model(self.tokens[:1], use_cache=False)
            started = time.perf_counter()
            for batch in self.tokens.split(BATCH):
                model(batch, use_cache=False)
            seconds = time.perf_counter() - started
        return {"seconds": seconds, "tokens": self.tokens.numel()}
