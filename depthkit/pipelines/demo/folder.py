# SPDX-License-Identifier: Apache-2.0
"""The folder of a demo, and the marker by which a later one may replace it."""

from __future__ import annotations

import shutil
from pathlib import Path

from depthkit.errors import DataError

MARKER = "about.txt"
ABOUT = "Written by 'depthkit demo': synthetic worlds, what is made of them, a report.\n"


def start_folder(out: Path) -> None:
    """Make the folder anew, its marker first: an interrupted demo can be replaced too.

    Raises:
        DataError: the folder cannot be made.
    """
    try:
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)
        (out / MARKER).write_text(ABOUT)
    except OSError as error:
        raise DataError(f"{out}: cannot make folder: {error.strerror}") from error
