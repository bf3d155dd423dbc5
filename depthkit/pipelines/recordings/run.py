# SPDX-License-Identifier: Apache-2.0
"""Many recordings through one verb: which ones, what is done already, the rest side by side.

Each recording gets a folder of its own that appears when all of it is there, with the question it
answers beside it (recording.json). A run that was stopped goes on where the folders end.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from depthkit import __version__
from depthkit.data.folder import make_folder
from depthkit.data.prepare import add_to_split
from depthkit.errors import ConfigError, DataError
from depthkit.pipelines.checks import check_at_least, check_choice, check_choices
from depthkit.pipelines.door import infer, odometry, prepare
from depthkit.pipelines.door_reconstruct import reconstruct
from depthkit.pipelines.odometry.options import WORD
from depthkit.pipelines.output_folder import SUMMARY
from depthkit.pipelines.recordings.crew import run_all
from depthkit.pipelines.recordings.find import Recording, find_recordings
from depthkit.pipelines.recordings.job import Job, Outcome, not_run
from depthkit.pipelines.recordings.overview import (
    OVERVIEW,
    PAGE,
    RecordingsSummary,
    read_earlier,
    write_overview,
    write_page,
)
from depthkit.pipelines.records import plain
from depthkit.watcher import SILENT, Watcher

Verb = Literal["prepare", "odometry", "reconstruct", "infer"]
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "odometry": odometry,
    "reconstruct": reconstruct,
    "infer": infer,
}
SHOWN = {
    "prepare": ("frames", "poses", "depth"),
    "odometry": ("frames", "poses", "path_length", "path_scale"),
    "reconstruct": ("frames", "poses", "depth_frames", "scale"),
    "infer": ("frames", "coverage", "scale"),
}
"""Fields of a verb's summary that the overview shows."""
REPORTS = {"odometry": "report/index.html", "reconstruct": "report.html"}
SET_HERE = ("source", "out", "force", "workers", "watcher")
"""Arguments of a verb that every recording gets from here."""
OF_ONE = ("sequence", "name", "write_poses")
"""Options that make sense for a single recording."""
FILES_OF_ONE = {"poses": (str(WORD),), "imu": ("auto", "none")}
"""Options that name a file about a single recording, unless they are one of these words."""


