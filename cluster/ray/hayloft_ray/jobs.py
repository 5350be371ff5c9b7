"""Submits a whole run to Ray Jobs, so that it continues after this terminal is closed."""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

LOOK = 2.0
"""Seconds between two polls of a followed job."""


def submit(address: str, arguments: Sequence[str], follow: bool) -> int:
    """Submits `hayloft-ray ARGUMENTS`; prints the job's name, and with `follow` its log until it ends. Returns the exit code."""
    client = JobSubmissionClient(address)
    package = Path(__file__).parent
    # -P: import the package that comes with the job, not one in the current folder.
    entrypoint = shlex.join(["python", "-m", "hayloft_ray", *arguments])
    job = client.submit_job(entrypoint=entrypoint, runtime_env={"py_modules": [str(package)]})
    print(job)
    if not follow:
        print(f"ray job logs --follow {job}    to watch it; ray job stop {job}    to stop it cleanly", file=sys.stderr)
        return 0
    shown = 0
    while True:
        status = client.get_job_status(job)
        log = client.get_job_logs(job)
        print(log[shown:], end="", flush=True, file=sys.stderr)
        shown = len(log)
        if status.is_terminal():
            return 0 if status == JobStatus.SUCCEEDED else 1
        time.sleep(LOOK)
