"""What other libraries' trainers need, where these libraries are missing. scripts/check trainers has them."""

import subprocess
import sys
import textwrap
import unittest


class Missing(unittest.TestCase):
    def test_missing_packages_are_named(self):
        program = """
            import importlib
            import sys

            import hayloft as hl
            import hayloft.trainers

            sys.modules["torch"] = None
            for name in ["crosscoder", "sparsify"]:
                try:
                    importlib.import_module(f"hayloft.trainers.{name}")
                except hl.Error as error:
                    print(error.kind, str(error).split(":")[0])
        """
        got = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
        )
        self.assertEqual(got.stdout.splitlines(), ["missing_package torch"] * 2)
