# SPDX-License-Identifier: Apache-2.0
"""`depthkit localise`: frames of a made-up field found and written, and bad input in one line."""

import csv
import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from runtime.test_ortho_localiser import HEIGHT, METRES, REFERENCE, K, look, texture

import depthkit
from depthkit.camera import Camera
from depthkit.cli import main
from depthkit.data.sequence import SequenceWriter
from depthkit.data.world_file import write_world_file
from depthkit.pipelines.localise.options import LocaliseSummary
from depthkit.trajectory import load_tum

CAMERA = Camera(160, 120, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
FEET = np.array([[150.0, 200.0], [165.0, 195.0], [180.0, 190.0]])


@pytest.fixture(scope="module")
def field(tmp_path_factory) -> tuple[Path, Path]:
    """A flight of three frames and one of other ground, and the orthophoto with its files."""
    folder = tmp_path_factory.mktemp("field")
    ground = texture(0, 384)
    with SequenceWriter(folder / "flight", CAMERA, ext="png") as writer:
        for i, foot in enumerate(FEET):
            writer.add_frame(look(ground, foot, 80.0), i / 2)
        writer.add_frame(look(texture(5, 384), (190, 190), 0.0), 1.5)
    cv2.imwrite(str(folder / "field.png"), ground)
    write_world_file(folder / "field.pgw", REFERENCE.affine)
    return folder / "flight", folder / "field.png"


def words(field, out, *more: str) -> list[str]:
    """The command line of a good run."""
    base = ["localise", str(field[0]), "--ortho", str(field[1]), "--out", str(out)]
    return [*base, "--crs", "EPSG:32631", "--height", "38", *more]


def test_a_flight_is_found_and_written(field, tmp_path, capsys):
    """Table, GeoJSON, trajectory and picture say the same places; Python writes the same bytes."""
    out = tmp_path / "out"
    assert main(words(field, out, "--json")) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["frames"], found["found"], found["coverage"]) == (4, 3, 0.75)
    assert found["found_by"] == {"search": 1, "previous frame": 2}
    assert "taken for a plane" in said.err and found["crs"] == "EPSG:32631"
    assert found["altitude"] == pytest.approx(HEIGHT, rel=0.01)
    rows = list(csv.DictReader((out / "fixes.csv").open()))
    places = np.array([[float(row["latitude"]), float(row["longitude"])] for row in rows[:3]])
    np.testing.assert_allclose(places, REFERENCE.to_geographic(FEET), atol=1e-5)  # a metre
    assert rows[3]["latitude"] == "" and rows[3]["reason"]
    assert float(rows[0]["sigma_east"]) < 1 and float(rows[0]["heading"]) == pytest.approx(
        80, abs=1
    )
    features = json.loads((out / "path.geojson").read_text())["features"]
    assert [one["geometry"]["type"] for one in features] == [*["Point"] * 3, "LineString"]
    np.testing.assert_allclose(features[3]["geometry"]["coordinates"], places[:, ::-1], atol=1e-9)
    poses = load_tum(out / "trajectory_tum.txt").T_world_cam
    # East along u and north against v from the middle of 384 pixels.
    expected = (FEET - 191.5) * [METRES, -METRES] / 0.9996
    np.testing.assert_allclose(poses[:, :2, 3], expected, atol=1.0)
    np.testing.assert_allclose(poses[:, 2, 2], -1, atol=0.01)  # looks down
    assert cv2.imread(str(out / "path.jpg")).shape == (384, 384, 3)
    mine = depthkit.localise(*field, tmp_path / "mine", crs="EPSG:32631", height=38, threads=1)
    for name in ("fixes.csv", "path.geojson", "trajectory_tum.txt"):
        assert (tmp_path / "mine" / name).read_bytes() == (out / name).read_bytes()
    assert depthkit.load_record(LocaliseSummary, tmp_path / "mine" / "summary.json") == mine


def test_text_for_people(field, tmp_path, capsys):
    """One found frame: rate, resolution, sigma, files."""
    assert main(words(field, tmp_path / "out", "--every", "3")) == 0
    text = capsys.readouterr().out
    assert text.startswith("1 of 2 frames found (50.0 %)")
    assert "0.2 m a pixel, EPSG:32631" in text and "not found: 1 times" in text
    assert "sift, tiles by VLAD of the features" in text


def without_camera(field, tmp_path):
    """A folder of pictures that nothing is known of."""
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "pictures" / f"{i}.png"), texture(i, 128))
    return ["localise", str(tmp_path / "pictures"), "--ortho", str(field[1])]


def small_frames(field, tmp_path):
    """Frames of 40x53 pixels."""
    camera = Camera(53, 40, 50.0, 50.0, 26.0, 19.5)
    with SequenceWriter(tmp_path / "small", camera, ext="png") as writer:
        for i in range(2):
            writer.add_frame(np.ascontiguousarray(texture(i, 64)[:40, :53]), float(i))
    return ["localise", str(tmp_path / "small"), "--ortho", str(field[1])]


def unplaced(field, tmp_path):
    """The orthophoto without its world file."""
    (tmp_path / "alone.png").write_bytes(field[1].read_bytes())
    return ["localise", str(field[0]), "--ortho", str(tmp_path / "alone.png")]


@pytest.mark.parametrize(
    ("make", "more", "line"),
    [
        (without_camera, [], "calibration missing"),
        (small_frames, [], "frames of 53x40 pixels show too little"),
        (unplaced, [], "alone.png: no georeference"),
        (None, ["--height", "900"], "smaller than a frame, which shows 675 m at 900 m height"),
        (None, ["--crs", "EPSG:4326"], "check the world file and --crs"),
        (None, ["--tilt-sigma", "80"], "tilt_sigma: degrees up to 45, got 80"),
        (None, ["--features", "no-model"], "no-model: no such model"),
        (None, ["--places", "depthnet-stillbox"], "expected a network of kind place, got"),
    ],
    ids=["no K", "40 px", "no georeference", "small", "crs", "tilt", "no model", "not a place"],
)
def test_bad_input_is_one_line(field, tmp_path, capsys, make, more, line):
    """Exit 1, the cause in one line without a traceback, and no folder."""
    out = tmp_path / "out"
    given = words(field, out) if make is None else [*make(field, tmp_path), "--out", str(out)]
    given += ["--crs", "EPSG:32631"] if make is not None else []
    assert main([*given, *more]) == 1
    said = [one for one in capsys.readouterr().err.splitlines() if "error:" in one]
    assert len(said) == 1 and line in said[0]
    assert not out.exists()


def test_coordinate_system_unknown(field, tmp_path, capsys):
    """A world file alone does not say whose coordinates it holds."""
    given = ["localise", str(field[0]), "--ortho", str(field[1]), "--out", str(tmp_path / "out")]
    assert main(given) == 1
    assert "its coordinate system is unknown; give --crs EPSG:N" in capsys.readouterr().err


def test_an_output_that_is_there_stays(field, tmp_path, capsys):
    """--force replaces an earlier result, never another folder."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert main(words(field, out)) == 1
    assert "exists already; use --force" in capsys.readouterr().err
    assert main(words(field, out, "--force")) == 1
    assert "holds something else" in capsys.readouterr().err
    assert (out / "mine.txt").read_text() == "keep"


def test_a_full_disk_leaves_nothing(field, tmp_path, capsys, monkeypatch):
    """One line, and neither the folder nor its hidden beginning."""

    def full(*args, **words):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out"))

    monkeypatch.setattr("depthkit.pipelines.localise.outputs.write_atomic", full)
    assert main(words(field, tmp_path / "out")) == 1
    assert "no space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
