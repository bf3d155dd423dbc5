# SPDX-License-Identifier: Apache-2.0
"""Maps on disk: what is read is what was written, and what is no map is refused in one line."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthkit.camera import Camera
from depthkit.errors import DataError
from depthkit.multiview.features import Features
from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.finder import open_finder
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.place_view import PlaceView
from depthkit.runtime.odometry.saved_map import (
    SavedMap,
    SavedSegment,
    check_same_camera,
    check_same_kind,
    restore,
    saved_from,
)
from depthkit.runtime.odometry.saved_map_files import load_map, save_map

CAMERA = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)


def view(i: int, segment: int = 0, width: int = 128) -> PlaceView:
    """Make a keyframe with 30 random features."""
    rng = np.random.default_rng(i)
    zeros = np.zeros(30, np.float32)
    features = Features(
        rng.uniform(0, 400, (30, 2)).astype(np.float32),
        rng.integers(0, 255, (30, width)).astype(np.uint8),
        zeros + 8,
        zeros,
    )
    T = exp_se3(np.array([0.2 * i, 0.0, 0.0, 0.0, 0.03 * i, 0.0]))
    points = rng.uniform(1, 4, (30, 3)).astype(np.float32)
    return PlaceView(i, 0.1 * i, segment, False, CAMERA.K, T, features, points, zeros + 0.02)


def small(count: int = 4, **changes: object) -> SavedMap:
    """Make a map of one session."""
    views = tuple(view(i) for i in range(count))
    saved = SavedMap(CAMERA, "sift", "", (SavedSegment(0, 0, False),), views)
    return replace(saved, **changes)  # type: ignore[arg-type]


def same(a: PlaceView, b: PlaceView) -> None:
    """Compare two keyframes exactly."""
    assert (a.id, a.stamp, a.segment, a.metric) == (b.id, b.stamp, b.segment, b.metric)
    assert a.features.ratio == b.features.ratio
    pairs = [(getattr(a, n), getattr(b, n)) for n in ("K", "T_world_cam", "points", "sigmas")]
    names = ("pixels", "descriptors", "scales", "angles")
    pairs += [(getattr(a.features, n), getattr(b.features, n)) for n in names]
    for x, y in pairs:
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """Every number, also of learnt descriptors and codes."""
    features = replace(
        view(0).features,
        descriptors=np.random.default_rng(5).normal(size=(30, 64)).astype(np.float32),
        ratio=0.95,
    )
    views = tuple(replace(view(i), features=features) for i in range(3))
    codes = np.random.default_rng(7).normal(size=(3, 16)).astype(np.float32)
    saved = small(views=views, codes=codes, detector="net-0123", place="place-9")
    save_map(tmp_path / "map", saved)
    again = load_map(tmp_path / "map")
    assert (again.camera, again.detector, again.place) == (CAMERA, "net-0123", "place-9")
    assert again.segments == saved.segments
    assert again.codes is not None
    np.testing.assert_array_equal(again.codes, codes)
    for a, b in zip(again.views, views, strict=True):
        same(a, b)


def test_the_same_map_gives_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the clock or of the folder is in the files."""
    for name in "ab":
        save_map(tmp_path / name, small())
    for one in sorted((tmp_path / "a").iterdir()):
        assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes()


def test_a_map_replaces_the_earlier_one(tmp_path: Path) -> None:
    """Two files remain, of the newest map."""
    save_map(tmp_path, small(3))
    save_map(tmp_path, small(5))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["keyframes-2.npz", "map.yaml"]
    assert len(load_map(tmp_path).views) == 5


