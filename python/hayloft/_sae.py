"""SAEs of every suite as tensors of torch, in the form in which Hayloft computes."""

import json
import math
import os
import tempfile
from pathlib import Path

from hayloft import _figures, _formats
from hayloft._errors import Error

LAYER_NORM_EPSILON = 1e-5
"""SAELens's, added to the standard deviation."""
SCALED_BY_CALLER = ("none", "expected_average_only_in")


class SAE:
    """A sparse autoencoder or transcoder in the normalised form, float32.

    ::

        x [rows, d_in] ── normalise ── − input_bias ── · encoder + encoder_bias ── activation ── latents [rows, width]
        latents ── · decoder + decoder_bias ── undo the normalisation ── + x · skip ── reconstruction [rows, d_out]

    Decoder norms, gates and thresholds of a format are folded into these tensors, so that latents and reconstructions are
    those of ``evaluate``. Use :meth:`load`; ``sae(x)`` is the reconstruction.
    """

    def __init__(self, tensors: dict, fields: dict) -> None:
        self.encoder = tensors["encoder"]
        """``[width, d_in]``."""
        self.encoder_bias = tensors["encoder_bias"]
        """``[width]``."""
        self.decoder = tensors["decoder"]
        """``[width, d_out]``."""
        self.decoder_bias = tensors["decoder_bias"]
        """``[d_out]``."""
        self.input_bias = tensors.get("input_bias")
        """``[d_in]``, subtracted from the normalised input; None without one."""
        self.skip = tensors.get("skip")
        """``[d_out, d_in]``, the skip connection of a transcoder; None without one."""
        self.threshold = tensors.get("threshold")
        """``[width]``, of the activation jumprelu; else None."""
        self.gate_scale, self.gate_bias = tensors.get("gate_scale"), tensors.get("gate_bias")
        """``[width]`` each, of the activation gated: latents are ``relu(pre * gate_scale + gate_bias)`` where
        ``pre > 0``; else None."""
        self.activation: str = fields["activation"]
        """relu, jumprelu (BatchTopK too), topk or gated."""
        self.k: "int | None" = fields["k"]
        """The number of latents of a row, of the activation topk; else None."""
        self.normalisation: str = fields["normalisation"]
        """none, expected_average_only_in (the caller multiplies by :attr:`Activations.scale`), constant_norm_rescale or
        layer_norm."""
        self.architecture: str = fields["architecture"]
        """SAELens's name of the architecture."""
        self.metadata: dict = fields["metadata"]
        """What the files say beside the tensors: ``hook_name``, ``model_name``, ``converted_from``."""

    @classmethod
    def load(cls, sae: "str | os.PathLike", *, device="cpu", options: "tuple[str, ...]" = ()) -> "SAE":
        """Loads an SAE of any format that ``evaluate`` reads: its folder or file, ``RELEASE/ID`` of SAELens's registry, or
        ``OWNER/NAME/PATH`` of the Hugging Face Hub, which is fetched.

        ``options`` are further words for ``evaluate convert``, such as ``("--sae-format", "openai")``. Needs torch and
        safetensors. Raises :class:`Error` of kind ``"program"`` if it is no SAE.
        """
        torch = _formats.import_torch()
        try:
            from safetensors.torch import load_file
        except ImportError:
            missing = "SAE: expected the package safetensors, got none. Install it (pip install safetensors)"
            raise Error(missing, "missing_package") from None
        with tempfile.TemporaryDirectory(prefix="hayloft-") as folder:
            out = Path(folder) / "sae"
            _figures.run("evaluate", ["convert", os.fspath(sae), "--layout", "normalised", "--out", out, *options])
            if not (out / "sae.json").is_file():
                found = len(list(out.iterdir())) if out.is_dir() else 0
                raise Error(f"{sae}: expected one SAE, got {found}. Load them one by one", "invalid")
            fields = json.loads((out / "sae.json").read_text())
            return cls(load_file(out / "sae.safetensors", device=str(torch.device(device))), fields)

    @property
    def width(self) -> int:
        """The number of latents."""
        return self.encoder.shape[0]

    @property
    def d_in(self) -> int:
        """The width of the input."""
        return self.encoder.shape[1]

    @property
    def d_out(self) -> int:
        """The width of the reconstruction: that of the input, but of a transcoder."""
        return self.decoder.shape[1]

    @property
    def site(self) -> "str | None":
        """The hook point that the files name, if they do."""
        return self.metadata.get("hook_name")

    def to(self, device) -> "SAE":
        """The same SAE on a device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if hasattr(value, "detach")}
        fields = {name: getattr(self, name) for name in ("activation", "k", "normalisation", "architecture", "metadata")}
        return SAE(tensors, fields)

    def encode(self, x):
        """The latents ``[..., width]`` float32, never negative, of activations ``[..., d_in]`` of any float dtype."""
        return self._activate(self._pre(self._normalise(self._rows(x))[0]))

    def decode(self, latents, x=None):
        """The reconstruction ``[..., d_out]`` float32 of latents ``[..., width]``.

        ``x`` is what was encoded: an SAE that normalises each row, and a transcoder with a skip connection, need it.
        """
        if x is None and (self.skip is not None or self.normalisation not in SCALED_BY_CALLER):
            why = "a skip connection" if self.skip is not None else self.normalisation
            raise Error(f"decode: expected the activations that were encoded in x, as the SAE has {why}, got none")
        decoded = _formats.import_torch().matmul(latents, self.decoder) + self.decoder_bias
        if x is None:
            return decoded
        x = self._rows(x)
        decoded = self._normalise(x)[1](decoded)
        return decoded if self.skip is None else decoded + x @ self.skip.T

    def __call__(self, x):
        """The reconstruction ``[..., d_out]`` float32 of activations ``[..., d_in]``."""
        return self.decode(self.encode(x), x)

    def _rows(self, x):
        torch = _formats.import_torch()
        x = torch.as_tensor(x)
        if x.shape[-1:] != (self.d_in,) or not x.is_floating_point():
            raise Error(f"SAE: expected floating-point activations [..., {self.d_in}], got {x.dtype} {list(x.shape)}")
        return x.to(self.encoder.device, torch.float32)

    def _normalise(self, x):
        """The encoder's input, and what maps the decoder's output back."""
        if self.normalisation == "constant_norm_rescale":
            factor = math.sqrt(x.shape[-1]) / x.norm(dim=-1, keepdim=True)
            return x * factor, lambda decoded: decoded / factor
        if self.normalisation == "layer_norm":
            mean = x.mean(dim=-1, keepdim=True)
            centred = x - mean
            deviation = centred.std(dim=-1, keepdim=True)
            # Back without the epsilon, as in SAELens.
            return centred / (deviation + LAYER_NORM_EPSILON), lambda decoded: decoded * deviation + mean
        return x, lambda decoded: decoded

    def _pre(self, x):
        if self.input_bias is not None:
            x = x - self.input_bias
        return _formats.import_torch().nn.functional.linear(x, self.encoder, self.encoder_bias)

    def _activate(self, pre):
        if self.activation == "topk":
            values, columns = pre.topk(self.k, dim=-1, sorted=False)
            return pre.new_zeros(pre.shape).scatter_(-1, columns, values.relu())
        if self.activation == "jumprelu":
            return pre.relu() * (pre > self.threshold)
        if self.activation == "gated":
            return (pre * self.gate_scale + self.gate_bias).relu() * (pre > 0)
        return pre.relu()

    def __repr__(self) -> str:
        widths = f"{self.d_in}" if self.d_in == self.d_out else f"{self.d_in} -> {self.d_out}"
        return f"<hayloft.SAE {self.architecture}, {widths}, {self.width} latents>"
