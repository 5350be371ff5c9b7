"""The programs' LibTorch: that of the environment's torch, of one version. A made-up package stands for it."""

import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

ASK = """
import importlib.util, sys
if sys.argv[1:] == ["without"]:
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from hayloft import _programs
print(_programs.libtorch())
"""


def asked(place: str, *arguments: str) -> "tuple[str, str]":
    """What is printed and told by a process that finds a torch in a folder."""
    program = f"import sys; sys.path.insert(0, {place!r})\n{textwrap.dedent(ASK)}"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    return done.stdout.strip(), done.stderr.strip()


class Programs(unittest.TestCase):
    def test_torch_is_found_or_asked_for_by_version(self):
        with tempfile.TemporaryDirectory() as place:
            self.assertIn(
                "expected torch 2.13.0, whose LibTorch the program uses, found none", asked(place, "without")[1]
            )
            libraries = Path(place) / "torch/lib"
            libraries.mkdir(parents=True)
            (libraries.parent / "__init__.py").touch()
            record = Path(place) / "torch-1.dist-info/METADATA"
            record.parent.mkdir()
            record.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.1+cpu\n")
            told = asked(place)[1]
            self.assertTrue("expected torch 2.13.0" in told and "found 2.12.1" in told and "pip install" in told, told)
            record.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cu130\n")
            self.assertIn("expected libtorch_cpu.so, found none", asked(place)[1])
            (libraries / "libtorch_cpu.so").touch()
            self.assertEqual(asked(place), (str(libraries.resolve()), ""))
