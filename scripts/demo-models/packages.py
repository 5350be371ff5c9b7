"""Downloads the Debian packages of the texts, and unpacks them without installing anything.

packages.tsv names package, version and SHA-256. The named version is requested first; if the mirror has replaced it (security
updates replace linux-doc), the current one is used with a message, and the texts differ a little from the committed ones.
"""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from layout import PACKAGES_TABLE, WORK


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: str


def table() -> list[Package]:
    lines = PACKAGES_TABLE.read_text().splitlines()[1:]
    return [Package(*line.split("\t")) for line in lines if line]


def _downloaded(folder: Path, name: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{name}_*.deb"))), None)


def bring(package: Package) -> Path:
    """The folder of the unpacked package."""
    downloads, unpacked = WORK / "deb", WORK / "unpacked" / package.name
    downloads.mkdir(parents=True, exist_ok=True)
    if _downloaded(downloads, package.name) is None:
        for wanted in (f"{package.name}={package.version}", package.name):
            if subprocess.run(["apt-get", "download", "--quiet", wanted], cwd=downloads, check=False).returncode == 0:
                break
    file = _downloaded(downloads, package.name)
    if file is None:
        raise SystemExit(f"{package.name}: apt-get download gave no file; is this Debian, and was apt-get update run?")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != package.sha256:
        print(f"{file.name}: SHA-256 {found}, packages.tsv has {package.sha256} for {package.version}; texts will differ")
    if not unpacked.exists():
        unpacked.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", str(file), str(unpacked)], check=True)
    return unpacked


def bring_all() -> dict[str, Path]:
    return {package.name: bring(package) for package in table()}
