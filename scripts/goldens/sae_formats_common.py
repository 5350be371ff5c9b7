"""Shared code of the generators of tests/fixtures/sae-formats: inputs, weights, folders and goldens."""

import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__

OUT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "sae-formats"
D_IN, D_SAE, D_OUT, ROWS, K = 16, 48, 12, 24, 6


def inputs():
    generator = torch.Generator().manual_seed(20240502)
    x = torch.randn(ROWS, D_IN, generator=generator) + torch.linspace(-0.5, 0.8, D_IN)
    x = normalize(x, dim=-1) * (3.0 + 2.0 * torch.rand(ROWS, 1, generator=generator))
    x[7] *= 60.0 / x[7].norm()
    return x


X = inputs()


def weights(case, d_out=D_IN):
    """Random weights, different in each case; decoder rows have norms from about 0.4 to 2."""
    generator = torch.Generator().manual_seed(zlib.crc32(case.encode()))
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    norms = 0.4 + 1.6 * torch.rand(D_SAE, 1, generator=generator)
    return {
        "W_enc": 0.3 * draw(D_IN, D_SAE),
        "W_dec": normalize(draw(D_SAE, d_out), dim=-1) * norms,
        "b_enc": 0.4 * draw(D_SAE),
        "b_dec": 0.5 * draw(d_out),
        "threshold": 0.4 + 0.8 * torch.rand(D_SAE, generator=generator),
        "W_skip": 0.2 * draw(d_out, D_IN),
        "b_gate": 0.4 * draw(D_SAE),
        "b_mag": 0.4 * draw(D_SAE),
        "r_mag": 0.3 * draw(D_SAE),
    }


def new_folder(case):
    folder = OUT / case
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_golden(case, run):
    """`run` maps x [rows, d_in] float32 to latents and reconstruction."""
    with torch.no_grad():
        latents, reconstruction = run(X)
        for nudge in (1 - 1e-5, 1 + 1e-5):
            nudged, _ = run(X * nudge)
            assert torch.equal(nudged != 0, latents != 0), f"{case}: a latent lies on its threshold"
    tensors = {"latents": latents, "reconstruction": reconstruction}
    save_file({name: value.float().contiguous() for name, value in tensors.items()}, OUT / case / "golden.safetensors")
    fired = (latents != 0).float().sum(-1).mean().item()
    assert 1 < fired < 40, (case, fired)
    print(f"{case}: L0 {fired:.2f}, reconstruction {list(reconstruction.shape)}")
