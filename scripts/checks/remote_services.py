"""Pushes, pulls, evaluates, shares and damages a small cache on third-party services, each started here on loopback:
moto, SeaweedFS and Azurite, and localbucket, which ignores conditional writes. Prints a table.

    .venv/remote/bin/python scripts/checks/remote_services.py FOLDER-OF-PROGRAMS

The second half of `scripts/check remote`, which makes the environment.
"""

import contextlib
import filecmp
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import boto3
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = Path(sys.executable).parent
MODEL = ROOT / "tests/fixtures/tiny-llama"
SITE = "blocks.1.hook_resid_pre"
KEY, SECRET = "FARMHANDACCESSKEY", "never-to-be-shown-0123456789"
# The default account of Azurite.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PUSHERS, ROUNDS = 6, 4
# Seconds within which an error that retries cannot mend must be reported.
SOON = 3.0


def fail(words):
    sys.exit(f"remote: {words}")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(port, program):
    for _ in range(600):
        if program.poll() is not None:
            fail(f"{program.args[0]} ended with {program.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    fail(f"{program.args[0]} does not listen")


@contextlib.contextmanager
def running(words, port, log):
    with open(log, "w") as lines:
        program = subprocess.Popen([str(word) for word in words], stdout=lines, stderr=lines, start_new_session=True)
    try:
        wait_for(port, program)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGTERM)
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)


class S3:
    """A service with S3's API, and the bucket `farm` in it."""

    def __init__(self, port):
        endpoint = f"http://127.0.0.1:{port}"
        self.scheme, self.wrong_key = "s3", {"AWS_SECRET_ACCESS_KEY": "another-secret"}
        self.variables = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 10})
        self.client = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1", config=config
        )
        # It may listen before it can serve requests.
        for again in range(60):
            try:
                self.client.create_bucket(Bucket="farm")
                return
            except Exception as error:
                if again == 59:
                    fail(f"no bucket: {error}")
                time.sleep(0.5)

    def names(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="farm", Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, name):
        return self.client.get_object(Bucket="farm", Key=name)["Body"].read()

    def put(self, name, data):
        self.client.put_object(Bucket="farm", Key=name, Body=data)

    def remove(self, name):
        self.client.delete_object(Bucket="farm", Key=name)


class Azure:
    """Azurite, and the container `farm` in it."""

    def __init__(self, port):
        endpoint = f"http://127.0.0.1:{port}"
        self.scheme, self.wrong_key = "az", {"AZURE_STORAGE_ACCOUNT_KEY": "aGF5bG9mdA=="}
        self.variables = {
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
            "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY,
        }
        service = BlobServiceClient(f"{endpoint}/devstoreaccount1", credential=AZURITE_KEY)
        self.client = service.get_container_client("farm")
        with contextlib.suppress(ResourceExistsError):
            self.client.create_container()

    def names(self, prefix):
        return [blob.name for blob in self.client.list_blobs(name_starts_with=prefix)]

    def get(self, name):
        return self.client.download_blob(name).readall()

    def put(self, name, data):
        self.client.upload_blob(name, data, overwrite=True)

    def remove(self, name):
        self.client.delete_blob(name)


