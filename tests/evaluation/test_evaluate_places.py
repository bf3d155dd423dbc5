# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate places` as a user meets it: layouts, methods, models, reports, bad input."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_export import save_small

import depthkit
from depthkit.cli import main
from depthkit.errors import DataError, EngineError
from depthkit.pipelines.models import EngineOptions
from depthkit.pipelines.score import places_methods
from depthkit.pipelines.score.places_data import View
from depthkit.pipelines.score.places_methods import gradient_histogram, imagenet_features

Output = pytest.CaptureFixture[str]
SIZE = (54, 96)


def picture(place: int, size: tuple[int, int] = SIZE, shift: int = 0) -> np.ndarray:
    """A place of its own: blurred noise, moved to the left by pixels. (H, W, 3) uint8"""
    height, width = size
    noise = np.random.default_rng(place).integers(0, 256, (height, width + 16, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    smooth = cv2.normalize(smooth, smooth, 0, 255, cv2.NORM_MINMAX)
    return smooth[:, shift : shift + width]


def write_pictures(folder: Path, places: list[int], shift: int = 0, **options) -> Path:
    """Write one picture a place: 000.png, 001.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, place in enumerate(places):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture(place, shift=shift, **options))
    return folder


def write_pairs(root: Path, names: tuple[str, str] = ("query", "truth"), count: int = 6) -> Path:
    """Write matched pictures: the second moved by two pixels."""
    write_pictures(root / names[0], list(range(count)))
    write_pictures(root / names[1], list(range(count)), shift=2)
    return root


def write_laps(root: Path, frames: int = 40) -> Path:
    """Write two laps of 63 m on a circle: images and KITTI rows, one place every 3 m."""
    write_pictures(root / "images", [i % (frames // 2) for i in range(frames)])
    rows = []
    for i in range(frames):
        angle = 4 * np.pi * i / frames
        pose = np.eye(4)[:3]
        pose[:, 3] = 10 * np.cos(angle), 0, 10 * np.sin(angle)
        rows.append(" ".join(f"{value:.6f}" for value in pose.ravel()))
    (root / "poses.txt").write_text("\n".join(rows) + "\n")
    return root


def scores(capsys: Output, *words: object) -> dict:
    """Run the program with --json and return its object."""
    assert main(["evaluate", "places", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# --- layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("query", "truth"), ("A", "B"), ("query", "database")])
def test_matched_pictures(tmp_path: Path, capsys: Output, names: tuple[str, str]) -> None:
    """Each layout, also one folder further down; moved by two pixels, SIFT knows them all."""
    for root in (tmp_path / "flat", tmp_path / "deep" / "inner"):
        write_pairs(root, names)
    for root in (tmp_path / "flat", tmp_path / "deep"):
        found = scores(capsys, root)
        assert (found["queries"], found["places"], found["coverage"]) == (6, 6, 1.0)
        histogram, vlad = found["methods"]
        assert (histogram["method"], histogram["size"]) == ("gradient histogram", 576)
        assert (vlad["method"], vlad["size"], vlad["recall_at_1"]) == ("VLAD of SIFT", 4096, 1.0)
        assert vlad["bytes_a_place"] == 16384 and vlad["bytes_an_hour"] == 16384 * 7200
        assert (vlad["threshold_from"], vlad["judged"]) == ("calibration", 3)
        assert "right is the matching picture alone" in found["right"]


def test_laps_with_poses_beside_the_pictures(tmp_path: Path, capsys: Output) -> None:
    """The second lap shows the first one's pictures; the first lap's end is calibration."""
    found = scores(capsys, write_laps(tmp_path), "--radius", 1, "--apart", 20)
    vlad = found["methods"][1]
    assert (found["answerable"], found["places"], vlad["recall_at_1"]) == (20, 40, 1.0)
    assert (vlad["loops"], vlad["loops_found"], vlad["false_loops"]) == (20, 20, 0)
    assert "within 1 m and 45 degrees, passed at least 20 m of path before" in found["right"]


def test_a_second_recording_is_the_database(tmp_path: Path, capsys: Output) -> None:
    """By poses of one world where both have them, else by the pictures' names."""
    laps = write_laps(tmp_path / "laps")
    found = scores(capsys, laps, "--database", laps, "--radius", 1)
    assert (found["queries"], found["answerable"], found["places"]) == (40, 40, 40)
    assert any("of one world" in note for note in found["notes"])
    first = write_pictures(tmp_path / "one", [0, 1, 2, 3])
    second = write_pictures(tmp_path / "two", [0, 1, 2], shift=2)
    found = scores(capsys, first, "--database", second)
    assert (found["queries"], found["places"]) == (3, 3)
    assert any("1 pictures without one of the same name" in note for note in found["notes"])


def test_frames_without_a_pose_are_left_out(tmp_path: Path) -> None:
    """A row of NaN: one query and one place fewer, and said."""
    laps = write_laps(tmp_path)
    rows = (laps / "poses.txt").read_text().splitlines()
    rows[3] = " ".join(["nan"] * 12)
    (laps / "poses.txt").write_text("\n".join(rows) + "\n")
    found = depthkit.evaluate.places(laps, radius=1, apart=20, threads=1)
    assert found.places == 39 and "1 frames without a pose" in found.notes[0]


def test_turned_queries_are_asked_four_times(tmp_path: Path) -> None:
    """SIFT turns with the picture, the histogram does not; calibration keeps whole pictures."""
    found = depthkit.evaluate.places(write_pairs(tmp_path), turned=True, threads=1)
    histogram, vlad = found.rows
    assert (found.queries, found.places) == (24, 6)
    assert vlad.score.recall[1] > 0.9 > histogram.score.recall[1]
    assert vlad.score.loops is not None and vlad.score.loops.queries == 12


# --- methods -------------------------------------------------------------------------------------


def test_histogram_of_a_ramp_by_hand() -> None:
    """Brightness grows downwards: each cell holds the direction of 90 degrees alone."""
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[:, None], 64, axis=1) * 2
    found = gradient_histogram(np.repeat(ramp[..., None], 3, axis=2)).reshape(8, 8, 9)
    assert found.shape == (8, 8, 9)
    np.testing.assert_allclose(found[..., 4], 1, atol=1e-4)  # 90 of 180 degrees in nine bins
    assert np.delete(found, 4, axis=-1).max() < 1e-6


def test_small_and_blank_pictures_are_described(tmp_path: Path) -> None:
    """40 pixels a side, and pictures without a gradient: no error, and nothing is known."""
    write_pictures(tmp_path / "A", [0, 1, 2], size=(40, 40))
    write_pictures(tmp_path / "B", [0, 1, 2], size=(40, 40), shift=1)
    found = depthkit.evaluate.places(tmp_path, threads=1)
    assert found.rows[0].score.recall[1] == 1
    for name in ("A", "B"):
        for file in (tmp_path / name).iterdir():
            cv2.imwrite(str(file), np.full((40, 40, 3), 90, np.uint8))
    found = depthkit.evaluate.places(tmp_path, sizes=(2,), threads=1)
    assert [row.score.recall[1] for row in found.rows] == [0, 0]
    assert not found.compact and sum("do not differ" in note for note in found.notes) == 2


def write_features(path: Path, *, pool: bool = False, channels: int = 3) -> Path:
    """Write a network whose features are its input, halved in size, or its mean."""
    kernel = np.zeros((channels, channels, 2, 2), np.float32)
    kernel[np.arange(channels), np.arange(channels)] = 0.25
    nodes = [helper.make_node("Conv", ["x", "k"], ["map"], strides=[2, 2])]
    shape = [1, channels, 4, 4]
    if pool:
        nodes.append(helper.make_node("GlobalAveragePool", ["map"], ["mean"]))
        nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
        shape = [1, channels]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 8, 8])],
        [helper.make_tensor_value_info("flat" if pool else "map", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(kernel, "k")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def test_imagenet_features_by_hand(tmp_path: Path) -> None:
    """An even colour: (1 - mean) / deviation of a white picture, by both kinds of output."""
    white = np.full((20, 30, 3), 255, np.uint8)
    wanted = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    for pool in (False, True):
        file = write_features(tmp_path / f"{pool}.onnx", pool=pool)
        describe = imagenet_features(file, EngineOptions())
        np.testing.assert_allclose(describe(white), wanted, rtol=1e-4)


def test_imagenet_features_stand_beside(tmp_path: Path, capsys: Output) -> None:
    """The file has a row of its own, by its name."""
    file = write_features(tmp_path / "colours.onnx")
    found = scores(capsys, write_pairs(tmp_path / "pairs"), "--imagenet", file)
    assert [row["method"] for row in found["methods"]][2] == "ImageNet: colours.onnx"
    assert found["methods"][2]["size"] == 3


def test_imagenet_files_that_do_not_fit(tmp_path: Path) -> None:
    """Four channels, no ONNX, no file: one line each."""
    with pytest.raises(EngineError, match=r"expected one input \(1, 3, H, W\)"):
        imagenet_features(write_features(tmp_path / "four.onnx", channels=4), EngineOptions())
    (tmp_path / "text.onnx").write_text("none")
    with pytest.raises(EngineError, match="cannot load"):
        imagenet_features(tmp_path / "text.onnx", EngineOptions())
    with pytest.raises(DataError, match=r"none\.onnx"):
        imagenet_features(tmp_path / "none.onnx", EngineOptions())


def test_descriptors_of_one_method_have_one_length(tmp_path: Path) -> None:
    """A method that gives four numbers, then five, is named with the picture; NaN likewise."""
    folder = write_pictures(tmp_path, [0, 1])
    views = tuple(View(path) for path in sorted(folder.iterdir()))
    lengths = iter((4, 5))
    watcher = depthkit.Watcher()
    with pytest.raises(DataError, match=r"odd: .*001\.png: 5 numbers.*have 4"):
        places_methods._describe("odd", views, lambda _: np.ones(next(lengths)), watcher)
    with pytest.raises(DataError, match="nan: a descriptor is not finite"):
        places_methods._describe("nan", views, lambda _: np.full(3, np.nan), watcher)


# --- models, codes and the report ----------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An exported network of places that learnt nothing."""
    words = ("task=place", "model.place_numbers=16")
    file = save_small(tmp_path / "place.safetensors", *words)
    assert main(["export", str(file), "--part", "place", "--out", str(tmp_path / "p.onnx")]) == 0
    return tmp_path / "p.onnx"


def test_two_models_fused_both_ways(tmp_path: Path, model: Path) -> None:
    """Two rows of the models and one of both; joined, a model with itself is itself."""
    pairs = write_pairs(tmp_path / "pairs")
    joined = depthkit.evaluate.places(pairs, models=[model, model], fuse="concat", threads=1)
    assert [row.size for row in joined.rows] == [576, 4096, 16, 16, 32]
    alone, both = joined.rows[2], joined.rows[4]
    np.testing.assert_allclose(both.similarity, alone.similarity, atol=1e-5)
    assert both.method == "p.onnx + p.onnx (concat)" and both.milliseconds is None
    late = depthkit.evaluate.places(pairs, models=[model, model], fuse="late", threshold=9.0)
    loops = late.rows[4].score.loops
    assert loops is not None and loops.given and (loops.found, loops.false) == (0, 0)
    assert late.rows[3].score.loops is not None and not late.rows[3].score.loops.given


def test_shorter_codes_and_report(tmp_path: Path, capsys: Output) -> None:
    """Sizes above the number of axes are said; the page has tables and two pictures."""
    pairs, out = write_pairs(tmp_path / "pairs", count=8), tmp_path / "out"
    words = ["evaluate", "places", str(pairs), "--sizes", "64,4,2", "--report", str(out)]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "8 pictures give 7 axes; longer codes are left out" in captured.err
    assert captured.out.count("VLAD of SIFT") == 3 and f"report: {out}" in captured.out
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and "Shorter codes" in page
    assert main(words) == 1 and "holds files already" in capsys.readouterr().err


def test_axes_learnt_elsewhere_reach_longer_codes(tmp_path: Path, capsys: Output) -> None:
    """Twenty other pictures give 19 axes: a code of 16 numbers, at 64 bytes."""
    pairs = write_pairs(tmp_path / "pairs")
    others = write_pictures(tmp_path / "others", list(range(50, 70)))
    found = scores(capsys, pairs, "--sizes", "16", "--fit", others)
    assert [(row["size"], row["bytes"]) for row in found["compact"]] == [(16, 64)] * 2
    assert found["places"] == 6


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no places with a truth; expected query/"),
        (("--database", "none"), "none: no such folder"),
        (("--database", "empty"), "holds no pictures"),
        (("--database", "more"), "2 queries and 3 places share no names"),
        (("--fuse", "late"), "--fuse late joins models; give --model twice"),
        (("--threshold", "0.5"), "--threshold belongs to one model, 0 are given"),
        (("--fit", "more"), "--fit learns shorter codes; give their --sizes"),
        (("--tolerance", "-1"), "tolerance: 0 or more, got -1"),
        (("--database", "same", "--sizes", "2", "--fit", "none"), "none: no folder of pictures"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    words: tuple[str, ...],
    message: str,
) -> None:
    """What is missing, empty or does not go together is named."""
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("data"), [0, 1])
    write_pictures(Path("same"), [0, 1])
    Path("empty").mkdir()
    for number in range(3):
        write_pictures(Path("more"), [number]).joinpath("000.png").rename(f"more/x{number}.png")
    assert main(["evaluate", "places", "data", *words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_recordings_that_cannot_be_scored(tmp_path: Path) -> None:
    """Poses for other pictures, a path that does not come back, turns of one recording."""
    laps = write_laps(tmp_path / "laps")
    with pytest.raises(DataError, match="none of .* has a right answer"):
        depthkit.evaluate.places(laps, radius=1, apart=64, threads=1)
    with pytest.raises(DataError, match="--turned is for matched pictures"):
        depthkit.evaluate.places(laps, turned=True)
    rows = (laps / "poses.txt").read_text().splitlines()
    (laps / "poses.txt").write_text("\n".join(rows[:5]) + "\n")
    with pytest.raises(DataError, match="40 pictures and 5 rows of poses"):
        depthkit.evaluate.places(laps)


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_gardens_point_is_anchored(data_root: Path, capsys: Output) -> None:
    """The gradient histogram finds 0.13 of the walk's 200 places, as others' did."""
    histogram, vlad = scores(capsys, data_root / "gardens_point_thumbs")["methods"]
    assert histogram["recall_at_1"] == pytest.approx(0.13, abs=0.015)
    assert 0.1 < vlad["recall_at_1"] < 0.25


@pytest.mark.slow
def test_aerial_pairs_of_one_heading_are_easy(data_root: Path, capsys: Output) -> None:
    """Registered pictures years apart: a gradient histogram knows nearly all, turned a third."""
    folder = data_root / "levir_pairs"
    plain = scores(capsys, folder)["methods"][0]
    turned = scores(capsys, folder, "--turned")["methods"][0]
    assert plain["recall_at_1"] > 0.8 and turned["recall_at_1"] < 0.5
