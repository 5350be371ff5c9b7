"""The trainer of the package ``eai-sparsify`` over a cache: see :class:`Trainer`."""

import dataclasses

import numpy as np

from hayloft._activations import Activations
from hayloft._errors import Error
from hayloft._formats import import_torch

torch = import_torch()
try:
    import sparsify
except ImportError:
    missing = "sparsify: expected the package eai-sparsify, got none. Install it (pip install eai-sparsify)"
    raise Error(missing, "missing_package") from None


class Trainer(sparsify.Trainer):
    """``sparsify.Trainer``, with the rows of a cache in place of a model's outputs.

    ``sites`` has :class:`Activations` of one cache by the name of the hook point that the SAE is saved as, such as
    ``layers.3``. The rows that count at every site, by the rules of :meth:`Activations.batches`, are taken in the order
    of the cache and cut into pieces of ``context`` rows, which are sequences to the trainer: ``cfg.batch_size`` counts
    them. ``shuffle`` is a seed for the order of pieces. The rows after the last whole piece are left out. Activations
    are given as float32.

    Raises :class:`Error` for settings that need a model or its tokens: ``hookpoints``, ``layers``, ``layer_stride``,
    ``exclude_tokens``, ``loss_fn`` other than ``fvu``, and transcoders; and in a group of processes. ``exclude`` leaves
    tokens out.
    """

    def __init__(
        self,
        cfg: "sparsify.TrainConfig",
        sites: "dict[str, Activations]",
        *,
        context: int = 128,
        shuffle: "int | None" = None,
        sections=None,
        exclude="none",
        outlier_norm=None,
        scale: float = 1.0,
        device: "str | torch.device" = "cpu",
    ) -> None:
        check(cfg)
        rules = {"sections": sections, "exclude": exclude, "outlier_norm": outlier_norm, "scale": scale}
        pieces = Pieces.of(sites, rules, context, shuffle)
        super().__init__(dataclasses.replace(cfg, hookpoints=list(sites)), pieces, Replay(sites, torch.device(device)))


def check(cfg: "sparsify.TrainConfig") -> None:
    """Refuses settings that a cache cannot follow."""
    refused = {
        "hookpoints": (cfg.hookpoints, "none, as the sites are given"),
        "layers": (cfg.layers, "none, as the sites are given"),
        "layer_stride": (cfg.layer_stride != 1 and cfg.layer_stride, "1, as the sites are given"),
        "exclude_tokens": (cfg.exclude_tokens, "none, as exclude leaves tokens out"),
        "loss_fn": (cfg.loss_fn != "fvu" and cfg.loss_fn, "fvu, as others need the model"),
        "sae.transcode": (cfg.sae.transcode, "False, as a site has no inputs and outputs"),
    }
    for name, (got, expected) in refused.items():
        if got:
            raise Error(f"{name}: expected {expected}, got {got}")
    if torch.distributed.is_initialized():
        got = f"one of {torch.distributed.get_world_size()}"
        raise Error(f"torch.distributed: expected a process by itself, as rows are not shared out, got {got}")


class Pieces(torch.utils.data.Dataset):
    """Row numbers ``[pieces, context]`` in the place of token ids."""

    def __init__(self, numbers: "torch.Tensor") -> None:
        self.numbers = numbers

    @classmethod
    def of(cls, sites: "dict[str, Activations]", rules: dict, context: int, shuffle: "int | None") -> "Pieces":
        """The pieces of the rows that count at every site."""
        if not sites or len({acts.cache.manifest_blake3 for acts in sites.values()}) > 1:
            raise Error(f"sites: expected sites of one cache, got {', '.join(map(repr, sites.values())) or 'none'}")
        rows = np.flatnonzero(np.logical_and.reduce([acts.mask(**rules) for acts in sites.values()]))
        pieces = len(rows) // context if context > 0 else 0
        if pieces == 0:
            raise Error(f"context: expected a number of rows from 1 to the {len(rows)} that count, got {context}")
        numbers = torch.from_numpy(rows[: pieces * context].reshape(pieces, context))
        if shuffle is not None:
            numbers = numbers[torch.randperm(pieces, generator=torch.Generator().manual_seed(shuffle))]
        return cls(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict:
        return {"input_ids": self.numbers[index]}

    def select(self, indices) -> "Pieces":
        """Some pieces, with which a training resumes."""
        return Pieces(self.numbers[list(indices)])


class HookPoint(torch.nn.Module):
    """Passes activations on, so that a forward hook sees them."""

    def forward(self, activations: "torch.Tensor") -> "torch.Tensor":
        return activations


class Replay(torch.nn.Module):
    """Stands for the language model: passes cached activations through modules with the names of hook points."""

    def __init__(self, sites: "dict[str, Activations]", device: "torch.device") -> None:
        super().__init__()
        self.sites, self.device = {name: acts.with_format("torch") for name, acts in sites.items()}, device
        for name in sites:
            module = self
            for part in name.split("."):
                if part not in dict(module.named_children()):
                    module.add_module(part, HookPoint())
                module = module.get_submodule(part)

    @property
    def base_model(self) -> "Replay":
        return self

    @property
    def dummy_inputs(self) -> dict:
        """Two rows, from which the trainer learns the width of each site."""
        return {"input_ids": torch.arange(2)[None]}

    def forward(self, input_ids: "torch.Tensor") -> None:
        """Reads the rows with these numbers, ``[batch, context]``: at each site ``[batch, context, d_model]``."""
        numbers = input_ids.flatten().cpu()
        for name, acts in self.sites.items():
            rows = acts[numbers].float().to(self.device)
            self.get_submodule(name)(rows.reshape(*input_ids.shape, acts.d_model))
