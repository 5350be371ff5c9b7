"""SAELens: SAETrainer, its activation scaling, and MultiSAETrainer."""

import torch
from sae_lens import ActivationsStore, SAETrainer
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import TrainingSAE
from sae_lens.training.activation_scaler import ActivationScaler
from sae_lens.training.mixing_buffer import mixing_buffer
from sae_lens.training.multi_sae_trainer import MultiSAETrainer

from trainer_parts.common import (
    BATCH, BUFFER, CONTEXT, D_MODEL, RATE, SITE, SITES, STEPS, WIDTH, check, same, versions, weights,
)  # fmt: skip


def run(caches):
    versions("sae-lens")
    orders(caches)
    scaling(caches)
    sites(caches)


def new_sae(architecture="topk", **fields):
    torch.manual_seed(0)
    fields = fields or {"k": 16}
    config = {"architecture": architecture, "d_in": D_MODEL, "d_sae": WIDTH, "dtype": "float32", "device": "cpu"}
    return TrainingSAE.from_dict({**config, **fields, "metadata": {"hook_name": SITE}})


def scaled_sae():
    return new_sae(k=16, normalize_activations="expected_average_only_in")


def settings(**changes):
    return SAETrainerConfig(BATCH * STEPS, BATCH, lr=RATE, lr_end=RATE / 10, **changes)


def trained(provider, sae, scaling_factor=None, **changes):
    """The weights that SAELens's trainer makes of a provider."""
    trainer = SAETrainer(settings(**changes), sae, provider)
    trainer.activation_scaler.scaling_factor = scaling_factor
    torch.manual_seed(1)
    return weights(trainer.fit())


def store_of_saelens(path, mixing):
    """SAELens's reader of cached activations, with a mixing buffer of ten sequences."""
    return ActivationsStore(
        model=None, dataset=None, streaming=False, hook_name=SITE, hook_head_index=None, context_size=CONTEXT,
        d_in=D_MODEL, n_batches_in_buffer=10, total_training_tokens=BATCH * STEPS, store_batch_size_prompts=4,
        train_batch_size_tokens=BATCH, prepend_bos=False, normalize_activations="none", device=torch.device("cpu"),
        dtype="float32", cached_activations_path=str(path), activations_mixing_fraction=mixing,
    )  # fmt: skip


def orders(caches):
    """The same rows in the same order, and the same weights of them."""
    cache = caches.harvested("base", sites=SITES)
    acts, path = cache[SITE], caches.of_saelens(cache)
    store = store_of_saelens(path, mixing=0)
    pairs = [(next(store), batch) for batch in acts.batches(BATCH, drop_last=True)]
    are_equal = len(pairs) == 64 and all(torch.equal(*pair) for pair in pairs)
    check(are_equal, f"{len(pairs)} batches of {BATCH} rows are those of SAELens's cache, in its order")
    rows = torch.cat([theirs for theirs, _ in pairs])
    shuffle = {"shuffle": 7, "buffer_rows": BUFFER, "epochs": None}
    numbers = lambda: (numbers for _, numbers in acts.batches(BATCH, with_rows=True, **shuffle))
    in_turn = lambda size: acts.batches(size, epochs=None)
    # For each order, providers over SAELens's cache and over ours.
    providers = {
        "the cache's order": (lambda: store_of_saelens(path, 0), lambda: in_turn(BATCH)),
        "SAELens's shuffle": (
            lambda: store_of_saelens(path, 0.5),
            lambda: mixing_buffer(10 * CONTEXT, BATCH, in_turn(4 * CONTEXT), 0.5),
        ),
        "Hayloft's shuffle": (lambda: (rows[of] for of in numbers()), lambda: acts.batches(BATCH, **shuffle)),
    }
    for architecture, fields in [("standard", {"l1_coefficient": 0.5}), ("topk", {"k": 16})]:
        made = []
        for order, each in providers.items():
            theirs, ours = (trained(provider(), new_sae(architecture, **fields)) for provider in each)
            moved = (ours["W_dec"] - new_sae(architecture, **fields).W_dec).abs().max().item()
            told = f"{architecture}, {order}: same weights after {STEPS} steps as from SAELens's cache"
            check(same(theirs, ours) and moved > 1e-3, f"{told} (W_dec moved by up to {moved:.4f})")
            made.append(ours)
        differ = not any(same(made[0], other) for other in made[1:])
        check(differ, f"{architecture}: other orders make other weights")


def scaling(caches):
    """`expected_average_only_in`, estimated by SAELens and given by the cache."""
    cache = caches.harvested("base", sites=SITES)
    acts, path = cache[SITE], caches.of_saelens(cache)
    factor = estimated(acts.batches(BATCH), len(acts) // BATCH)
    told = f"SAELens's scaling factor over an epoch {factor:.8f}, acts.scale {acts.scale:.8f}"
    check(abs(factor / acts.scale - 1) < 1e-6, told)
    theirs = trained(store_of_saelens(path, 0), scaled_sae(), n_batches_for_norm_estimate=10)
    ours = trained(acts.batches(BATCH, epochs=None), scaled_sae(), n_batches_for_norm_estimate=10)
    check(same(theirs, ours), "scaled by SAELens's estimate of 10 batches: same weights as from its own cache")
    # The trainer multiplies by the factor and folds it into the weights.
    by_hand = new_sae()
    trained((batch * acts.scale for batch in acts.batches(BATCH, epochs=None)), by_hand)
    by_hand.fold_activation_norm_scaling_factor(acts.scale)
    provider = acts.batches(BATCH, epochs=None)
    given = trained(provider, scaled_sae(), scaling_factor=acts.scale)
    told = f"scaled by acts.scale: same weights as of scaled batches, {provider.taken} batches taken in {STEPS} steps"
    check(same(weights(by_hand), given) and provider.taken == STEPS, told)
    narrow = caches.harvested("base", "bf16")[SITE]
    each = (narrow.batches(BATCH), map(torch.Tensor.float, narrow.batches(BATCH)))
    as_it_is, as_float32 = (estimated(batches, len(acts) // BATCH) / narrow.scale - 1 for batches in each)
    told = f"SAELens's factor is off acts.scale by {as_it_is:.1e} as it is, and by {as_float32:.1e} as float32"
    check(abs(as_float32) < 1e-6, f"of a bfloat16 cache, {told}")


def estimated(batches, number):
    scaler = ActivationScaler()
    scaler.estimate_scaling_factor(D_MODEL, batches, number)
    return scaler.scaling_factor


def sites(caches):
    """Three sites at once, and each by itself."""
    cache = caches.harvested("base", sites=SITES)
    choice = {"shuffle": 3, "buffer_rows": BUFFER, "epochs": None, "exclude": "bos"}
    saes, names = {site: scaled_sae() for site in SITES}, {site: site for site in SITES}
    batches = cache.batches(BATCH, sites=SITES, **choice)
    trainer = MultiSAETrainer(settings(n_batches_for_norm_estimate=5), saes, names, batches)
    together = {site: weights(sae) for site, sae in trainer.fit().items()}
    for site in SITES:
        alone = trained(cache[site].batches(BATCH, **choice), scaled_sae(), n_batches_for_norm_estimate=5)
        told = f"MultiSAETrainer: {site}: same weights after {STEPS} steps as by a trainer by itself"
        check(same(alone, together[site]), told)
    check(not same(together[SITES[0]], together[SITES[1]]), "MultiSAETrainer: each site makes other weights")
