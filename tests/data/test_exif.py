# SPDX-License-Identifier: Apache-2.0
"""EXIF: tags of files made by hand, damaged files, and the pinhole a focal length gives."""

import datetime as dt
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from source_makers import listener, run

from depthkit.data.calibrations.exif_focal import camera_of_exif
from depthkit.data.exif import read_exif
from depthkit.errors import DataError

TIME = dt.datetime(2024, 5, 1, 10, 0, 2)
Value = int | str | tuple[int, int]


def tiff(tags: dict[int, Value], exif: dict[int, Value], order: str = "<") -> bytes:
    """A TIFF header with two directories: SHORT of int, ASCII of str, RATIONAL of a pair."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    first = {**tags, 0x8769: 0}
    at_exif = 8 + 2 + 12 * len(first) + 4
    at_data = at_exif + 2 + 12 * len(exif) + 4
    first[0x8769] = at_exif
    data, parts = b"", []
    for table in (first, exif):
        body = struct.pack(order + "H", len(table))
        for tag, value in sorted(table.items()):
            if isinstance(value, str):
                kind, count, raw = 2, len(value) + 1, value.encode() + b"\0"
            elif isinstance(value, tuple):
                kind, count, raw = 5, 1, struct.pack(order + "II", *value)
            elif tag == 0x8769:
                kind, count, raw = 4, 1, struct.pack(order + "I", value)
            else:
                kind, count, raw = 3, 1, struct.pack(order + "H", value)
            if len(raw) > 4:
                offset, data = at_data + len(data), data + raw
                raw = struct.pack(order + "I", offset)
            body += struct.pack(order + "HHI", tag, kind, count) + raw.ljust(4, b"\0")
        parts.append(body + b"\0\0\0\0")
    return mark + struct.pack(order + "I", 8) + b"".join(parts) + data


def jpeg(path: Path, table: bytes, size: tuple[int, int] = (24, 32)) -> Path:
    """A JPEG with the table as its APP1 segment."""
    _, data = cv2.imencode(".jpg", np.full((*size, 3), 90, np.uint8))
    segment = b"Exif\0\0" + table
    head = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    path.write_bytes(head + data.tobytes()[2:])
    return path


PHONE = {
    0x9003: "2024:05:01 10:00:02",
    0x9291: "25",
    0x9011: "+02:00",
    0xA405: 24,
    0x920A: (45, 10),
    0xA20E: (8000, 10),
    0xA210: 3,
    0xA002: 4000,
    0xA003: 3000,
}


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_a_phone_read(tmp_path, order):
    """Both byte orders: 4.5 mm, 800 pixels/cm, 0.25 s after 10:00:02, two hours before UTC."""
    table = tiff({0x010F: "Maker", 0x0112: 6}, PHONE, order)
    exif = read_exif(jpeg(tmp_path / "a.jpg", table))
    assert exif is not None
    assert (exif.datetime, exif.subsec) == (TIME, 0.25)
    assert exif.time == TIME.replace(tzinfo=dt.timezone.utc).timestamp() - 7200 + 0.25
    assert (exif.focal_35mm, exif.focal_mm) == (24.0, 4.5)
    assert (exif.focal_plane_x_resolution, exif.focal_plane_unit_mm) == (800.0, 10.0)
    assert (exif.orientation, exif.is_turned, exif.make) == (6, True, "Maker")
    assert (exif.width, exif.height) == (4000, 3000)


def test_tables_of_png_webp_tiff_and_heif_are_found(tmp_path):
    """The same table in each container's own chunk."""
    table = tiff({}, PHONE)
    chunk = struct.pack(">I", len(table)) + b"eXIf" + table + b"\0\0\0\0"
    files = {
        "a.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 1) + b"tEXtx\0\0\0\0" + chunk,
        "a.webp": b"RIFF\0\0\0\0WEBP"
        + (b"VP8 " + struct.pack("<I", 3) + b"abc\0")
        + (b"EXIF" + struct.pack("<I", len(table)) + table),
        "a.tif": table,
        "a.heic": b"\0\0\0\x18ftypheic" + b"\0" * 40 + b"Exif\0\0" + table,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        exif = read_exif(tmp_path / name)
        assert exif is not None, name
        assert exif.focal_35mm == 24.0


def test_damaged_exif_counts_as_absent(tmp_path):
    """No cut and no flipped byte raises: the table is a help only."""
    whole = jpeg(tmp_path / "a.jpg", tiff({0x0112: 1}, PHONE)).read_bytes()
    path = tmp_path / "b.jpg"
    for end in range(0, 330, 3):
        path.write_bytes(whole[:end])
        read_exif(path)
    for i in range(12, 330):
        path.write_bytes(whole[:i] + b"\xff" + whole[i + 1 :])
        read_exif(path)
    assert read_exif(tmp_path / "nowhere.jpg") is None
    path.write_bytes(b"")
    assert read_exif(path) is None


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday"])
def test_unset_clock_is_no_time(tmp_path, text):
    """A camera whose clock was never set writes blanks or zeros."""
    exif = read_exif(jpeg(tmp_path / "a.jpg", tiff({}, {0x9003: text})))
    assert exif is not None
    assert exif.datetime is None
    assert exif.time is None


@pytest.mark.parametrize(
    ("tags", "size", "fx"),
    [
        ({0xA405: 24}, (120, 160), 160 * 24 / 36),
        ({0xA405: 24}, (160, 120), 160 * 24 / 36),  # portrait: the longer side is 36 mm
        ({0x920A: (4, 1), 0xA20E: (1000, 1), 0xA210: 3}, (120, 160), 400.0),  # 100 pixels/mm
        ({0x920A: (4, 1), 0xA20E: (1016, 1)}, (120, 160), 160.0),  # an inch is 25.4 mm
        # 4000 pixels wide when taken, 160 now: 4 mm * 1000 pixels/mm / 25.
        (
            {0x920A: (4, 1), 0xA20E: (1000, 1), 0xA210: 4, 0xA002: 4000, 0xA003: 3000},
            (120, 160),
            160.0,
        ),
    ],
)  # fmt: skip
def test_focal_length_becomes_pixels(tmp_path, tags, size, fx):
    """By hand: film of 36 mm, or focal length times resolution of the focal plane."""
    camera = camera_of_exif([jpeg(tmp_path / "a.jpg", tiff({}, tags))], size)
    assert camera is not None
    assert (camera.camera.fx, camera.camera.fy) == pytest.approx((fx, fx))
    assert (camera.camera.cx, camera.camera.cy) == ((size[1] - 1) / 2, (size[0] - 1) / 2)
    assert "EXIF" in camera.assumed[0]
    assert "--fov" in camera.assumed[0]


def test_zoom_between_pictures_is_refused(tmp_path):
    """24 mm and 70 mm are not one camera."""
    pictures = [jpeg(tmp_path / f"{f}.jpg", tiff({}, {0xA405: f})) for f in (24, 70)]
    with pytest.raises(
        DataError, match="70.jpg: focal length of 311.1 pixels by EXIF, 24.jpg: 106.7"
    ):
        camera_of_exif(pictures, (120, 160))


def test_cropped_picture_has_no_view(tmp_path):
    """4000x3000 when taken, square now: the focal length does not say what was cut."""
    with pytest.raises(DataError, match="4000x3000 picture, this one is 120x120: cropped"):
        camera_of_exif([jpeg(tmp_path / "a.jpg", tiff({}, PHONE))], (120, 120))


def test_pictures_without_focal_length_have_no_camera(tmp_path):
    """No tag, a 0 that means unknown, and no EXIF at all."""
    for i, tags in enumerate(({}, {0xA405: 0}, {0x920A: (0, 1), 0xA20E: (1, 0)})):
        assert camera_of_exif([jpeg(tmp_path / f"{i}.jpg", tiff({}, tags))], (24, 32)) is None


def test_prepare_takes_the_focal_length_of_photos(tmp_path):
    """32 pixels, 24 mm: fx 32 * 24 / 36 = 21.3, said once; --fov overrides it."""
    (tmp_path / "in").mkdir()
    for i in range(3):
        jpeg(tmp_path / "in" / f"{i}.jpg", tiff({}, {0xA405: 24}))
    notes, watcher = listener()
    (result,) = run(tmp_path / "in", tmp_path / "o", watcher, camera=None)
    assert "fx: 21.3" in (result.path / "camera.yaml").read_text()
    assert sum("24 mm on 36 mm film" in note for note in notes) == 1
    (other,) = run(tmp_path / "in", tmp_path / "p", camera=None, fov=90.0)
    assert "fx: 16.0" in (other.path / "camera.yaml").read_text()