class Check:
    """The checks on one service, with the cache in `folder`."""

    def __init__(self, programs, folder, service):
        self.programs, self.folder, self.service = programs, folder, service
        # Nothing from the user's environment: neither credentials nor cached data.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))}
        self.variables = clean | service.variables | {"HAYLOFT_CACHE": str(folder / "kept")}

    def url(self, name):
        return f"{self.service.scheme}://farm/{name}"

    def start(self, *words, **variables):
        program, *words = [str(word) for word in words]
        return subprocess.Popen(
            [self.programs / program, *words],
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words, **variables):
        """The exit code, and all output."""
        program = self.start(*words, **variables)
        out, said = program.communicate(timeout=600)
        secrets = [SECRET, AZURITE_KEY]
        if any(secret in out + said for secret in secrets):
            fail(f"{words} printed a secret")
        if "INFO" in said and "backing off" in said:
            fail(f"{words} repeats its client's messages: {said}")
        return program.returncode, out, said

    def do(self, *words):
        code, out, said = self.run(*words)
        if code != 0:
            fail(f"{' '.join(map(str, words))}: {said}")
        return out

    def refused(self, *words, expected, **variables):
        """The seconds until the refusal."""
        begun = time.monotonic()
        code, _, said = self.run(*words, **variables)
        took = time.monotonic() - begun
        if code == 0 or expected not in said or "<" in said.replace("<URL>", ""):
            fail(f"{' '.join(map(str, words))}: expected a refusal with `{expected}`, got {code}: {said}")
        return took

    def same(self, cache, name):
        back = Path(tempfile.mkdtemp(dir=self.folder))
        self.do("store", "pull", self.url(name), back / "back")
        same_files(cache, back / "back")
        shutil.rmtree(back)

    def objects(self, name):
        return {key.removeprefix(f"{name}/"): self.service.get(key) for key in self.service.names(f"{name}/")}

    def move(self, cache):
        self.do("store", "push", cache, self.url("moved"))
        self.same(cache, "moved")
        again = json.loads(self.do("store", "push", cache, self.url("moved"), "--json"))
        if again["files_written"] != 0:
            fail(f"a second push wrote {again}")

    def evaluate(self, cache):
        words = ["evaluate", "run", "--model", MODEL, "--sae", MODEL / "sae", "--json", "--cache"]
        if self.do(*words, cache) != self.do(*words, self.url("moved")):
            fail("the figures differ")

    def share(self, cache, planned):
        """Kills a worker as soon as it has a claim; the next fills the rest."""
        self.do("store", "push", planned, self.url("shared"))
        words = ["harvest", "run", "--model", MODEL, "--site", SITE, "--out", self.url("shared"), "--share", "--lease", 3]
        first = self.start(*words)
        while not any(name.endswith(".0") for name in self.service.names("shared/claims/")):
            if first.poll() is not None:
                fail(f"the first worker ended before it was killed: {first.communicate()}")
            time.sleep(0.02)
        first.kill()
        first.communicate()
        self.do(*words)
        check_objects(self.objects("shared"), cache)

    def together(self, cache, parts):
        """Six processes push one shard or more each, in parallel."""
        for turn in range(ROUNDS):
            name = f"together-{turn}"
            pushers = [self.start("store", "push", part, self.url(name)) for part in parts]
            for pusher in pushers:
                _, said = pusher.communicate(timeout=600)
                if pusher.returncode != 0:
                    fail(f"one of several pushers: {said}")
            check_objects(self.objects(name), cache)

    def mend(self, cache):
        """Flipped, truncated and missing objects are refused with a remedy, and mended by it."""
        self.do("store", "push", cache, self.url("damaged"))
        flip = lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:]
        cut = lambda data: data[: len(data) // 2]
        damages = [
            (f"shards/00000/{SITE}.parquet", flip),
            (f"shards/00001/{SITE}.parquet", cut),
            (f"shards/00002/{SITE}.parquet", None),
            ("shards/00003/shard.json", flip),
            ("plan.json", cut),
            ("manifest.json", flip),
        ]
        for name, damage in damages:
            key = f"damaged/{name}"
            if damage is None:
                self.service.remove(key)
            else:
                self.service.put(key, damage(self.service.get(key)))
            back = Path(tempfile.mkdtemp(dir=self.folder)) / "back"
            self.refused("store", "pull", self.url("damaged"), back, expected="store push")
            pushed = json.loads(self.do("store", "push", cache, self.url("damaged"), "--json"))
            if pushed["files_written"] != 1:
                fail(f"{name}: expected one file to be mended, got {pushed}")
            check_objects(self.objects("damaged"), cache)


def check_objects(got, cache):
    expected = {str(path.relative_to(cache)): path.read_bytes() for path in files(cache)}
    if got != expected:
        names = sorted(name for name in got.keys() | expected.keys() if got.get(name) != expected.get(name))
        fail(f"other objects than files: {names}")


def files(cache):
    for path in sorted(cache.rglob("*")):
        if path.is_file() and path.name != ".lock" and "baselines" not in path.parts:
            yield path


def same_files(left, right):
    names = [str(path.relative_to(left)) for path in files(left)]
    if names != [str(path.relative_to(right)) for path in files(right)]:
        fail(f"{left} and {right} have other files")
    _, differing, errors = filecmp.cmpfiles(left, right, names, shallow=False)
    if differing or errors:
        fail(f"{left} and {right} differ: {differing + errors}")


@contextlib.contextmanager
def untrusted(folder):
    """A server with an untrusted certificate."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    made += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, ssl.SSLError), context.wrap_socket(connection, server_side=True) as inner:
                inner.recv(65536)
                inner.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", folder / "cert.pem"
    finally:
        listener.close()


def at_once(check, service, folder):
    """The time that each error takes which retries cannot mend."""
    look = ["store", "inspect", check.url("moved")]
    times = {"wrong key": check.refused(*look, expected="Are the credentials right", **service.wrong_key)}
    if isinstance(service, S3):
        absent = f"http://127.0.0.1:{free_port()}"
        times["nothing listens"] = check.refused(*look, expected="Nothing listens there", AWS_ENDPOINT_URL=absent)
        with untrusted(folder) as (endpoint, certificate):
            words = {"expected": "SSL_CERT_FILE", "AWS_ENDPOINT_URL": endpoint}
            times["untrusted certificate"] = check.refused(*look, **words)
            # With the signer's certificate in the variable, the server is trusted.
            words["expected"] = "no such object"
            times["the same with SSL_CERT_FILE"] = check.refused(*look, **words, SSL_CERT_FILE=str(certificate))
        del check.variables["AWS_ACCESS_KEY_ID"], check.variables["AWS_SECRET_ACCESS_KEY"]
        times["no credentials"] = check.refused(*look, expected="credentials in the environment")
    for what, took in times.items():
        print(f"  {what}: {took:.2f} s to the error")
        if took > SOON:
            fail(f"{what}: {took:.1f} s, more than {SOON}")


def services(folder):
    """Name, port, and the command that starts it, for each."""
    port = free_port()
    yield "moto", S3, port, [ENVIRONMENT / "moto_server", "-H", "127.0.0.1", "-p", port]
    identity = {"name": "farm", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "seaweedfs.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "seaweedfs").mkdir()
    port = free_port()
    words = [ENVIRONMENT / "weed", "server", "-dir", folder / "seaweedfs", "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
    for name in ["master", "volume", "filer"]:
        words += [f"-{name}.port", free_port(), f"-{name}.port.grpc", free_port()]
    words += ["-filer", "-s3", "-s3.port", port, "-s3.port.grpc", free_port(), "-s3.config", folder / "seaweedfs.json"]
    yield "SeaweedFS", S3, port, [*words, "-master.volumeSizeLimitMB", 64, "-volume.max", 20]
    port = free_port()
    azurite = ENVIRONMENT.parent / "node_modules/.bin/azurite-blob"
    (folder / "azurite").mkdir()
    options = ["--blobPort", port, "--location", folder / "azurite", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    yield "Azurite", Azure, port, [azurite, *options]


def main():
    programs = Path(sys.argv[1]).resolve()
    table = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        local = Check(programs, folder, type("Nowhere", (), {"variables": {}}))
        cache, planned = folder / "cache", folder / "planned"
        data = ["--data", ROOT / "data-manifests/tiny-llama.toml", "--shard-tokens", 512, "--row-group-rows", 512]
        local.do("harvest", "plan", "--model", MODEL, *data, "--out", planned)
        shutil.copytree(planned, cache)
        local.do("harvest", "run", "--model", MODEL, "--site", SITE, "--out", cache)
        shards = len(json.loads((cache / "manifest.json").read_text())["shards"])
        if shards < PUSHERS:
            fail(f"expected {PUSHERS} shards or more, got {shards}")
        parts = [folder / f"part-{pusher}" for pusher in range(PUSHERS)]
        for pusher, part in enumerate(parts):
            first, end = pusher * shards // PUSHERS, (pusher + 1) * shards // PUSHERS
            local.do("store", "select", cache, "--out", part, "--shards", f"{first}..{end}")

        for name, kind, port, words in services(folder):
            print(f"{name}:", flush=True)
            with running(words, port, folder / f"{name}.log"):
                service = kind(port)
                check = Check(programs, folder, service)
                row = {"service": name}
                for what, work in [
                    ("push and pull", lambda: check.move(cache)),
                    ("evaluate", lambda: check.evaluate(cache)),
                    ("share, one killed", lambda: check.share(cache, planned)),
                    (f"{PUSHERS} pushers x {ROUNDS}", lambda: check.together(cache, parts)),
                    ("6 damages", lambda: check.mend(cache)),
                ]:
                    begun = time.monotonic()
                    work()
                    row[what] = f"{time.monotonic() - begun:.1f} s"
                table.append(row)
                if name != "moto":  # It checks no credentials.
                    at_once(check, service, folder)
            shutil.rmtree(folder / "kept", ignore_errors=True)

        print("localbucket, which does not keep If-Match:", flush=True)
        port = free_port()
        (folder / "localbucket").mkdir()
        words = [ENVIRONMENT / "localbucket", "--port", port, folder / "localbucket"]
        with running(words, port, folder / "localbucket.log"):
            service = S3(port)
            check = Check(programs, folder, service)
            said = "this service ignores conditional writes"
            for part in parts:
                check.refused("store", "push", part, check.url("gap"), expected=said)
            for path in files(planned):
                service.put(f"shared/{path.relative_to(planned)}", path.read_bytes())
            words = ["harvest", "run", "--model", MODEL, "--site", SITE, "--out", check.url("shared"), "--share"]
            check.refused(*words, expected=said)
            # A cache that is not being written can still be read.
            for path in files(cache):
                service.put(f"moved/{path.relative_to(cache)}", path.read_bytes())
            check.same(cache, "moved")
            check.evaluate(cache)
            if service.names("gap/"):
                fail(f"localbucket was written to: {service.names('gap/')}")
        print(f"  {PUSHERS} pushers and a worker refused, nothing written; pulled and evaluated")

    widths = {what: max(len(what), *(len(row[what]) for row in table)) for what in table[0]}
    for row in [dict.fromkeys(widths, None), *table]:
        print("  ".join((row[what] or what).ljust(width) for what, width in widths.items()).rstrip())


main()
