# SPDX-License-Identifier: Apache-2.0
"""The progress bar of all verbs: on stderr, with counts and the time left."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def new_bar() -> Progress:
    """Return a bar that has not started: an empty one would print an empty line above an error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
