#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ablation as a markdown table: one row a variant, mean and spread over its seeds.

Reads the JSON files of `evaluate_coop.py`. Runs whose names differ in `_s0`, `_s1`, ... alone are
one variant; the spread is the standard deviation (n - 1) over them. The best mean of each column is
bold. With --against VARIANT a second table gives the change of each column relative to it.

Usage: python scripts/coop/coop_report.py FILE.json... [--against VARIANT] [--out FILE.md]
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Column(NamedTuple):
    """A figure of `evaluate_coop.py` as it is shown."""

    key: str
    title: str
    digits: int
    less_is_better: bool = True


COLUMNS = (
    Column("abs_rel", "abs_rel", 4),
    Column("abs_rel_moving", "moving", 4),
    Column("abs_rel_static", "static", 4),
    Column("ate_5_m", "ATE-5 [m]", 4),
    Column("t_rel_percent", "t_rel [%]", 2),
    Column("epe", "EPE [px]", 2),
    Column("epe_noc", "EPE seen", 2),
    Column("epe_occ", "EPE occluded", 2),
    Column("epe_moving", "EPE moving", 2),
    Column("epe_moving_noc", "EPE moving, seen", 2),
    Column("moving_iou", "mask IoU", 3, less_is_better=False),
    Column("moving_ap", "mask AP", 3, less_is_better=False),
)

Runs = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Read, group, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--against", metavar="VARIANT", help="whose figures the others' change is")
    parser.add_argument("--out", type=Path, help="write the tables here too")
    args = parser.parse_args()
    runs = group(read_records(args.files))
    if args.against is not None and args.against not in runs:
        parser.error(f"--against {args.against}: no such variant; there are {', '.join(runs)}")
    tables = [absolute_table(runs)]
    if args.against is not None:
        tables.append(relative_table(runs, args.against))
    text = "\n\n".join([*tables, "\n".join(remarks(runs))])
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


def read_records(files: list[Path]) -> Iterator[dict[str, Any]]:
    """Read one record or a list of them from each file."""
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            sys.exit(f"coop_report: error: {file}: {error}")
        yield from content if isinstance(content, list) else [content]


def group(records: Iterator[dict[str, Any]]) -> Runs:
    """Gather the seeds of each variant, in the order in which variants appear."""
    runs: Runs = {}
    for record in records:
        runs.setdefault(re.sub(r"[_-]s(eed)?\d+$", "", record["name"]), []).append(record)
    return runs


def values(records: list[dict[str, Any]], key: str) -> np.ndarray:
    """Return a figure of all runs that have it."""
    return np.array([r[key] for r in records if r.get(key) is not None], dtype=np.float64)


def absolute_table(runs: Runs) -> str:
    """Return mean and spread of every column that any run has."""
    columns = _known(runs)
    rows = [["variant", "seeds", *(column.title for column in columns)]]
    best = {column.key: _best(runs, column) for column in columns}
    for name, records in runs.items():
        cells = [_cell(values(records, c.key), c, best[c.key]) for c in columns]
        rows.append([name, str(len(records)), *cells])
    return _markdown(rows)


def relative_table(runs: Runs, against: str) -> str:
    """Return the change of each mean, percent of the mean of one variant.

    Equal seeds are compared with each other where both variants have them: the spread is then that
    of the change, not of the runs.
    """
    columns = [column for column in _known(runs) if len(values(runs[against], column.key))]
    rows = [[f"change against {against}", *(column.title for column in columns)]]
    for name, records in runs.items():
        if name != against:
            rows.append([name, *(_change(records, runs[against], c.key) for c in columns)])
    return _markdown(rows)


def _change(records: list[dict[str, Any]], others: list[dict[str, Any]], key: str) -> str:
    ours, theirs = values(records, key), values(others, key)
    if len(ours) == 0 or theirs.mean() == 0:
        return ""
    mean = 100 * (ours.mean() / theirs.mean() - 1)
    by_seed = {r["seed"]: r[key] for r in others if "seed" in r and r.get(key)}
    pairs = [
        100 * (r[key] / by_seed[r["seed"]] - 1)
        for r in records
        if r.get("seed") in by_seed and r.get(key) is not None
    ]
    spread = f" ± {np.std(pairs, ddof=1):.1f}" if len(pairs) > 1 else ""
    return f"{mean:+.1f}{spread} %"


def remarks(runs: Runs) -> list[str]:
    """Say what the figures stand on, where the runs agree on it, and what is amiss."""
    records = [record for group in runs.values() for record in group]
    lines = [f"{len(records)} runs; mean ± standard deviation over seeds; best mean bold."]
    for key in ("step", "frames", "sequences", "size", "t_rel_lengths_m"):
        found = {json.dumps(r[key]) for r in records if r.get(key) is not None}
        if len(found) > 1:
            lines.append(f"Not the same in all runs: {key} ({'; '.join(sorted(found))}).")
    lines += [f"{r['name']}: {note}" for r in records for note in r.get("notes", ())]
    return lines


def _known(runs: Runs) -> list[Column]:
    return [c for c in COLUMNS if any(len(values(records, c.key)) for records in runs.values())]


def _best(runs: Runs, column: Column) -> float:
    means = [v.mean() for records in runs.values() if len(v := values(records, column.key))]
    return min(means) if column.less_is_better else max(means)


def _cell(found: np.ndarray, column: Column, best: float) -> str:
    if len(found) == 0:
        return ""
    text = f"{found.mean():.{column.digits}f}"
    text = f"**{text}**" if found.mean() == best else text
    return text if len(found) == 1 else f"{text} ± {found.std(ddof=1):.{column.digits}f}"


def _markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


if __name__ == "__main__":
    main()
