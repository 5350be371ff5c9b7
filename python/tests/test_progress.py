"""Progress of a program, as it is shown."""

import contextlib
import io
import json
import unittest
from unittest import mock

from hayloft._progress import VARIABLE, Progress


def line(doing: str, done: int, total: "int | None") -> str:
    return json.dumps({"progress": {"doing": doing, "unit": "tokens", "done": done, "total": total}}) + "\n"


def shown(lines: "list[str]") -> "tuple[str, list[str]]":
    """What is on stderr, and the lines that are messages."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        progress = Progress()
        messages = [text for text in lines if progress.show(text)]
        progress.close()
    return stderr.getvalue(), messages


class Bars(unittest.TestCase):
    def test_each_piece_of_work_has_a_bar_and_messages_stay_whole(self):
        lines = [
            line("measured", 1000, 4000),
            "warning: something\n",
            line("measured", 4000, 4000),
            line("merged", 5, 10),
            line("hashed", 7, 7),
            '{"progress": 3}\n',
        ]
        text, messages = shown(lines)
        self.assertEqual(messages, ["warning: something\n", '{"progress": 3}\n'])
        self.assertIn("\nwarning: something\n", text.replace("\r", "\n"))
        self.assertRegex(text, r"measured: 100%.* 4\.00k/4\.00k ")
        self.assertRegex(text, r"merged:  50%.* 5\.00/10\.0 ")
        self.assertNotIn("hashed", text, "a bar for work that was over at once")
        self.assertNotIn('"doing"', text)

    def test_an_unknown_total_is_no_share(self):
        text, messages = shown([line("read", 1000, None), line("read", 3000, None)])
        self.assertEqual(messages, [])
        self.assertIn("read: 3.00k tokens", text)
        self.assertNotIn("%", text)

    def test_the_program_is_asked_for_what_is_read(self):
        self.assertEqual(Progress().environment({"A": "1"}), {"A": "1", VARIABLE: "json"})
        self.assertEqual(Progress().environment(None)[VARIABLE], "json")


class Lines(unittest.TestCase):
    def test_without_tqdm_lines_are_shown_as_they_are(self):
        with mock.patch.dict("sys.modules", {"tqdm": None, "tqdm.auto": None}):
            self.assertIsNone(Progress().environment(None))
            text, messages = shown(["measured 1000 of 4000 tokens\n", line("measured", 1, 2)])
        self.assertEqual((text, messages), ("".join(messages), messages))
        self.assertEqual(len(messages), 2)
