"""A dataset as the `datasets` library saves it: Arrow files of two shards, and what they hold as JSON.

Writes tests/fixtures/saved-dataset: `dataset` by save_to_disk, and rows.json, its rows as `datasets` reads them back.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
import shutil
from pathlib import Path

from datasets import Dataset, disable_progress_bars, load_from_disk

OUT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "saved-dataset"
TEXTS = ["hay", "", "a loft full of hay ▁é\nand more", None, "barn", "sun"]


def row(number, text):
    subset = ["meadow", None][number % 2]
    messages = [{"role": "user", "content": text or "?"}, {"role": "assistant", "content": "moon"}]
    return {"number": number, "text": text, "meta": {"subset": subset}, "ids": list(range(number)), "messages": messages}


def main():
    disable_progress_bars()
    shutil.rmtree(OUT, ignore_errors=True)
    dataset = Dataset.from_list([row(number, text) for number, text in enumerate(TEXTS)])
    dataset._fingerprint = "0123456789abcdef"  # else it is random
    dataset.save_to_disk(OUT / "dataset", num_shards=2)
    rows = list(load_from_disk(OUT / "dataset"))
    (OUT / "rows.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
