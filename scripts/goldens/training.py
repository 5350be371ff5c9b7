"""Makes tests/fixtures/training: reference values of training, from PyTorch and SAELens.

Pinned: sae-lens==6.54.12 torch==2.13.0 safetensors==0.8.0 (Python 3.11 or later).

    python scripts/goldens/training.py            # writes tests/fixtures/training

- `schedule.json`: learning rates of `get_lr_scheduler` and weights of `CoefficientScheduler`, step by step.
- `adam.safetensors`: steps of `torch.optim.Adam` after `clip_grad_norm_(…, 1.0)`, some gradients above that norm.
- `{architecture}-trained.safetensors`: forty steps of `SAETrainer`: parameters before and after, and the batches
  `x` [40, 16, 8]. Latents die within three steps, so that dead ones are trained too.
- `{architecture}.safetensors`: for each architecture one forward pass of SAELens's training SAE on a small batch:
  parameters, `x`, `dead`, losses (multiplied by their coefficients), latents, reconstruction, and the gradient of the loss for
  every parameter.
"""

import json
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")

from sae_lens import __version__  # noqa: E402
from sae_lens.config import SAETrainerConfig  # noqa: E402
from sae_lens.saes.sae import TrainingSAE, TrainStepInput  # noqa: E402
from sae_lens.training.optim import CoefficientScheduler, get_lr_scheduler  # noqa: E402
from sae_lens.training.sae_trainer import SAETrainer  # noqa: E402

assert __version__ == "6.54.12", __version__
assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__

OUT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "training"
D_IN, D_SAE, ROWS = 8, 24, 16


def schedule(steps, learning_rate, warm_up, decay, coefficient, sparsity_warm_up):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=learning_rate)
    rates = get_lr_scheduler(
        "constant",
        optimizer=optimizer,
        training_steps=steps,
        lr=learning_rate,
        warm_up_steps=warm_up,
        decay_steps=decay,
        lr_end=learning_rate / 10,
        num_cycles=1,
    )
    weights = CoefficientScheduler(warm_up_steps=sparsity_warm_up, final_value=coefficient)
    learning_rates, coefficients = [], []
    for _ in range(steps):
        learning_rates.append(optimizer.param_groups[0]["lr"])
        coefficients.append(weights.value)
        optimizer.step()
        rates.step()
        weights.step()
    return {
        "steps": steps,
        "learning_rate": learning_rate,
        "warm_up": warm_up,
        "decay": decay,
        "coefficient": coefficient,
        "sparsity_warm_up": sparsity_warm_up,
        "learning_rates": learning_rates,
        "coefficients": coefficients,
    }


def adam(generator):
    parameters = {name: torch.nn.Parameter(torch.randn(*shape, generator=generator)) for name, shape in
                  {"matrix": (3, 5), "vector": (4,)}.items()}
    tensors = {f"{name}.start": value.detach().clone() for name, value in parameters.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=1e-2)
    for step in range(6):
        for name, value in parameters.items():
            value.grad = torch.randn(value.shape, generator=generator) * (0.05 if step % 2 else 2.0)
            tensors[f"{name}.gradient.{step}"] = value.grad.clone()
        tensors[f"norm.{step}"] = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        for name, value in parameters.items():
            tensors[f"{name}.after.{step}"] = value.detach().clone()
    save_file(tensors, OUT / "adam.safetensors")


def filled(architecture, generator, **options):
    """A training SAE with random weights in place of the initial ones."""
    config = {
        "architecture": architecture,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"hook_name": "blocks.1.hook_resid_pre"},
        **options,
    }
    sae = TrainingSAE.from_dict(config)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    values = {
        "W_enc": 0.4 * draw(D_IN, D_SAE),
        "W_dec": 0.4 * draw(D_SAE, D_IN),
        "b_enc": 0.2 * draw(D_SAE),
        "b_dec": 0.3 * draw(D_IN),
        "threshold": 0.3 + 0.4 * torch.rand(D_SAE, generator=generator),
        "b_gate": 0.2 * draw(D_SAE),
        "b_mag": 0.2 * draw(D_SAE),
        "r_mag": 0.3 * draw(D_SAE),
    }
    with torch.no_grad():
        for key, parameter in sae.named_parameters():
            parameter.copy_(values[key])
    return sae


