# SPDX-License-Identifier: Apache-2.0
"""What all scores share: a report folder that must be free, cells as text."""

from pathlib import Path

from depthkit.errors import DataError
from depthkit.evaluation.report import Cell, format_cell

__all__ = ["Cell", "check_report", "format_cell"]


def check_report(folder: str | Path | None, *, force: bool) -> Path | None:
    """Check the report's folder before any work is done; None when no report is wanted.

    Raises:
        DataError: the folder holds files and `force` is off.
    """
    if folder is None:
        return None
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise DataError(f"{folder}: is a file; --report needs a folder")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise DataError(f"{folder}: holds files already; name another folder or pass --force")
    return path
