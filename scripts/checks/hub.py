#!/usr/bin/env python3
"""Shares a cache of the Hub with huggingface_hub and transformers: a server on this machine stands for the Hub.

Proves: the Hub's cache is shared with huggingface_hub and transformers
Needs: LibTorch; goldens environment
Takes: a minute

  scripts/check hub

What `harvest` fetches, transformers opens offline; what transformers or huggingface_hub fetch, `harvest` finds offline; both fetch
at once into one cache. --programs DIR has `harvest` [default: builds it in debug].
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import environment
import programs

MODEL = Path(__file__).resolve().parents[2] / "tests/fixtures/tiny-llama"
NAMES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
ID, COMMIT = "hay/tiny-llama", "0123456789abcdef0123456789abcdef01234567"

READ = """
import json, sys, warnings
warnings.simplefilter("error")
from huggingface_hub import scan_cache_dir, try_to_load_from_cache, _CACHED_NO_EXIST
from huggingface_hub import hf_hub_download
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("hay/tiny-llama")
tokens = Tokenizer.from_file(hf_hub_download("hay/tiny-llama", "tokenizer.json")).encode("a b").ids
scanned = scan_cache_dir()
assert not scanned.warnings, scanned.warnings
[repo] = scanned.repos
[revision] = repo.revisions
assert revision.refs == {"main"} and revision.commit_hash == sys.argv[1], revision
absent = try_to_load_from_cache("hay/tiny-llama", "chat_template.jinja")
print(json.dumps({"parameters": model.num_parameters(), "tokens": tokens, "files": sorted(file.file_name for file in revision.files),
                  "knows_absent": absent is _CACHED_NO_EXIST}))
"""

FETCH = {
    "transformers": """
from huggingface_hub import hf_hub_download
from transformers import AutoModelForCausalLM
AutoModelForCausalLM.from_pretrained("hay/tiny-llama")
hf_hub_download("hay/tiny-llama", "tokenizer.json")
""",
    "huggingface_hub": """
from huggingface_hub import snapshot_download
snapshot_download("hay/tiny-llama")
""",
}


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does for one repository: large files have SHA-256 for an ETag, small ones git's blob id."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path in (f"/api/models/{ID}", f"/api/models/{ID}/revision/main", f"/api/models/{ID}/revision/{COMMIT}"):
            files = [described(name) for name in NAMES]
            listing = {"id": ID, "modelId": ID, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": files}
            return self.send(200, {"Content-Type": "application/json"}, json.dumps(listing).encode())
        if path in (f"/api/models/{ID}/tree/main", f"/api/models/{ID}/tree/{COMMIT}"):
            return self.send(200, {"Content-Type": "application/json"}, json.dumps([in_tree(name) for name in NAMES]).encode())
        for revision in ("main", COMMIT):
            name = path.removeprefix(f"/{ID}/resolve/{revision}/")
            if name == path:
                continue
            headers = {"X-Repo-Commit": COMMIT}
            if name not in NAMES:
                return self.send(404, headers | {"X-Error-Code": "EntryNotFound"}, b"")
            data = (MODEL / name).read_bytes()
            return self.send(200, headers | {"ETag": f'"{etag(name)}"', "Accept-Ranges": "bytes"}, data)
        return self.send(404, {"X-Error-Code": "RepoNotFound"}, b"")

    def send(self, status: int, headers: dict, data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def is_large(name: str) -> bool:
    return name.endswith(".safetensors")


def etag(name: str) -> str:
    data = (MODEL / name).read_bytes()
    return hashlib.sha256(data).hexdigest() if is_large(name) else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def described(name: str) -> dict:
    size = (MODEL / name).stat().st_size
    large = {"lfs": {"sha256": etag(name), "size": size, "pointerSize": 134}} if is_large(name) else {}
    return {"rfilename": name, "size": size, "blobId": "0" * 40 if is_large(name) else etag(name)} | large


def in_tree(name: str) -> dict:
    """A file as the list of a commit's tree has it."""
    file = described(name)
    large = {"lfs": {"oid": etag(name), "size": file["size"], "pointerSize": 134}} if is_large(name) else {}
    return {"type": "file", "path": name, "oid": file["blobId"], "size": file["size"]} | large


def main() -> None:
    built = programs.asked(__doc__, "--workspace", "--bins", names=("harvest",))
    python = environment.make("goldens") / "bin/python"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def variables(home: Path, offline: bool) -> dict:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        own = {"HF_HOME": str(home), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": str(int(offline))}
        return kept | own | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def start(home: Path, offline: bool, *command: object) -> subprocess.Popen:
        words = [str(word) for word in command]
        return subprocess.Popen(words, env=variables(home, offline), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done(process: subprocess.Popen) -> str:
        out, err = process.communicate()
        if process.returncode != 0:
            sys.exit(f"hub: {' '.join(process.args)[:200]} failed:\n{err}")
        return out

    def harvested(home: Path, offline: bool, place: Path) -> subprocess.Popen:
        text = MODEL / "text.jsonl"
        words = ["--data", text, "--context", "64", "--site", "blocks.1.hook_resid_pre", "--out", place]
        return start(home, offline, built / "harvest", "run", "--model", ID, *words)

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        done(harvested(scratch / "a", False, scratch / "cache-a"))
        read = json.loads(done(start(scratch / "a", True, python, "-c", READ, COMMIT)))
        if read["files"] != sorted(NAMES) or not read["knows_absent"]:
            sys.exit(f"hub: expected the files {sorted(NAMES)} and no chat template, got {read}")
        print(f"transformers opens offline what harvest fetched: {read['parameters']} parameters, {len(read['files'])} files")
        for number, (name, code) in enumerate(FETCH.items()):
            home = scratch / name
            done(start(home, False, python, "-c", code))
            done(harvested(home, True, scratch / f"cache-{number}"))
            print(f"harvest finds offline what {name} fetched")
        home = scratch / "both"
        both = [start(home, False, python, "-c", FETCH["huggingface_hub"])]
        both += [harvested(home, False, scratch / f"cache-both-{number}") for number in range(2)]
        for process in both:
            done(process)
        json.loads(done(start(home, True, python, "-c", READ, COMMIT)))
        blobs = sorted(path.name for path in (home / "hub/models--hay--tiny-llama/blobs").iterdir())
        if blobs != sorted(etag(name) for name in NAMES):
            sys.exit(f"hub: expected one blob for each file, got {blobs}")
        print("huggingface_hub and two harvests fetch at once into one cache, and each file is one blob")


if __name__ == "__main__":
    main()
