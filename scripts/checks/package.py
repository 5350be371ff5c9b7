#!/usr/bin/env python3
"""Packages the library crates as `cargo publish` would, and builds each from its package.

Proves: the library crates can be packaged, and build from their packages alone
Needs: cargo 1.90, LibTorch
Takes: 10 minutes

  scripts/check package                    the committed tree
  scripts/check package --allow-dirty      the tree as it is; arguments go to `cargo package`

Prints the size of each package, and fails if one is over a mebibyte.
"""

import os
import subprocess
import sys
from pathlib import Path

import programs

ROOT = Path(__file__).resolve().parents[2]
CRATES = ["runtime", "checkpoint", "hub", "store", "latents", "rows", "results", "model", "sae"]
LARGEST = 1 << 20


def main() -> None:
    subprocess.run([ROOT / "scripts/setup"], check=True)
    chosen = [word for crate in CRATES for word in ("-p", f"hayloft-{crate}")]
    code = subprocess.run(["cargo", "package", "--locked", *chosen, *sys.argv[1:]], cwd=ROOT).returncode
    if code != 0:
        sys.exit(f"package: cargo package ended with {code}")
    folder = programs.target("package")
    sizes = {
        crate: max(folder.glob(f"hayloft-{crate}-*.crate"), key=os.path.getmtime).stat().st_size for crate in CRATES
    }
    for crate, size in sizes.items():
        print(f"hayloft-{crate:<8} {size / 1024:7.1f} KiB")
    large = [crate for crate, size in sizes.items() if size > LARGEST]
    if large:
        sys.exit(f"package: expected at most {LARGEST} bytes a package, got more of {', '.join(large)}")


if __name__ == "__main__":
    main()
