"""Datasets for ``torch.utils.data.DataLoader``."""

from hayloft._errors import Error
from hayloft._formats import import_torch

torch = import_torch()


class RowDataset(torch.utils.data.Dataset):
    """The rows of a site by number: ``dataset[i]`` is a tensor ``[d_model]``. A loader's batch is read at once."""

    def __init__(self, acts) -> None:
        self.acts = acts.with_format("torch")

    def __len__(self) -> int:
        return len(self.acts)

    def __getitem__(self, index: int):
        return self.acts[index]

    def __getitems__(self, indices):
        return list(self.acts[list(indices)])


class BatchDataset(torch.utils.data.IterableDataset):
    """The batches of a site, for a ``DataLoader`` with ``batch_size=None``. Each worker gets other row groups."""

    def __init__(self, acts, batch_size: int, settings: dict) -> None:
        self.acts, self.batch_size, self.settings = acts.with_format("torch"), batch_size, dict(settings)
        unknown = set(settings) - set(acts.batches.__kwdefaults__)
        if unknown:
            raise Error(f"batch_dataset: expected settings of batches(), got {', '.join(sorted(unknown))}")

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        settings = dict(self.settings)
        settings["rank"] = settings.get("rank", 0) * workers + number
        settings["world_size"] = settings.get("world_size", 1) * workers
        return self.acts.batches(self.batch_size, **settings)
