# SPDX-License-Identifier: Apache-2.0
"""Flow files: bytes by hand, round trips, and one line for what is no flow."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthkit.data.flow_files import encode_kitti, read_flow, write_flow
from depthkit.errors import DataError, ShapeError

MAGIC = struct.pack("<f", 202021.25)


def random_flow(seed: int = 0) -> np.ndarray:
    """Flow of up to 500 px with an unknown pixel. (5, 7, 2)"""
    flow = np.random.default_rng(seed).uniform(-500, 500, (5, 7, 2)).astype(np.float32)
    flow[2, 3] = np.nan
    return flow


def test_flo_has_middleburys_bytes(tmp_path: Path) -> None:
    """Magic 202021.25, width 2, height 1, then u and v of each pixel, unknown above 1e9."""
    write_flow(tmp_path / "a.flo", np.array([[[1.5, -2.0], [np.nan, 3.0]]]))
    data = (tmp_path / "a.flo").read_bytes()
    assert struct.unpack("<fii4f", data)[:5] == (202021.25, 2, 1, 1.5, -2.0)
    assert min(struct.unpack("<fii4f", data)[5:]) > 1e9


def test_flo_keeps_every_bit_and_what_opencv_wrote(tmp_path: Path) -> None:
    """A round trip is exact with its unknown pixels, and another program's file reads the same."""
    flow = random_flow()
    write_flow(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(read_flow(tmp_path / "a.flo"), flow)
    known = np.nan_to_num(flow)
    cv2.writeOpticalFlow(str(tmp_path / "b.flo"), known)
    np.testing.assert_array_equal(read_flow(tmp_path / "b.flo"), known)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e9, -2e9])
def test_unknown_in_one_component_is_an_unknown_pixel(tmp_path: Path, value: float) -> None:
    """NaN, infinity and more than 1e9 are unknown, and both components with it."""
    body = struct.pack("<ii4f", 2, 1, value, 1.0, 3.0, 4.0)
    (tmp_path / "a.flo").write_bytes(MAGIC + body)
    flow = read_flow(tmp_path / "a.flo")
    assert np.isnan(flow[0, 0]).all() and flow[0, 1].tolist() == [3.0, 4.0]


def test_kitti_rounds_to_a_64th_and_marks_what_does_not_fit(tmp_path: Path) -> None:
    """Rounding is half a 64th at most; beyond 511.9 px is unknown, never wrapped."""
    flow = random_flow()
    flow[0, 0] = 600, 0
    write_flow(tmp_path / "a.png", flow)
    back = read_flow(tmp_path / "a.png")
    unknown = np.isnan(back).all(axis=-1)
    assert np.argwhere(unknown).tolist() == [[0, 0], [2, 3]]
    assert np.abs(back - flow)[~unknown].max() <= 1 / 128 + 1e-4


def test_kitti_has_red_u_green_v_blue_valid() -> None:
    """u = 1.5 px is 32768 + 96, v = -2 px is 32768 - 128."""
    picture = encode_kitti(np.array([[[1.5, -2.0], [np.nan, 0.0]]]))
    assert picture.dtype == np.uint16
    assert picture.tolist() == [[[32768 + 96, 32768 - 128, 1], [32768, 32768, 0]]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .flo file"),
        (b"\x89PNG and so on", "not a .flo file"),
        (MAGIC[::-1] + struct.pack(">ii2f", 1, 1, 0, 0), "not a .flo file"),
        (MAGIC + b"\x01", "the header alone has 12"),
        (MAGIC + struct.pack("<ii", 0, 5), "impossible size 0x5"),
        (MAGIC + struct.pack("<ii", 3, -1), "impossible size 3x-1"),
        (MAGIC + struct.pack("<ii", 10**9, 10**9), "impossible size 1000000000x1000000000"),
        (MAGIC + struct.pack("<ii3f", 2, 1, 0, 0, 0), "truncated: 24 bytes, 2x1 needs 28"),
        (MAGIC + struct.pack("<ii5f", 2, 1, 0, 0, 0, 0, 0), "too long: 32 bytes"),
    ],
)
def test_damaged_flo_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    """Wrong magic or byte order, cut short, too long, or of no size."""
    (tmp_path / "a.flo").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_flow(tmp_path / "a.flo")


def test_other_pictures_are_no_flow(tmp_path: Path) -> None:
    """8 bit, one channel, four channels, cut short, no picture at all."""
    shapes = {"eight": ((3, 3, 3), np.uint8), "one": ((3, 3), np.uint16), "four": ((3, 3, 4), "u2")}
    for name, (shape, kind) in shapes.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros(shape, kind))
        with pytest.raises(DataError, match="not a KITTI flow picture"):
            read_flow(tmp_path / f"{name}.png")
    write_flow(tmp_path / "whole.png", random_flow())
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-40])
    with pytest.raises(DataError, match="truncated"):
        read_flow(tmp_path / "cut.png")
    (tmp_path / "text.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a readable image"):
        read_flow(tmp_path / "text.png")


def test_missing_files_and_other_suffixes_are_one_line(tmp_path: Path) -> None:
    """The path is named; a suffix that is no flow names those that are."""
    with pytest.raises(DataError, match="none.flo: cannot read"):
        read_flow(tmp_path / "none.flo")
    for action in (read_flow, lambda path: write_flow(path, random_flow())):
        with pytest.raises(DataError, match=r"\.flo or \.png"):
            action(tmp_path / "a.npy")
    with pytest.raises(ShapeError, match="write_flow: flow"):
        write_flow(tmp_path / "a.flo", np.zeros((2, 3, 3)))
