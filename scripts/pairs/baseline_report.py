# SPDX-License-Identifier: Apache-2.0
"""What `evaluate_baselines.py` says: rows over all films, a text table, a picture of each film."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from depthkit.evaluation.depth import DepthScore
from depthkit.evaluation.sparsification import PixelSample

COLOURS = ("#999999", "#56b4e9", "#3b3b3b", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2")


@dataclass
class Answer:
    """One rule's answer to one frame."""

    score: DepthScore | None
    ms: float
    shifts: tuple[int, ...]
    baselines: tuple[float, ...]
    parallax: tuple[float, ...]
    trusted: float
    """Mean confidence."""
    reason: str


@dataclass
class Film:
    """All answers on one sequence; lists over the scored frames."""

    name: str
    frames: list[int] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    speed: list[float] = field(default_factory=list)
    """Metres a second."""
    answers: dict[str, list[Answer]] = field(default_factory=dict)


def summarise(films: list[Film], samples: dict[str, PixelSample]) -> dict[str, Any]:
    """Return one row a rule over all films, and the gain of the adaptive rules."""
    every = {name: [a for film in films for a in film.answers[name]] for name in samples}
    answered = np.array([[a.score is not None for a in every[name]] for name in every])
    common = np.flatnonzero(answered.all(axis=0))
    rows = {
        name: row(answers, common, samples[name]) | {"by_film": film_means(films, name)}
        for name, answers in every.items()
    }
    return {
        "frames": len(answered[0]),
        "frames_common": len(common),
        "gain": {
            "over_all_answers": gain({name: row["abs_rel"] for name, row in rows.items()}),
            "over_common_frames": gain({n: row["common"]["abs_rel"] for n, row in rows.items()}),
        },
        "rows": rows,
    }


def row(answers: list[Answer], common: np.ndarray, sample: PixelSample) -> dict[str, Any]:
    """Return one rule's figures over all films, and over the frames that all rules answered."""
    scores = [a.score for a in answers if a.score is not None]
    curve = sample.result() if sample.frames else None
    ms = np.array([a.ms for a in answers])
    return {
        **means(scores),
        "coverage": len(scores) / len(answers),
        "pixel_coverage": mean([s.pixel_coverage for s in scores]),
        "ause": None if curve is None else curve.ause,
        "aurg": None if curve is None else curve.aurg,
        "ms": float(np.median(ms)),
        "ms_p99": float(np.percentile(ms, 99)),
        "common": means([answers[i].score for i in common]),
        "refused": reasons(answers),
    }


def film_means(films: list[Film], rule: str) -> dict[str, float | None]:
    """Average a rule's abs_rel over each film."""
    return {
        film.name: mean([a.score.abs_rel for a in film.answers[rule] if a.score is not None])
        for film in films
    }


def means(scores: list[DepthScore]) -> dict[str, float | None]:
    """Average over frames."""
    return {key: mean([getattr(s, key) for s in scores]) for key in ("abs_rel", "rmse", "a1")}


def mean(values: list[float]) -> float | None:
    """Average, None of nothing."""
    return float(np.mean(values)) if values else None


def gain(abs_rel: dict[str, float | None]) -> dict[str, Any] | None:
    """Compare the best rule that was aimed at with the best fixed shift."""
    known = {name: value for name, value in abs_rel.items() if value is not None}
    fixed = [name for name in known if name.startswith("fixed")]
    aimed = [name for name in known if name not in fixed]
    if not fixed or not aimed:
        return None
    best_fixed, best = min(fixed, key=known.__getitem__), min(aimed, key=known.__getitem__)
    share = 1 - known[best] / known[best_fixed]
    return {"best": best, "best_fixed": best_fixed, "percent": round(100 * share, 1)}


def reasons(answers: list[Answer]) -> dict[str, int]:
    """Count why there was no depth."""
    found = [a.reason for a in answers if a.score is None]
    return {reason: found.count(reason) for reason in sorted(set(found))[:20]}


def table(summary: dict[str, Any]) -> str:
    """Write the rows as text."""
    keys = ("abs_rel", "rmse", "a1", "coverage", "pixel_coverage", "ause", "aurg", "ms", "ms_p99")
    heads = ("abs_rel", "rmse", "a1", "frames", "pixels", "ause", "aurg", "ms", "ms_p99")
    lines = ["".join(f"{h:>9}" for h in ("", *heads, "abs_rel*", "rmse*"))]
    for name, row in summary["rows"].items():
        values = [*(row[key] for key in keys), row["common"]["abs_rel"], row["common"]["rmse"]]
        lines.append(f"{name:9.9}" + "".join(f"{number(v):>9}" for v in values))
    films = list(next(iter(summary["rows"].values()))["by_film"])
    lines += [
        "",
        "abs_rel of each film",
        " " * 20 + "".join(f"{n[:10]:>11}" for n in summary["rows"]),
    ]
    for film in films:
        cells = (number(row["by_film"][film]) for row in summary["rows"].values())
        lines.append(f"{film:20.20}" + "".join(f"{cell:>11}" for cell in cells))
    lines += [
        "",
        f"{summary['frames']} frames; * over the {summary['frames_common']} that all answered",
        f"best adaptive against best fixed: {json.dumps(summary['gain'])}",
    ]
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def picture(path: Path, film: Film) -> None:
    """Draw speed, chosen baselines and error of each rule over time."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    speed, baselines, errors = figure.subplots(3, 1, sharex=True)
    speed.plot(film.stamps, film.speed, color=COLOURS[2])
    speed.set(ylabel="speed [m/s]", title=film.name, yscale="log")
    for colour, (name, answers) in zip(COLOURS, film.answers.items(), strict=False):
        points = [(t, b) for t, a in zip(film.stamps, answers, strict=True) for b in a.baselines]
        if points:
            baselines.plot(*zip(*points, strict=True), ".", ms=3, color=colour, label=name)
        found = [np.nan if a.score is None else a.score.abs_rel for a in answers]
        errors.plot(film.stamps, found, color=colour, lw=1.2, label=name)
    baselines.set(ylabel="baselines [m]", yscale="log")
    errors.set(ylabel="abs_rel", xlabel="time [s]", yscale="log")
    errors.legend(ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=90)
