# SPDX-License-Identifier: Apache-2.0
"""Depth files of every kind give the numbers that were stored; others are named in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError

cv2 = pytest.importorskip("cv2")

from depthkit.data.depth_files import read_depth_file  # noqa: E402

MILLIMETRES = np.arange(500, 500 + 12, dtype=np.uint16).reshape(3, 4)
METRES = (MILLIMETRES / 1000).astype(np.float32)

Writer = Callable[[Path, np.ndarray], None]


def by_opencv(ext: str) -> Writer:
    """Encode a picture under whatever name."""
    return lambda path, values: path.write_bytes(cv2.imencode(ext, values)[1].tobytes()) and None


GOOD: dict[str, tuple[Writer, np.ndarray]] = {
    "a.png": (by_opencv(".png"), MILLIMETRES),
    "a.tiff": (by_opencv(".tiff"), MILLIMETRES),
    "b.tif": (by_opencv(".tiff"), METRES),
    "c.TIFF": (by_opencv(".tiff"), METRES.astype(np.float64)),
    "d.tiff": (by_opencv(".tiff"), MILLIMETRES.astype(np.int32)),
    "tiff_called.png": (by_opencv(".tiff"), MILLIMETRES),
    "a.pfm": (by_opencv(".pfm"), METRES),
    "a.npy": (lambda path, values: np.save(path, values), METRES),
    "b.npy": (lambda path, values: np.save(path, values), MILLIMETRES),
    "c.npy": (lambda path, values: np.save(path, values[None]), METRES),
    "d.npy": (lambda path, values: np.save(path, values[..., None]), METRES.astype(np.float16)),
    "one.npz": (lambda path, values: np.savez(path, values), METRES),
    "named.npz": (lambda path, values: np.savez(path, K=np.eye(3), depth=values), METRES),
}


@pytest.mark.parametrize("name", GOOD)
def test_stored_numbers_come_back(name: str, tmp_path: Path) -> None:
    """Values to the digit, and whether they are whole numbers, which need a scale."""
    write, values = GOOD[name]
    write(tmp_path / name, values)
    stored = read_depth_file(tmp_path / name)
    assert stored.values.dtype == np.float32 and stored.note == ""
    np.testing.assert_array_equal(stored.values, values.astype(np.float32))
    assert stored.is_whole == (values.dtype.kind in "iu")


def test_points_give_their_z_and_a_word(tmp_path: Path) -> None:
    """SCARED stores x y z a pixel as a float TIFF in RGB order; depth is the third."""
    points = np.stack([METRES * 0, METRES * 0 + 9, METRES], axis=-1)
    by_opencv(".tiff")(tmp_path / "p.tiff", points[..., ::-1])  # OpenCV writes BGR
    stored = read_depth_file(tmp_path / "p.tiff")
    np.testing.assert_array_equal(stored.values, METRES)
    assert "points x y z, depth is z" in stored.note


BAD: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "not a readable image"),
    "text.tiff": (b"1 2 3\n", "not a readable image"),
    "short.npy": (b"\x93NUMPY\x01\x00", "is not a NumPy array file"),
    "short.npz": (b"PK\x03\x04", "is not a NumPy array file"),
    "a.h5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file; save its depth as"),
    "a.exr": (b"\x76\x2f\x31\x01\x02\x00", "reads no OpenEXR; save depth as"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_bytes_are_one_line(name: str, tmp_path: Path) -> None:
    """Empty, truncated and foreign files are named with their path."""
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as error:
        read_depth_file(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


ARRAYS = {
    "eight bits": (np.zeros((3, 4), np.uint8), "8 bits are too few for depth"),
    "mask": (np.zeros((3, 4), bool), "expected a one-channel 16-bit picture or"),
    "vector": (np.zeros(12, np.float32), r"got float32 of \(12,\)"),
    "stack": (np.zeros((5, 3, 4), np.float32), r"got float32 of \(5, 3, 4\)"),
    "complex": (np.zeros((3, 4), complex), "numbers, got complex128"),
    "no pixels": (np.zeros((0, 4), np.float32), "holds no pixels"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_no_depth_map_are_one_line(name: str, tmp_path: Path) -> None:
    """Another shape or type is said with what it is."""
    values, message = ARRAYS[name]
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match=message):
        read_depth_file(tmp_path / "x.npy")


def test_an_archive_of_several_arrays_is_not_guessed_at(tmp_path: Path) -> None:
    """Without one named depth, the names are listed."""
    np.savez(tmp_path / "x.npz", a=METRES, b=METRES)
    with pytest.raises(DataError, match="holds a, b; expected one array 'depth'"):
        read_depth_file(tmp_path / "x.npz")
