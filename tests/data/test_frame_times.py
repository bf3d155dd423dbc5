# SPDX-License-Identifier: Apache-2.0
"""Times of pictures in a folder: lists beside them, their names, units, lost and doubled rows."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from depthkit.data.importers.name_times import stamps_in_names
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from tests.data.source_makers import PINHOLE, listener, make_images, picture, run, run_one, save

NS = 1403636579763555584


def make_named(folder: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        save(folder / name, picture(i))
    return folder


@pytest.mark.parametrize(
    ("lines", "unit"),
    [
        ([str(NS + 50_000_000 * i) for i in range(4)], "nanoseconds"),
        ([str(50 * i) for i in range(4)], "milliseconds"),
        ([str(50_000 * i) for i in range(4)], "microseconds"),
    ],
)
def test_list_in_another_unit(tmp_path, lines, unit):
    """Frames end up 0.05 s apart whatever the unit, and the unit is said and kept."""
    source = make_images(tmp_path / "clip", 4)
    (source / "times.txt").write_text("\n".join(lines))
    notes, watcher = listener()
    (result,) = run(source, tmp_path / "out", watcher)
    np.testing.assert_allclose(np.diff(open_sequence(result.path).times), 0.05, atol=1e-6)
    assert any(f"times taken as {unit}, 0.05 s apart" in note for note in notes)
    header = yaml.safe_load((result.path / "camera.yaml").read_text())
    assert unit in header["source"]["assumed"][0]


def test_time_unit_overrules(tmp_path):
    """With --time-unit s the numbers are seconds."""
    source = make_images(tmp_path / "clip", 3)
    (source / "times.txt").write_text("0\n50\n100\n")
    assert run_one(source, tmp_path / "out", time_unit="s").times[-1] == 100


@pytest.mark.parametrize(
    "lines",
    [
        "frame1.png 5.0\nframe2.png 5.5\nframe3.png 7.25",
        "5.0 frame1.png\n5.5 frame2.png\n7.25 frame3.png",
        "# time file\n5.0,frame1\n5.5,frame2\n7.25,frame3",
        "time name\n5.0 rgb/frame1.jpg\n5.5 rgb/frame2.jpg\n7.25 rgb/frame3.jpg",
        "0 5.0 0.01\n1 5.5 0.01\n2 7.25 0.01",
        "frame1 5.0 12.5\nframe2 5.5 12.5\nframe3 7.25 12.5",
        "5.0\r\n5.5\r\n7.25\r\n",
    ],
)
def test_lists_of_many_programs(tmp_path, lines):
    """Names on either side, TUM mono's exposures, a header and Windows line ends."""
    source = make_images(tmp_path / "clip", 3)
    (source / "times.txt").write_text(lines)
    np.testing.assert_allclose(run_one(source, tmp_path / "out").times, [5.0, 5.5, 7.25])


def test_rows_are_paired_by_name(tmp_path):
    """A lost row leaves out its own picture and shifts no other; the order of rows is free."""
    source = make_images(tmp_path / "clip", 4)
    (source / "times.txt").write_text("7.0 frame4.png\n5.0 frame1.png\n6.0 frame3.png\n")
    notes, watcher = listener()
    (result,) = run(source, tmp_path / "out", watcher)
    sequence = open_sequence(result.path)
    np.testing.assert_allclose(sequence.times, [5.0, 6.0, 7.0])
    np.testing.assert_array_equal(sequence.read_frame(1), picture(2))
    assert any("1 of 4 pictures have no row in times.txt" in note for note in notes)


def test_doubled_time_is_left_out(tmp_path):
    """One of six frames with the time before it is no new frame."""
    source = make_images(tmp_path / "clip", 6)
    (source / "times.txt").write_text("0.0\n0.1\n0.1\n0.2\n0.3\n0.4\n")
    notes, watcher = listener()
    (result,) = run(source, tmp_path / "out", watcher)
    assert result.frames == 5
    assert any("1 frames repeat the time of the one before" in note for note in notes)


@pytest.mark.parametrize(
    ("names", "times"),
    [
        ([f"{NS + 50_000_000 * i}.png" for i in range(3)], [0, 0.05, 0.1]),
        ([f"img__0_{NS // 1000 + 50_000 * i}.png" for i in range(3)], [0, 0.05, 0.1]),
        ([f"1305031452.{791720 + 50000 * i}.png" for i in range(3)], [0, 0.05, 0.1]),
        ([f"{12.5 + 0.05 * i:.6f}.png" for i in range(3)], [0, 0.05, 0.1]),
        ([f"{50_000_000 * i:012d}.png" for i in range(3)], [0, 0.05, 0.1]),
    ],
)
def test_names_that_are_times(tmp_path, names, times):
    """Dates in any unit, decimals and large steps are times, and it is said."""
    notes, watcher = listener()
    (result,) = run(make_named(tmp_path / "clip", names), tmp_path / "out", watcher)
    found = open_sequence(result.path).times
    np.testing.assert_allclose(found - found[0], times, atol=1e-6)
    assert any("names" in note for note in notes)


@pytest.mark.parametrize(
    "names",
    [
        ["000000.png", "000001.png"],
        ["0000000010.png", "0000000020.png"],
        ["IMG_20230115_103055.png", "IMG_20230115_103056.png"],
        ["a.png", "b.png"],
        ["frame1403636579.png"],
    ],
)
def test_names_that_are_no_times(names):
    """Frame numbers, dates written out and words stay what they are."""
    assert stamps_in_names([Path(name) for name in names]) is None