def parameters_of(sae):
    return {f"parameter.{key}": value.detach().clone() for key, value in sae.named_parameters()}


def save(tensors, name):
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, OUT / f"{name}.safetensors")


def trained(name, architecture, generator, **options):
    sae = filled(architecture, generator, **options)
    tensors = parameters_of(sae)
    x = torch.randn(40, ROWS, D_IN, generator=generator) + torch.linspace(-0.5, 1.0, D_IN)
    settings = SAETrainerConfig(
        total_training_samples=40 * ROWS,
        train_batch_size_samples=ROWS,
        lr=1e-2,
        lr_end=1e-3,
        lr_warm_up_steps=5,
        lr_decay_steps=10,
        dead_feature_window=2,
    )
    SAETrainer(settings, sae, iter(x)).fit()
    tensors |= {f"after.{key}": value for key, value in sae.named_parameters()} | {"x": x}
    if hasattr(sae, "topk_threshold"):
        tensors["threshold.after"] = sae.topk_threshold
    save(tensors, f"{name}-trained")


def forward(name, architecture, generator, dead, **options):
    sae = filled(architecture, generator, **options)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    tensors = parameters_of(sae)
    x = draw(ROWS, D_IN) + torch.linspace(-0.5, 1.0, D_IN)
    mask = torch.zeros(D_SAE, dtype=torch.bool)
    mask[list(range(0, D_SAE, 3))[:dead]] = True
    output = sae.training_forward_pass(
        TrainStepInput(
            sae_in=x,
            coefficients={"l1": 0.7, "l0": 0.7},
            dead_neuron_mask=mask,
            n_training_steps=0,
            is_logging_step=False,
        )
    )
    output.loss.backward()
    for key, value in sae.named_parameters():
        tensors[f"gradient.{key}"] = value.grad
    tensors |= {"x": x, "dead": mask.to(torch.int64), "latents": output.feature_acts, "loss": output.loss}
    tensors["reconstruction"] = output.sae_out
    tensors |= {f"loss.{key}": value for key, value in output.losses.items()}
    if hasattr(sae, "topk_threshold"):
        tensors["threshold.after"] = sae.topk_threshold
    save(tensors, name)
    print(name, {key: round(value.item(), 4) for key, value in output.losses.items()})


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    cases = [
        schedule(20, 3e-4, 0, 0, 5.0, 0),
        schedule(20, 3e-4, 5, 4, 5.0, 7),
        schedule(12, 1e-3, 1, 1, 0.6, 1),
        schedule(10, 1e-3, 6, 4, 2.0, 20),
    ]
    (OUT / "schedule.json").write_text(json.dumps(cases, indent=1) + "\n")
    generator = torch.Generator().manual_seed(20240601)
    adam(generator)
    forward("standard", "standard", generator, 0)
    forward("topk", "topk", generator, 2, k=4)
    forward("topk-many-dead", "topk", generator, 7, k=4, rescale_acts_by_decoder_norm=False)
    forward("batchtopk", "batchtopk", generator, 5, k=3.5)
    forward("jumprelu", "jumprelu", generator, 0, jumprelu_bandwidth=0.3)
    forward("jumprelu-tanh", "jumprelu", generator, 0, jumprelu_bandwidth=0.3, jumprelu_sparsity_loss_mode="tanh")
    forward("gated", "gated", generator, 0)
    l1, l0 = {"l1_coefficient": 0.7, "l1_warm_up_steps": 10}, {"l0_coefficient": 0.7, "l0_warm_up_steps": 10}
    trained("standard", "standard", generator, **l1)
    trained("topk", "topk", generator, k=4)
    trained("batchtopk", "batchtopk", generator, k=3.5)
    trained("jumprelu", "jumprelu", generator, jumprelu_bandwidth=0.3, **l0)
    trained("jumprelu-tanh", "jumprelu", generator, jumprelu_bandwidth=0.3, jumprelu_sparsity_loss_mode="tanh", **l0)
    trained("gated", "gated", generator, **l1)


if __name__ == "__main__":
    main()
