# SPDX-License-Identifier: Apache-2.0
"""`depthkit.recordings`: many recordings from Python, as the command line processes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.pipelines.recordings.overview import RecordingsSummary
    from depthkit.pipelines.recordings.run import Verb


def recordings(
    verb: Verb,
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    workers: int | None = None,
    ray: str = "",
    force: bool = False,
    watcher: Watcher = SILENT,
    **options: Any,
) -> RecordingsSummary:
    """Run prepare, odometry, reconstruct or infer over many recordings, several at a time.

    A run that was stopped goes on where it was when it is called again. Worker processes import the
    script that calls this: it needs an `if __name__ == "__main__"` around the call.

    Args:
        verb: what is done with each recording.
        sources: recordings, folders of recordings, or "@FILE" with a path a line.
        out: folder that gets one folder a recording, recordings.json and index.html.
        workers: recordings at a time, a process of one core each; None for one, on a cluster for as
            many as it has cores.
        ray: address of a Ray cluster (HOST:PORT, auto), whose machines see the same folders; local
            starts one on this machine; empty for processes of this machine.
        force: replace earlier outputs; else those of the same source and options are kept.
        watcher: receives progress, what the verb says of each recording, and errors.
        options: further options of the verb, as its own function takes them.

    Returns:
        recordings: what became of each. failed: names of those that failed, which stop no other.

    Raises:
        ConfigError: an option that the verb does not take, or that is of one recording only.
        DataError: no recording, two of one name, or an output folder that holds something else.
        EngineError: Ray is not installed, or no cluster answers.
    """
    from depthkit.pipelines.recordings.run import RecordingsOptions
    from depthkit.pipelines.recordings.run import recordings as work

    words = [sources] if isinstance(sources, str | Path) else list(sources)
    return work(RecordingsOptions(verb, words, Path(out), workers, ray, force, options), watcher)
