# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate matching` as a user meets it: exact worlds, each table, and bad input."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from foreign_makers import write_keypoints

import depthkit
from depthkit.camera import Camera
from depthkit.cli import main
from depthkit.data.sequence import SequenceWriter
from depthkit.errors import ConfigError, DataError
from depthkit.evaluation.matching import transfer, transfer_errors
from depthkit.multiview.features import Features, Sift
from depthkit.pipelines.score.degradations import (
    DEGRADATIONS,
    Degradation,
    blur,
    degraded,
    draw_homography,
    gamma,
    jpeg,
    light,
    noise,
)
from depthkit.pipelines.score.matching_methods import Method, match_nearest
from depthkit.pipelines.score.matching_options import Looks

Output = pytest.CaptureFixture[str]
H_TRUE = np.array([[0.95, 0.08, 6.0], [-0.06, 1.02, 4.0], [1e-4, 5e-5, 1.0]])


def texture(seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Draw smoothed noise, full of features. (H, W, 3) uint8"""
    noise_of = np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise_of, (0, 0), 2.0)
    gray = np.rint(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def make_scene(folder: Path, pictures: list[np.ndarray], truths: list[np.ndarray]) -> Path:
    """Write a scene in HPatches' layout; truths are those of the second picture on."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    for number, H in enumerate(truths, 2):
        np.savetxt(folder / f"H_1_{number}", H)
    return folder


@pytest.fixture
def warped(tmp_path: Path) -> Path:
    """A picture against itself, and against itself under a known homography."""
    first = texture(0)
    second = cv2.warpPerspective(first, H_TRUE, (320, 240))
    return make_scene(tmp_path / "data/v_wall", [first, first, second], [np.eye(3), H_TRUE])


def make_sequence(folder: Path, *, poses: bool = True) -> Path:
    """Fly sideways past planes at depths 9, 6 and 4: 4, 6 and 9 px a frame at f = 250."""
    canvases = [texture(seed, (240, 500)) for seed in range(3)]
    shown = [np.ones(500, bool), np.arange(500) % 240 < 90, np.arange(500) % 260 > 200]
    with SequenceWriter(folder, Camera(320, 240, 250.0, 250.0, 159.5, 119.5), ext="png") as writer:
        for i in range(14):
            frame = canvases[0][:, 4 * i : 4 * i + 320].copy()
            for canvas, mask, shift in zip(canvases[1:], shown[1:], (6, 9), strict=True):
                part = slice(shift * i, shift * i + 320)
                frame[:, mask[part]] = canvas[:, part][:, mask[part]]
            T = np.eye(4)
            T[0, 3] = 0.144 * i
            writer.add_frame(frame, i / 10, T if poses else None)
    return folder


def test_identity_and_a_known_homography(warped: Path) -> None:
    """Against itself every feature is found again and every match is exact; warped, SIFT is right.

    Interpolation moves SIFT's positions by a tenth of a pixel or so; 1 px is the finest threshold.
    """
    found = depthkit.evaluate.matching(warped.parent, count=500)
    rows = {(row.pair, row.method): row.score for row in found.rows}
    for method in ("sift", "orb"):
        same = rows["1-2", method]
        assert (same.repeatability, same.accuracy) == (1.0, (1.0, 1.0, 1.0))
        assert same.corner_error < 1e-3
        assert rows["1-3", method].repeatability > 0.6
    assert rows["1-3", "sift"].accuracy[0] > 0.9 and rows["1-3", "sift"].corner_error < 0.5
    mean = found.mean("sift")
    assert mean.score.homography == (1.0, 1.0, 1.0) and mean.score.found == mean.score.pairs == 2
    assert mean.features_ms > 0 and mean.match_ms > 0
    with pytest.raises(DataError, match="no method 'surf' was scored; there are sift, orb"):
        found.mean("surf")


def test_same_input_same_figures(warped: Path) -> None:
    """Two runs differ in nothing but their times."""
    first, second = (depthkit.evaluate.matching(warped, count=300) for _ in range(2))
    assert [row.score for row in first.rows] == [row.score for row in second.rows]


def test_json_has_each_pair_and_the_means(warped: Path, capsys: Output) -> None:
    """One object; a homography that was not found is null, and lowers the figure."""
    blank = np.full((240, 320, 3), 90, np.uint8)
    make_scene(warped.parent / "i_blank", [texture(1), blank], [np.eye(3)])
    assert main(["evaluate", "matching", str(warped.parent), "--count", "300", "--json"]) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["kind"] == "homography" and figures["settings"]["count"] == 300
    assert [one["scene"] for one in figures["means"][::2]] == ["i_blank", "v_wall", "all pairs"]
    assert len(figures["pairs"]) == 6
    lost = figures["pairs"][0]
    assert (lost["scene"], lost["pair"], lost["method"]) == ("i_blank", "1-2", "sift")
    assert lost["corner_error"] is None and lost["matches"] == 0
    mean = figures["means"][-2]
    assert (mean["method"], mean["pairs"], mean["found"]) == ("sift", 3, 2)
    assert mean["homography"][2] == pytest.approx(2 / 3)
    assert "sift: no match in 1 of 3 pairs; they count as failed" in captured.err


def test_table_has_a_line_for_each_scene_and_method(warped: Path, capsys: Output) -> None:
    """One scene alone has no mean over scenes."""
    assert main(["evaluate", "matching", str(warped), "--count", "300", "--robust", "ransac"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ransac" in lines[0] and lines[1].split()[:3] == ["scene", "method", "features"]
    assert [line.split()[:3] for line in lines[2:]] == [
        ["all", "pairs", "sift"],
        ["orb", *lines[3].split()[1:3]],
    ]
    assert lines[2].split()[-3] == "2/2"


def test_pose_of_an_exact_flight(tmp_path: Path, capsys: Output) -> None:
    """Three planes, sideways: rotation and direction come to a degree or so in every pair."""
    make_sequence(tmp_path / "flight")
    options = ["--gap", "4,8", "--pairs", "8", "--count", "500"]
    assert main(["evaluate", "matching", str(tmp_path / "flight"), *options, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    sift = figures["means"][0]
    assert figures["kind"] == "pose" and sift["method"] == "sift"
    assert sift["found"] == sift["pairs"] >= 6 and sift["median_deg"] < 1.5
    assert sift["auc"][0] > 0.7 and sift["auc"] == sorted(sift["auc"])
    gaps = {b - a for a, b in (map(int, one["pair"].split("-")) for one in figures["pairs"])}
    assert gaps <= set(range(4, 9))


class Patches:
    """SIFT's keypoints with the pixels around them for descriptors: it knows no turns."""

    name, width = "patches", 121

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find keypoints and cut 11x11 pixels around each."""
        found = Sift(None, 300).detect(gray, valid=valid)
        cut = [cv2.getRectSubPix(gray, (11, 11), tuple(map(float, at))) for at in found.pixels]
        patches = np.array(cut, np.float32).reshape(-1, 121)
        return Features(found.pixels, patches, found.scales, found.angles)


@pytest.mark.parametrize(("looks", "count"), [("upright", 0), ("turned", 4), ("tilted", 20)])
def test_looks_find_a_picture_turned_by_a_quarter(looks: Looks, count: int) -> None:
    """Pixel (u, v) goes to (239 - v, u): seen upright hardly a match is right, turned most are."""
    method = Method("patches", Patches(), match_nearest, looks)
    first = texture(0)
    a, b = method.look(first), method.look_again(np.ascontiguousarray(np.rot90(first, -1)))
    assert len(b.looks) == count and not a.looks
    errors = transfer_errors(
        *method.matcher(a, b), np.array([[0.0, -1, 239], [1, 0, 0], [0, 0, 1]])
    )
    if looks == "upright":
        assert (errors < 1).sum() < 5
    else:
        assert (errors < 1).sum() > 100 and (errors < 1).mean() > 0.9


def test_every_method_gets_the_looks(warped: Path) -> None:
    """The settings say so; features of a picture are those of the picture as it is."""
    turned, plain = (
        depthkit.evaluate.matching(warped, looks=looks, count=100)
        for looks in ("turned", "upright")
    )
    assert (turned.settings["looks"], plain.settings["looks"]) == ("turned", "upright")
    pairs = zip(turned.rows, plain.rows, strict=True)
    assert all(one.score.repeatability == other.score.repeatability for one, other in pairs)
    assert turned.mean("sift").features_ms > 1.5 * plain.mean("sift").features_ms


def test_degraded_copies_of_a_picture(warped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each fault; the undamaged copy is solved, the black one by nobody."""
    few = (DEGRADATIONS[0], Degradation("black", lambda rgb, rng: np.zeros_like(rgb)))
    monkeypatch.setattr("depthkit.pipelines.score.matching.DEGRADATIONS", few)
    monkeypatch.setattr("depthkit.pipelines.score.matching_pairs.DEGRADATIONS", few)
    found = depthkit.evaluate.matching(warped, degrade=True, count=300)
    scores = {(g.scene, g.method): g.score for g in found.groups}
    assert found.kind == "degraded" and list(scores)[:2] == [("none", "sift"), ("none", "orb")]
    assert scores["none", "sift"].homography[1] == 1.0 and scores["none", "sift"].pairs == 3
    assert scores["black", "sift"].found == 0 and scores["black", "sift"].accuracy == (0, 0, 0)


def test_faults_by_hand() -> None:
    """128 to the power 2 of white is 64; light is 1.5 x 100 + 30; noise has its deviation."""
    grey, rng = np.full((60, 80, 3), 128, np.uint8), np.random.default_rng(0)
    assert gamma(2.0).apply(grey, rng)[0, 0, 0] == 64
    assert light(1.5, 30).apply(np.full((2, 2, 3), 100, np.uint8), rng)[0, 0, 0] == 180
    assert light(1.5, 30).apply(np.full((2, 2, 3), 200, np.uint8), rng)[0, 0, 0] == 255
    assert noise(10.0).apply(grey, rng).std() == pytest.approx(10, rel=0.05)
    dot = np.zeros((61, 61, 3), np.uint8)
    dot[30, 30] = 255
    assert blur(1.5).apply(dot, rng)[30, 30, 0] == pytest.approx(255 / (2 * np.pi * 1.5**2), abs=1)
    picture = texture(0)
    errors = [np.abs(jpeg(q).apply(picture, rng) - picture.astype(float)).mean() for q in (90, 10)]
    assert 0 < errors[0] < errors[1]
    assert len({fault.name for fault in DEGRADATIONS}) == len(DEGRADATIONS)


def test_copies_are_moved_by_the_homography_they_are_given() -> None:
    """A smooth picture's value at p stands at H p in the copy; one seed gives one copy."""
    v, u = np.mgrid[:240, :320]
    smooth = np.repeat(np.rint(u * 0.5 + v * 0.3)[..., None], 3, axis=2).astype(np.uint8)
    picture, H = degraded(smooth, DEGRADATIONS[0], np.random.default_rng((0, 1)))
    again, same = degraded(smooth, DEGRADATIONS[0], np.random.default_rng((0, 1)))
    assert np.array_equal(picture, again) and np.array_equal(H, same)
    points = np.array([[160.0, 120], [140, 100], [180, 130]])
    there = transfer(points, H)
    values = cv2.remap(picture[..., 0], there[None].astype(np.float32), None, cv2.INTER_LINEAR)[0]
    assert np.abs(values - points @ (0.5, 0.3)).max() < 2.0
    assert not np.allclose(H, draw_homography(np.random.default_rng((0, 2)), (320, 240)))


def test_pictures_of_forty_pixels_are_scored(tmp_path: Path) -> None:
    """Too small for ORB's border: it finds nothing, and fails; nothing breaks."""
    small = texture(0, (40, 40))
    make_scene(tmp_path / "tiny", [small, small], [np.eye(3)])
    found = depthkit.evaluate.matching(tmp_path / "tiny")
    orb = found.mean("orb").score
    assert (orb.features, orb.found, orb.homography) == (0, 0, (0.0, 0.0, 0.0))
    assert orb.repeatability == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nowhere: no such folder"),
        (
            ("--matcher", "loftr"),
            "matcher loftr: has no weights of its own; give --matcher-weights",
        ),
        (("--matcher-weights", "x.pt"), "are of --matcher lightglue or loftr"),
        (("--count", "3"), "count: 8 or more"),
    ],
)
def test_bad_options_are_one_line(options: tuple[str, ...], message: str, capsys: Output) -> None:
    """Exit 1 and a line on stderr."""
    assert main(["evaluate", "matching", "nowhere", *options]) == 1
    assert message in capsys.readouterr().err


def test_bad_data_are_one_line(tmp_path: Path, warped: Path, capsys: Output) -> None:
    """A homography that is missing, a sequence without poses, a gap longer than the sequence."""
    (warped / "H_1_3").unlink()
    assert main(["evaluate", "matching", str(warped)]) == 1
    assert "no homography of picture 3" in capsys.readouterr().err
    make_sequence(tmp_path / "bare", poses=False)
    assert main(["evaluate", "matching", str(tmp_path / "bare")]) == 1
    assert "has no poses.txt to score against" in capsys.readouterr().err
    make_sequence(tmp_path / "short")
    assert main(["evaluate", "matching", str(tmp_path / "short"), "--gap", "20,30"]) == 1
    assert "no two frames with poses lie 20 to 30 frames apart" in capsys.readouterr().err


def test_a_gap_is_two_rising_numbers(warped: Path) -> None:
    """Wrong words are wrong usage; wrong numbers from Python name the option."""
    assert main(["evaluate", "matching", str(warped), "--gap", "40,10"]) == 2
    with pytest.raises(ConfigError, match="gap: two numbers of frames"):
        depthkit.evaluate.matching(warped, gap=(5, 2))


def test_models_and_lightglue_stand_in_the_table(
    tmp_path: Path, warped: Path, capsys: Output
) -> None:
    """A toy detector beside SIFT; LightGlue adds a row for what its weights fit, nothing else."""
    import torch
    from kornia.feature import LightGlue

    toy = tmp_path / "toy.onnx"
    depthkit.adopt(write_keypoints(tmp_path / "net.onnx"), toy, preset="xfeat", input=(64, 96))
    torch.manual_seed(0)
    for width in (3, 5):
        shape = {"input_dim": width, "descriptor_dim": 16, "num_heads": 2, "n_layers": 1}
        torch.save(LightGlue(features=None, **shape).state_dict(), tmp_path / f"{width}.pth")
    words = ["evaluate", "matching", str(warped), "--count", "100", "--model", str(toy)]
    words += ["--matcher", "lightglue", "--matcher-weights"]
    assert main([*words, str(tmp_path / "3.pth"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    names = [one["method"] for one in figures["means"]]
    assert names == ["sift", "orb", "toy", "toy+lightglue"]
    toy_row, glued = figures["means"][2:]
    assert 0 < toy_row["features"] <= 100 and glued["repeatability"] == toy_row["repeatability"]
    assert main([*words, str(tmp_path / "5.pth")]) == 1
    message = capsys.readouterr().err
    assert "descriptors of 5 numbers without scale and angle" in message
    assert "sift 128, orb 256, toy 3" in message and message.count("\n") == 1


def test_a_model_without_a_score_is_one_line(tmp_path: Path, warped: Path, capsys: Output) -> None:
    """Descriptors alone find no keypoints."""
    net = write_keypoints(tmp_path / "net.onnx")
    depthkit.adopt(
        net,
        tmp_path / "plain.onnx",
        kind="features",
        normalise="0..1",
        input=(64, 96),
        output_name="feats",
    )
    words = ["evaluate", "matching", str(warped), "--model", str(tmp_path / "plain.onnx")]
    assert main(words) == 1
    assert "has no output `score`" in capsys.readouterr().err


@pytest.mark.slow
def test_oxford_as_published(data_root: Path) -> None:
    """SIFT solves graf's small change of viewpoint, and loses the last picture."""
    found = depthkit.evaluate.matching(data_root / "oxford_affine/graf")
    errors = {row.pair: row.score.corner_error for row in found.rows if row.method == "sift"}
    assert list(errors) == ["1-2", "1-3", "1-4", "1-5", "1-6"]
    assert errors["1-2"] < 3 < errors["1-4"] and np.isinf(errors["1-6"])