def test_camera_and_times_beside_pictures(tmp_path):
    """Both files beside pictures are read: without frames/ it is no prepared sequence."""
    source = make_images(tmp_path / "clip", 3)
    (source / "camera.yaml").write_text(yaml.safe_dump(PINHOLE.to_record()))
    (source / "times.txt").write_text("0.0\n0.05\n0.1\n")
    sequence = run_one(source, tmp_path / "out", camera=None)
    assert sequence.camera == PINHOLE.camera
    np.testing.assert_allclose(sequence.times, [0, 0.05, 0.1])
    with pytest.raises(DataError, match="prepared sequence already"):
        run(sequence.root, tmp_path / "again")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no rows"),
        ("5\n6\n", "2 times for 3 images"),
        ("5\nx\n6\n", "cannot read times"),
        ("0\n1e-7\n2e-7\n", "1e-07 s apart"),
    ],
)
def test_bad_lists_are_one_line(tmp_path, text, words):
    """Empty, short, broken and impossible lists."""
    source = make_images(tmp_path / "clip", 3)
    (source / "times.txt").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        run(source, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_list_one_folder_up(tmp_path):
    """clip/images with clip/times.txt; one that fits nothing is passed over."""
    make_images(tmp_path / "clip" / "pictures", 3)
    (tmp_path / "clip" / "times.txt").write_text("1.0\n1.5\n2.0\n")
    np.testing.assert_allclose(
        run_one(tmp_path / "clip" / "pictures", tmp_path / "a").times, [1, 1.5, 2]
    )
    (tmp_path / "clip" / "times.txt").write_text("1.0\n1.5\n")
    assert run_one(tmp_path / "clip" / "pictures", tmp_path / "b").times[1] == pytest.approx(1 / 30)


def test_dates_written_out(tmp_path):
    """KITTI's timestamps.txt: 2011-09-26 13:02:25 UTC is 1317042145 s after 1970."""
    source = make_images(tmp_path / "clip", 3)
    lines = [f"2011-09-26 13:02:25.{i}00000000" for i in range(3)]
    (source / "timestamps.txt").write_text("\n".join(lines))
    times = run_one(source, tmp_path / "out").times
    np.testing.assert_allclose(times, 1317042145 + 0.1 * np.arange(3), atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "times"),
    [
        (["1403636579 900000000", "1403636579 950000000", "1403636580 0"], [0.9, 0.95, 1.0]),
        (["1403636579,900000", "1403636579,950000", "1403636580,0"], [0.9, 0.95, 1.0]),
        (["00:00:01.500", "00:01:02.250", "01:00:00"], [1.5, 62.25, 3600.0]),
        (["00:00:01,500", "00:00:02,000", "00:00:02,500"], [1.5, 2.0, 2.5]),
    ],
)
def test_times_of_two_parts(tmp_path, rows, times):
    """Seconds with nanoseconds as ROS prints them, hours with minutes and seconds."""
    source = make_images(tmp_path / "clip", 3)
    (source / "times.txt").write_text("\n".join(rows))
    start = 1403636579 if "14036" in rows[0] else 0
    np.testing.assert_allclose(run_one(source, tmp_path / "out").times - start, times, atol=1e-6)


def test_frames_without_a_time_are_left_out(tmp_path):
    """NaN in a list is no time: the frame is left out and counted; nothing but NaN is refused."""
    source = make_images(tmp_path / "clip", 3)
    (source / "times.txt").write_text("0.0\nnan\n0.2\n")
    notes, watcher = listener()
    (result,) = run(source, tmp_path / "out", watcher)
    np.testing.assert_allclose(open_sequence(result.path).times, [0.0, 0.2])
    assert any("1 of 3 frames have no time" in note for note in notes)
    (source / "times.txt").write_text("nan\nnan\nnan\n")
    with pytest.raises(DataError, match="no times but NaN; give --fps"):
        run(source, tmp_path / "out", name="b")


@pytest.mark.parametrize("mark", ["_", "."])
def test_names_of_seconds_and_nanoseconds(mark):
    """Nanoseconds without leading zeros: 1403636580.50000000 is 0.05 s after the full second."""
    parts = ["1403636579 950000000", "1403636580 0", "1403636580 50000000"]
    stamps = stamps_in_names([Path(p.replace(" ", mark) + ".png") for p in parts])
    np.testing.assert_allclose(np.diff(stamps) / 1e9, 0.05, atol=1e-6)
    decimals = [Path(f"1403636579.{d}.png") for d in ("500000000", "75", "800000000")]
    np.testing.assert_allclose(np.diff(stamps_in_names(decimals)), [0.25, 0.05], atol=1e-6)


def test_list_above_that_does_not_fit_is_named(tmp_path):
    """times.txt beside the folder with more rows than pictures is not used, and that is said."""
    source = make_images(tmp_path / "s" / "images", 3)
    (source.parent / "times.txt").write_text("0\n1\n2\n3\n")
    notes, watcher = listener()
    run(source.parent, tmp_path / "out", watcher)
    assert any("times.txt has 4 rows for 3 pictures: not used" in note for note in notes)


def test_names_of_tum_without_leading_zeros(tmp_path):
    """rgb/1403636580.50000000.png is 0.05 s after the full second, not half a second."""
    for i, stem in enumerate(("1403636579.950000000", "1403636580.0", "1403636580.50000000")):
        save(tmp_path / "s" / "rgb" / f"{stem}.png", picture(i))
    times = run_one(tmp_path / "s", tmp_path / "out").times
    np.testing.assert_allclose(np.diff(times), 0.05, atol=1e-6)