@dataclass(frozen=True)
class RecordingsOptions:
    """One run over many recordings."""

    verb: Verb
    """What is done with each."""
    sources: Sequence[str | Path]
    """Recordings, folders of recordings, or @FILE with a path a line."""
    out: Path
    """Folder that gets one folder a recording, recordings.json and index.html."""
    workers: int | None = None
    """Recordings at a time; None for one, on a cluster for as many as it has cores."""
    ray: str = ""
    """Address of a Ray cluster, or local for one on this machine; empty for processes."""
    force: bool = False
    """Replace earlier outputs; else those of the same source and options are kept."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the verb, as its function takes them."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, workers=self.workers)
        _check_words(self.verb, self.words)


def names_several(
    verb: str, sources: Sequence[str | Path], *, workers: int | None = None, ray: str = ""
) -> bool:
    """Whether a call is about many recordings, whose folders go into one folder.

    Args:
        verb: `prepare` converts all sequences of one source by itself.
        sources: as given.
        workers: asks for a folder a recording, even of a single one; None where not given.
        ray: the same.
    """
    if len(sources) > 1 or ray or (str(sources[0]).startswith("@") and not _exists(sources[0])):
        return True
    if verb == "prepare":
        return False
    return workers is not None or len(find_recordings(sources, verb)) > 1


def recordings(options: RecordingsOptions, watcher: Watcher = SILENT) -> RecordingsSummary:
    """Run a verb over many recordings, several at a time; errors of one do not stop the others.

    Args:
        options: which recordings, what to do with them, where.
        watcher: receives progress, what the verb says of each recording, and errors.

    Returns:
        One record a recording, in the order of the sources; those that failed say why.

    Raises:
        ConfigError: an option that the verb does not take, or that is of one recording only.
        DataError: no recording, two of one name, or an output folder that holds something else.
        EngineError: Ray is not installed, or no cluster answers.
    """
    # 1. Which recordings, and what is done already.
    jobs = [_plan(options, one) for one in find_recordings(options.sources, options.verb)]
    _check_output(options.out)
    earlier = read_earlier(options.out)
    is_new = not options.out.exists()
    make_folder(options.out)
    outcomes = {
        job.name: _kept(job, earlier) for job in jobs if job.is_done() and not options.force
    }
    if outcomes:
        watcher.note(f"{len(outcomes)} of {len(jobs)} recordings finished by an earlier run, kept")
    # 2. The others, side by side; the overview grows with them.
    rest = [job for job in jobs if job.name not in outcomes]
    if rest:
        watcher.begin(options.verb, len(rest))
    try:
        for outcome in run_all(rest, workers=options.workers, ray=options.ray):
            outcomes[outcome.name] = _with_report(outcome, options)
            write_overview(_sum_up(options, jobs, outcomes))
            _tell(outcome, watcher)
    finally:
        if is_new and not any(options.out.iterdir()):
            options.out.rmdir()
    # 3. What belongs to all of them.
    summary = _sum_up(options, jobs, outcomes)
    if options.verb == "prepare":
        _order_split(options, summary)
    write_overview(summary)
    write_page(summary)
    return summary


def _plan(options: RecordingsOptions, recording: Recording) -> Job:
    """Put together the call for one recording."""
    words = {**options.words, "source": recording.source}
    folder = options.out / recording.name
    if options.verb == "prepare":
        words |= {"name": recording.name, "out": options.out, "workers": 1}
        if recording.sequence:
            words |= {"source": recording.whole, "sequence": recording.sequence}
    else:
        words |= {"out": folder}
    return Job(
        name=recording.name,
        source=str(recording.source),
        work=FUNCTIONS[options.verb],
        keywords={**words, "force": options.force},
        out=folder,
        stamp=_stamp(options.verb, recording.source, words),
        shown=SHOWN[options.verb],
        cwd=os.getcwd(),
    )


def _stamp(verb: str, source: Path, words: Mapping[str, Any]) -> str:
    """Write down what decides the output: version, verb, source, options."""
    question = {
        "depthkit": __version__,
        "verb": verb,
        "source": str(source.resolve()),
        "bytes": source.stat().st_size if source.is_file() else None,
        "options": {name: words[name] for name in sorted(words) if name not in SET_HERE},
    }
    return json.dumps(plain(question), indent=2, default=str) + "\n"


def _kept(job: Job, earlier: Mapping[str, Outcome]) -> Outcome:
    """Return the outcome of an earlier run, where its overview knows it."""
    known = earlier.get(job.name)
    if known is None or known.state == "failed":
        return not_run(job, "kept")
    return replace(known, state="kept", source=job.source, out=str(job.out))


def _with_report(outcome: Outcome, options: RecordingsOptions) -> Outcome:
    report = REPORTS.get(options.verb, "")
    if not report or outcome.state == "failed":
        return outcome
    return replace(outcome, report=f"{outcome.name}/{report}")


def _tell(outcome: Outcome, watcher: Watcher) -> None:
    """Pass on what the verb said of a recording, and its error."""
    watcher.advance(1)
    for note in outcome.notes:
        watcher.note(f"{outcome.name}: {note.removeprefix(f'{outcome.name}: ')}")
    if outcome.attempts > 1:
        watcher.note(f"{outcome.name}: its worker was killed, tried {outcome.attempts} times")
    if outcome.error:
        watcher.note(f"{outcome.name}: failed: {outcome.error}")


def _sum_up(
    options: RecordingsOptions, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]
) -> RecordingsSummary:
    """List what is known so far, in the order of the sources."""
    known = tuple(outcomes[job.name] for job in jobs if job.name in outcomes)
    return RecordingsSummary(options.verb, str(options.out), known)


def _order_split(options: RecordingsOptions, summary: RecordingsSummary) -> None:
    """Enter the sequences in split.yaml in the order of the sources, whichever was ready first."""
    part = options.words.get("split", "train")
    for one in summary.recordings:
        if one.state != "failed":
            add_to_split(options.out, one.name, part)


# --- checks --------------------------------------------------------------------------------------


def _check_words(verb: str, words: Mapping[str, Any]) -> None:
    """Refuse options that the verb's function does not take, or that are of one recording."""
    known = inspect.signature(FUNCTIONS[verb]).parameters
    for name in words:
        check_choice("option", name, [one for one in known if one not in SET_HERE])
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in (*SET_HERE, *words):
            raise ConfigError(f"{name}: {verb} needs it")
    for name in OF_ONE:
        if words.get(name):
            raise ConfigError(f"{name}: is for one recording; give them one by one")
    for name, allowed in FILES_OF_ONE.items():
        if words.get(name) is not None and str(words[name]) not in allowed:
            raise ConfigError(
                f"{name}: {words[name]} is a file about one recording; give them one by one"
            )


def _check_output(out: Path) -> None:
    """Refuse a folder that is itself an output, or holds a page of someone else.

    Raises:
        DataError: names what is there.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; --out is the folder that gets one folder a recording")
    if (out / OVERVIEW).exists():
        return
    for name in (SUMMARY, "camera.yaml", PAGE):
        if (out / name).exists():
            raise DataError(
                f"{out}: holds {name} of something else; --out is the folder that gets one folder "
                "a recording"
            )


def _exists(word: str | Path) -> bool:
    return Path(word).exists()
