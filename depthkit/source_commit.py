# SPDX-License-Identifier: Apache-2.0
"""Which source code runs: written into every checkpoint."""

import subprocess
from functools import cache
from pathlib import Path


@cache  # asked when a run begins: the files may change while it runs, its code does not
def source_commit() -> str:
    """Return the git commit of the running code, + for local changes; "unknown" outside git."""
    folder = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