def test_a_full_disk_leaves_the_earlier_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says it, and nothing half-written stays."""
    save_map(tmp_path, small(3))

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="No space left on device; the earlier one stays"):
        save_map(tmp_path, small(5))
    monkeypatch.undo()
    assert len(load_map(tmp_path).views) == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_a_map_goes_through_a_loop_closer_unchanged(tmp_path: Path) -> None:
    """Restored and collected without a new keyframe it is the same map."""
    saved = small(4, segments=(SavedSegment(0, 0, False), SavedSegment(0, 1, True)))
    views = tuple(
        replace(one, segment=i // 2, metric=bool(i // 2)) for i, one in enumerate(saved.views)
    )
    saved, closer = replace(saved, views=views), LoopCloser()
    restore(closer, saved)
    again = saved_from(closer, CAMERA, detector="sift", place="", before=saved)
    assert again.segments == saved.segments
    for a, b in zip(again.views, views, strict=True):
        np.testing.assert_allclose(a.T_world_cam, b.T_world_cam, atol=1e-12)
        same(replace(a, T_world_cam=b.T_world_cam), b)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": (240, 320)}, "camera of 640x480, the frames have 320x240"),
        ({"f": 1.05}, "of another camera"),
        ({"c": 20.0}, "of another camera"),
    ],
)
def test_a_map_of_another_camera_is_refused(change: dict, said: str) -> None:
    """Another size, a focal length off by 5 %, a principal point off by 20 pixels."""
    K = CAMERA.K
    K[0, 0] *= change.get("f", 1.0)
    K[0, 2] += change.get("c", 0.0)
    with pytest.raises(DataError, match=said):
        check_same_camera(small(), change.get("size", (480, 640)), K, "m")


def test_a_second_calibration_of_one_camera_is_taken() -> None:
    """Focal length off by 1 %, principal point by 3 pixels."""
    K = CAMERA.K
    K[0, 0] *= 1.01
    K[0, 2] += 3.0
    check_same_camera(small(), (480, 640), K, "m")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (("net", 128, ""), "128 numbers of sift, in use are 128 of net"),
        (("sift", 64, ""), "128 numbers of sift, in use are 64 of sift"),
        (("sift", 128, "place-9"), "descriptor of places is none, in use is place-9"),
    ],
)
def test_other_descriptors_are_refused(kind: tuple[str, int, str], said: str) -> None:
    """Another detector, length, or descriptor of places."""
    detector, width, place = kind
    with pytest.raises(DataError, match=said):
        check_same_kind(small(), detector=detector, width=width, place=place, where="m")


def _no_arrays(folder: Path) -> None:
    (folder / "keyframes-1.npz").unlink()


def _flip(folder: Path) -> None:
    path = folder / "keyframes-1.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _note(old: str, new: str) -> object:
    def change(folder: Path) -> None:
        path = folder / "map.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_arrays, "damaged: No such file"),
        (_flip, "damaged: its checksum is not that of map.yaml"),
        (_note("version: 1", "version: 7"), "version 7, this depthkit reads 1"),
        (_note("keyframes: 4", "keyframes: 5"), r"damaged: stamp: expected \(5,\), got \(4,\)"),
        (_note("fx: 525.0", "fx: wide"), "fx: expected a number"),
        (_note("fx: 525.0", "fx: -1"), "fx and fy must be positive"),
        (_note("session 0 map 0", "session 0 map x"), "segments: expected"),
        (_note("width: 640\n", ""), "width: missing"),
    ],
)
def test_a_damaged_map_is_refused_in_one_line(tmp_path: Path, damage: object, said: str) -> None:
    """The message names what is wrong; nothing is read from such a map."""
    save_map(tmp_path, small())
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=said) as caught:
        load_map(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    """Another folder, a file, an empty map; a folder that is not there is a new map."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"holds no map\.yaml"):
        open_finder(map=tmp_path)
    with pytest.raises(DataError, match="is a file"):
        open_finder(map=tmp_path / "notes.txt")
    with pytest.raises(DataError, match="no keyframe to save"):
        save_map(tmp_path / "new", small(views=()))
    assert open_finder(map=tmp_path / "new").saved is None


def test_an_empty_map_is_refused(tmp_path: Path) -> None:
    """A note that says so."""
    save_map(tmp_path, small())
    note = tmp_path / "map.yaml"
    text = note.read_text()
    note.write_text(
        text.replace("keyframes: 4", "keyframes: 0").replace("points: 120", "points: 0")
    )
    with pytest.raises(DataError, match="the map is empty"):
        load_map(tmp_path)


def test_the_finder_asks_for_the_detector_of_the_map(tmp_path: Path) -> None:
    """A map of a network's features is not opened with SIFT."""
    save_map(tmp_path, small(detector="net-0123"))
    with pytest.raises(DataError, match=r"give the features that made it \(--features\)"):
        open_finder(map=tmp_path)
