# SPDX-License-Identifier: Apache-2.0
"""The folder that a job writes: all of it appears at the end, or nothing does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depthkit.data.folder import make_folder, partial_path, publish
from depthkit.errors import DataError

SUMMARY = "summary.json"


@contextmanager
def growing(out: Path, *, force: bool) -> Iterator[Path]:
    """Pass on a hidden folder beside `out`; it takes that name at the end, or goes at an error.

    Args:
        out: the output folder.
        force: whether an earlier output is replaced.
    """
    partial = partial_path(out)
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        yield partial
        publish(partial, out, force=force)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_replaceable(out: Path, marker: str, *, force: bool) -> None:
    """Refuse to overwrite without --force, and with it all but what this verb wrote.

    Args:
        out: the output folder.
        marker: a file that this verb leaves in its folders.
        force: whether an earlier output is replaced.

    Raises:
        DataError: the folder must stay.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise DataError(f"{out}: exists already; use --force to replace it")
    if not (out / marker).exists():
        raise DataError(f"{out}: holds something else (no {marker}); choose another folder")
