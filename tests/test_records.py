# SPDX-License-Identifier: Apache-2.0
"""Records as JSON: what is saved reads back, what is no such record is one line."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.pipelines.records import load_record, plain, save_record
from depthkit.trajectory import Trajectory


@dataclass(frozen=True)
class Inner:
    """A record in a record."""

    name: str
    share: float


@dataclass(frozen=True)
class Outer:
    """One field of each kind."""

    count: int
    ratio: float
    unknown: float | None
    cell: str | float | int | None
    path: Path
    scale: Literal["metric", "relative"]
    inner: Inner
    parts: tuple[Inner | None, ...]
    size: tuple[int, int]
    files: dict[str, tuple[int, ...]]


def make(**changes: object) -> Outer:
    """Return a record, with some of its fields changed."""
    values: dict[str, object] = {
        "count": 3,
        "ratio": 0.1,
        "unknown": None,
        "cell": 4,
        "path": Path("a/b"),
        "scale": "metric",
        "inner": Inner("x", 1e-9),
        "parts": (Inner("y", 2.0), None),
        "size": (48, 64),
        "files": {"a": (1, 2), "b": ()},
    }
    return Outer(**values | changes)  # type: ignore[arg-type]


def test_every_kind_of_field_reads_back(tmp_path: Path) -> None:
    """Numbers to the last digit, paths, tuples, nested records; a cell keeps its own type."""
    for record in (make(), make(cell="text", unknown=0.1 + 0.2), make(cell=None, parts=())):
        again = load_record(Outer, save_record(record, tmp_path / "record.json"))
        assert again == record and type(again.cell) is type(record.cell)


def test_numbers_that_are_not_finite_are_null_and_come_back_as_nan(tmp_path: Path) -> None:
    """JSON has no word for them; a file of them is still JSON."""
    path = save_record(make(ratio=math.inf), tmp_path / "record.json")
    assert "Infinity" not in path.read_text() and "NaN" not in path.read_text()
    assert math.isnan(load_record(Outer, path).ratio)
    assert plain([np.float32(math.nan), np.int64(3), {"a": (1.5,)}]) == [None, 3, {"a": [1.5]}]


def test_arrays_read_back(tmp_path: Path) -> None:
    """Stamps and poses to the last digit, holes included."""
    poses = np.random.default_rng(0).normal(size=(3, 4, 4))
    poses[1, 0, 3] = np.nan
    record = Trajectory(np.array([0.1, 0.2, 0.3]), poses)
    again = load_record(Trajectory, save_record(record, tmp_path / "path.json"))
    np.testing.assert_array_equal(again.stamps, record.stamps)
    np.testing.assert_array_equal(again.T_world_cam, poses)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("not json", "is not JSON"),
        ("[]", "holds no Inner: expected an object"),
        ('{"name": "x"}', "keys that only one of the two has: share"),
        ('{"name": "x", "share": 1, "more": 2}', "keys that only one of the two has: more"),
        ('{"name": 5, "share": 1}', "expected str, got 5"),
        ('{"name": "x", "share": "much"}', "holds no Inner: "),
    ],
)
def test_what_is_no_such_record_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    """The file, and what is wrong with it."""
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_record(Inner, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """So is a folder in its place."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            load_record(Inner, path)
