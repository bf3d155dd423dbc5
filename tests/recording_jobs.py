# SPDX-License-Identifier: Apache-2.0
"""Work that tests give to worker processes, which import this file."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.errors import DataError
from depthkit.pipelines.output_folder import growing
from depthkit.pipelines.recordings.job import Job
from depthkit.watcher import Watcher


@dataclass(frozen=True)
class Written:
    """Summary of a job of the tests."""

    frames: int


def write(out: Path, text: str, watcher: Watcher) -> Written:
    """Write a folder with one file, all at once."""
    with growing(out, force=False) as folder:
        (folder / "words.txt").write_text(text)
    watcher.note(f"wrote {text}")
    return Written(len(text))


def write_at_second(out: Path, text: str, watcher: Watcher) -> Written:
    """Be killed with a half-written folder the first time, work the second time."""
    killed = out.with_name(f"{out.name}.killed")
    with growing(out, force=False) as folder:
        (folder / "words.txt").write_text(text)
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return Written(len(text))


def die_after_writing(out: Path, text: str, watcher: Watcher) -> Written:
    """Write all, then be killed before the answer."""
    write(out, text, watcher)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def always_die(out: Path, text: str, watcher: Watcher) -> Written:
    """Be killed each time."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def tell_and_sleep(out: Path, text: str, watcher: Watcher) -> Written:
    """Write down the process' number and work for long."""
    out.with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(300)
    return Written(len(text))


def refuse(out: Path, text: str, watcher: Watcher) -> Written:
    """Fail with a known error."""
    raise DataError(f"{text}: no frames")


def stumble(out: Path, text: str, watcher: Watcher) -> Written:
    """Fail as a bug does."""
    raise ZeroDivisionError(text)


def job(out: Path, name: str, work: Callable[..., Any], text: str = "abc") -> Job:
    """Return a job of the tests."""
    return Job(
        name=name,
        source=f"{name}.mp4",
        work=work,
        keywords={"out": out / name, "text": text},
        out=out / name,
        stamp=f"asked for {text}",
        shown=("frames",),
        cwd=os.getcwd(),
    )
