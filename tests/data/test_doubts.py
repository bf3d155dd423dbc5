# SPDX-License-Identifier: Apache-2.0
"""What is said of a whole source: unused options, poses and lenses that are hard to believe."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.camera import Camera, SourceCamera
from depthkit.data.importers import find_sequences
from depthkit.data.importers.doubts import _is_rate
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.undistort import doubt_lens
from tests.data.source_makers import listener, make_images, make_video, picture, run, save


def notes_of(source: Path, out: Path, **options: object) -> str:
    notes, watcher = listener()
    run(source, out, watcher, **options)
    return "\n".join(notes)


def tum(path: Path, step: float) -> Path:
    path.write_text("".join(f"{0.1 * i:g} {step * i:g} 0 0 0 0 0 1\n" for i in range(5)))
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 12}, "--bits: unused, it is for bags"),
        ({"odometry_topic": "/odom"}, "--odometry-topic: unused, it is for bags"),
        ({"quaternion": "wxyz"}, "--quaternion: unused, no --poses"),
        ({"max_gap": 1.0}, "--max-gap: unused, no poses"),
        ({"time_unit": "ms"}, "--time-unit: unused, --fps set"),
        ({}, ""),
    ],
)
def test_unused_options_are_said(tmp_path, options, words):
    """An option that changes nothing in a folder of pictures is one note; none without it."""
    notes = notes_of(make_images(tmp_path / "clip", 3), tmp_path / "out", fps=10.0, **options)
    assert notes == (f"clip: {words}" if words else "")


def test_mosaic_of_a_video_is_said(tmp_path):
    """Frames of a video are no mosaics."""
    video = make_video(tmp_path / "clip.mp4")
    camera = SourceCamera(Camera(64, 48, 50, 50, 32, 24))
    notes = notes_of(video, tmp_path / "out", camera=camera, bayer="rggb")
    assert "--bayer: unused, it is for picture files" in notes


def test_mosaic_of_colour_pictures_is_refused(tmp_path):
    """A picture with three different channels is no raw mosaic; a grey one may be."""
    with pytest.raises(DataError, match="--bayer rggb: is a colour picture, no mosaic"):
        run(make_images(tmp_path / "clip", 3), tmp_path / "out", bayer="rggb", fps=10.0)
    for i in range(3):
        save(tmp_path / "raw" / f"{i}.png", picture(i)[..., 0])
    (result,) = run(tmp_path / "raw", tmp_path / "out", bayer="rggb", fps=10.0)
    assert result.frames == 3


def test_rate_of_frames_with_stamps_is_said(tmp_path):
    """TUM lists have times of their own: --fps changes nothing, and --fov yields to K.txt."""
    clip = make_images(tmp_path / "s" / "rgb", 3)
    (clip.parent / "rgb.txt").write_text(
        "".join(f"{i / 7} rgb/frame{i + 1}.png\n" for i in range(3))
    )
    (clip.parent / "K.txt").write_text("30 0 15 0 31 12 0 0 1")
    notes = notes_of(clip.parent, tmp_path / "out", fps=20.0, fov=60.0, camera=None)
    assert "--fps: unused, the source has times of its own" in notes
    assert notes.count("--fov") == 1 and "K.txt is the calibration" in notes


@pytest.mark.parametrize(("step", "doubted"), [(0.5, False), (500.0, True)])
def test_speed_of_a_missile_is_doubted(tmp_path, step, doubted):
    """0.5 m in 0.1 s is 5 m/s, a vehicle; 500 m are 5000 m/s, most likely millimetres."""
    poses = tum(tmp_path / "p.txt", step)
    notes = notes_of(make_images(tmp_path / "clip", 5), tmp_path / "out", poses=poses, fps=10.0)
    assert ("500 m a frame, 5e+03 m/s" in notes) == doubted


def test_poses_that_are_all_one_are_said(tmp_path):
    """Five times the same pose."""
    poses = tum(tmp_path / "p.txt", 0.0)
    notes = notes_of(make_images(tmp_path / "clip", 5), tmp_path / "out", poses=poses, fps=10.0)
    assert "all 5 poses are the same" in notes


@pytest.mark.parametrize(
    ("model", "D", "words"),
    [
        ("brown_conrady", (-0.28, 0.074, 0.0002, 0.00002), ""),  # EuRoC cam0
        ("brown_conrady", (0.2624, -0.9531, -0.0054, 0.0026, 1.1633), ""),  # freiburg1
        ("kannala_brandt", (0.003, 0.0007, -0.002, 0.0002), ""),  # TUM-VI
        ("brown_conrady", (-0.5, -6.0, 0.0, 0.0, 3.0), "fold the picture"),
        ("brown_conrady", (-0.28, 0.074, -0.2, 0.0002, 0.0), "p1 -0.2, p2 0.0002"),
        ("none", (), ""),
    ],
)
def test_coefficients_of_no_lens_are_doubted(model, D, words):
    """Lenses of known data sets are believed; one that folds within the picture is not.

    With k = -0.5, -6, 3 the radius 1 - 1.5 r2 - 30 r4 + 21 r6 = 0 at r = 0.396: 26 pixels of 82.
    """
    said = doubt_lens(SourceCamera(Camera(160, 120, 110, 110, 80, 60), model, D))
    assert len(said) == bool(words) and all(words in text for text in said)


def test_data_set_of_prepared_sequences_is_refused(tmp_path):
    """The output of prepare is no source: its frames would lose their calibration."""
    run(make_images(tmp_path / "clip", 3), tmp_path / "out", fps=10.0)
    with pytest.raises(DataError, match="is a data set of prepared sequences already"):
        find_sequences(tmp_path / "out")


def test_bits_of_a_folder_are_refused_by_the_stream(tmp_path):
    """infer refuses --bits for anything but a bag, as it does topics."""
    with pytest.raises(DataError, match="topics and --bits are for bags"):
        open_stream(make_images(tmp_path / "clip", 3), bits=12)


def test_rate_is_known_across_gaps():
    """A list without some frames still runs at its rate; odd stamps do not."""
    assert _is_rate(np.array([0.0, 0.1, 0.4]), 10.0)
    assert not _is_rate(np.array([0.0, 0.13, 0.4]), 10.0)


@pytest.mark.parametrize(("last", "named"), [("3600.0", True), ("0.5", False)])
def test_gap_in_the_times_is_named(tmp_path, last, named):
    """An hour between two frames is two recordings; a lost frame or two is none."""
    clip = make_images(tmp_path / "clip", 5)
    (clip / "times.txt").write_text(f"0\n0.1\n0.2\n0.3\n{last}\n")
    assert (
        "times jump by 3599.7 s between frames 3 and 4" in notes_of(clip, tmp_path / "out")
    ) == named
