# SPDX-License-Identifier: Apache-2.0
"""How long a video file is, whether it was cut, and when its frames were taken."""

from pathlib import Path

import numpy as np
import pytest
from source_makers import corrupt, make_video

from depthkit.data.importers.video_file import VideoFacts, find_missing, is_whole
from depthkit.data.importers.video_times import choose_times
from depthkit.errors import DataError

# --- how long, and when --------------------------------------------------------------------------


def facts_of(path: Path, promised: int, rate: float, *, is_raw: bool = False) -> VideoFacts:
    """What a file says of itself."""
    return VideoFacts(path, (48, 64), promised, rate, 1.0, 0, 0, is_raw)


def test_whole_files_are_not_called_cut(tmp_path):
    """Lengths that the parts of MP4, AVI and Matroska announce end where the file ends."""
    for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.mkv", "MJPG")):
        video = make_video(tmp_path / name, codec=codec)
        assert is_whole(video) is True
        corrupt(video, lambda data: data[:-200])
        assert is_whole(video) is False


def test_count_of_a_container_is_only_a_guess(tmp_path):
    """A whole clip that starts at 3.2 s promises 80 frames and has 16: no complaint."""
    video = make_video(tmp_path / "c.mkv", 10, 20.0, "MJPG")
    assert find_missing(facts_of(video, 80, 20.0), 16, 3.95, 0.05) == ""
    corrupt(video, lambda data: data[:-100])
    words = find_missing(facts_of(video, 80, 20.0), 16, 0.75, 0.05)
    assert words == "video ends after 16 of 80 frames: the file is cut short"


def test_clock_tells_a_cut_where_lengths_do_not(tmp_path):
    """A file of another kind that announces 4 s and ends at 2.4 s; one that ends there."""
    video = tmp_path / "a.flv"
    video.write_bytes(b"FLV\x01" + b"\0" * 100)
    words = find_missing(facts_of(video, 80, 20.0), 48, 2.35, 0.05)
    assert words == "frames end at 2.40 s, the file announces 4.00 s: was it cut short?"
    assert find_missing(facts_of(video, 80, 20.0), 48, 3.95, 0.05) == ""


def test_times_lost_at_the_end_are_continued(tmp_path):
    """OpenCV tells 0 for the frames a decoder held back: they go on by the usual step."""
    stamps = np.array([0.1, 0.15, 0.2, 0.25, 0.0, 0.0])
    found = choose_times(facts_of(tmp_path, 6, 600.0), stamps)
    np.testing.assert_allclose(found.times, [0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
    assert "2 of 6 frames have no time of their own" in found.assumed[0]


def test_a_repeated_time_is_filled_in(tmp_path):
    """One of forty frames has the stamp of the one before: halfway to the next, said once."""
    stamps = np.arange(40) * 0.1
    stamps[11] = stamps[10]
    found = choose_times(facts_of(tmp_path, 40, 10.0), stamps)
    np.testing.assert_allclose(found.times, np.arange(40) * 0.1, atol=1e-12)
    assert len(found.assumed) == 1 and "1 of 40 frames" in found.assumed[0]


@pytest.mark.parametrize("stamps", [np.zeros(40), np.arange(40)[::-1] * 0.1, np.full(40, np.nan)])
def test_times_that_do_not_rise_give_way_to_the_rate(tmp_path, stamps):
    """Index / rate, said with the option; without a rate that is an error."""
    found = choose_times(facts_of(tmp_path, 40, 25.0), stamps)
    np.testing.assert_allclose(found.times, np.arange(40) / 25.0)
    assert "index / 25 frames/s used (prepare --fps" in found.assumed[0]
    with pytest.raises(DataError, match="a frame rate of 0; give --fps"):
        choose_times(facts_of(tmp_path, 40, 0.0), stamps)


def test_raw_stream_has_a_guessed_rate(tmp_path):
    """H.264 without a container: OpenCV's 25 frames/s are an assumption even where times rise."""
    found = choose_times(facts_of(tmp_path, 0, 25.0, is_raw=True), np.arange(4) / 25.0)
    assert "a raw stream carries no times" in found.assumed[0]


def test_variable_rate_keeps_its_times_and_is_said(tmp_path):
    """Steps of 50 to 250 ms: the container's times, one line."""
    stamps = np.array([0.0, 0.05, 0.3, 0.35, 0.4])
    found = choose_times(facts_of(tmp_path, 5, 20.0), stamps)
    np.testing.assert_array_equal(found.times, stamps)
    assert found.notes[0].startswith("variable frame rate: steps of 50 to 250 ms, usually 50")
