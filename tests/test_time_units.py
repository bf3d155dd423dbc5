# SPDX-License-Identifier: Apache-2.0
"""Units of time stamps: told by size and spacing, said, and refused where impossible."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.trajectory import load_euroc, load_trajectory, load_tum
from depthkit.trajectory.time_units import detect_unit, readable, to_seconds

EPOCH_NS = 1403636579763555584
"""The first frame of EuRoC MH_01: 24 June 2014."""


@pytest.mark.parametrize(
    ("start", "step", "unit"),
    [
        (EPOCH_NS, 50_000_000, "ns"),
        (EPOCH_NS // 1000, 50_000, "us"),
        (EPOCH_NS // 10**6, 50, "ms"),
        (EPOCH_NS / 1e9, 0.05, "s"),
        (EPOCH_NS // 10**9, 7, "s"),  # stills of a survey
        (0, 50_000_000, "ns"),
        (0, 33_333, "us"),
        (0, 50, "ms"),
        (0, 16.667, "ms"),
        (0, 1 / 30, "s"),
        (0, 1, "s"),
        (12e9, 33_333_333, "ns"),  # since boot
        (2e9, 33_333, "us"),  # 33 minutes since boot; read as seconds it is a date, 9 h apart
    ],
)
def test_unit_is_told_by_size_and_spacing(start: float, step: float, unit: str) -> None:
    """Every clock that is met in practice has one unit in which its steps make sense."""
    assert detect_unit(start + step * np.arange(6)) == unit


def test_seconds_keep_their_values() -> None:
    """Stamps in seconds pass unchanged and without a word."""
    stamps = 1403636579.763555527 + 0.05 * np.arange(4)
    seconds, assumed = to_seconds(stamps, "auto", "times.txt")
    np.testing.assert_array_equal(seconds, stamps)
    assert assumed == ()


def test_another_unit_is_said() -> None:
    """50 between frames are milliseconds; the sentence names the option."""
    seconds, assumed = to_seconds(np.array([0.0, 50, 100]), "auto", "times.txt")
    np.testing.assert_allclose(seconds, [0, 0.05, 0.1])
    assert "times.txt: times taken as milliseconds, 0.05 s apart (--time-unit" in assumed[0]


def test_slow_seconds_are_said() -> None:
    """Whole numbers 7 apart may be seconds or not: seconds are taken with a word."""
    seconds, assumed = to_seconds(7.0 * np.arange(4), "auto", "times.txt")
    assert seconds[-1] == 21 and "seconds, 7 s apart" in assumed[0]


def test_what_the_user_says_is_done_without_a_word() -> None:
    """--time-unit overrules size and spacing."""
    seconds, assumed = to_seconds(np.array([0.0, 50, 100]), "s", "times.txt")
    assert seconds[-1] == 100 and assumed == ()


@pytest.mark.parametrize(
    ("stamps", "unit", "words"),
    [
        (EPOCH_NS + 5e7 * np.arange(3), "s", "1.58 years apart when read as seconds"),
        (1e-6 * np.arange(3), "auto", "1e-06 s apart"),
    ],
)
def test_impossible_steps_are_refused(stamps: np.ndarray, unit: str, words: str) -> None:
    """Frames years or a microsecond apart come from no camera."""
    with pytest.raises(DataError, match=words):
        to_seconds(stamps, unit, "times.txt")


@pytest.mark.parametrize("stamps", [[], [5.0], [5.0, 5.0], [np.nan, 1.0, 2.0]])
def test_few_or_bad_stamps_pass(stamps: list[float]) -> None:
    """Too few to tell anything from are seconds; NaN is left for the checks of the reader."""
    seconds, _ = to_seconds(np.array(stamps), "auto", "times.txt")
    np.testing.assert_array_equal(seconds, np.array(stamps))


def test_readable_durations() -> None:
    """A year is named as such."""
    assert [readable(s) for s in (0.05, 86400.0 * 3, 5e7)] == ["0.05 s", "3 days", "1.58 years"]


def _rows(path: Path, stamps: list[str], sep: str = " ") -> Path:
    path.write_text("\n".join(sep.join([t, "1", "2", "3", "0", "0", "0", "1"]) for t in stamps))
    return path


def test_pose_files_of_all_units_agree(tmp_path: Path) -> None:
    """TUM rows in seconds, milliseconds and microseconds have the same times."""
    texts = {
        "s": ["1403636579.75", "1403636579.80", "1403636579.85"],
        "ms": ["1403636579750", "1403636579800", "1403636579850"],
        "us": ["1403636579750000", "1403636579800000", "1403636579850000"],
    }
    loaded = {u: load_tum(_rows(tmp_path / u, t)) for u, t in texts.items()}
    for unit, trajectory in loaded.items():
        np.testing.assert_allclose(trajectory.stamps, loaded["s"].stamps, atol=1e-6)
        assert bool(trajectory.assumed) == (unit != "s")


def test_far_keyframes_stay_seconds(tmp_path: Path) -> None:
    """Stamps with decimals may be 25 s apart; whole numbers that far apart are milliseconds."""
    decimals = load_tum(_rows(tmp_path / "a", ["0.000", "25.000", "50.000"]))
    whole = load_tum(_rows(tmp_path / "b", ["0", "25", "50"]))
    assert decimals.stamps[-1] == 50 and whole.stamps[-1] == 0.05


def test_euroc_table_of_microseconds(tmp_path: Path) -> None:
    """Sixteen digits are microseconds of this century, not nanoseconds of 1970."""
    path = tmp_path / "a.csv"
    path.write_text("\n".join(f"{t},1,2,3,1,0,0,0" for t in (1403636579750000, 1403636579800000)))
    trajectory = load_euroc(path)
    np.testing.assert_allclose(np.diff(trajectory.stamps), 0.05, atol=1e-6)
    assert any("microseconds" in text for text in load_trajectory(path).assumed)


def test_time_unit_reaches_the_reader(tmp_path: Path) -> None:
    """A unit that is given is taken by every format."""
    assert load_trajectory(_rows(tmp_path / "a", ["0", "50"]), time_unit="s").stamps[-1] == 50
