"""Copies the files that the texts' licences require: each package's copyright file, and the GPL and GFDL in full."""

import shutil
from pathlib import Path

import packages
from layout import DEMO

COMMON = Path("/usr/share/common-licenses")
IN_FULL = ("GPL-2", "GFDL-1.3")
SAME_NOTICE = {"bible-kjv": "bible-kjv-text", "manpages-dev": "manpages"}  # one source package, one copyright file


def main() -> None:
    folder = DEMO / "LICENCES"
    folder.mkdir(parents=True, exist_ok=True)
    for name, root in packages.bring_all().items():
        if name not in SAME_NOTICE:
            shutil.copyfile(root / "usr/share/doc" / name / "copyright", folder / f"{name}.copyright")
    for name in IN_FULL:
        shutil.copyfile(COMMON / name, folder / name)


if __name__ == "__main__":
    main()
