# SPDX-License-Identifier: Apache-2.0
"""Pictures decoded: the scale of more than 8 bit, and what is no whole picture."""

import cv2
import numpy as np
import pytest

from depthkit.picture import (
    BAYER_CODES,
    UnreadableImageError,
    declared_size,
    decode_rgb,
    to_8_bit,
)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_every_value_is_rounded_to_the_nearest_of_8_bit(bits):
    """The scale is 255 / (2^bits - 1), exact for each value there is; more is white."""
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.minimum(np.rint(values * (255.0 / (2**bits - 1))), 255)
    np.testing.assert_array_equal(to_8_bit(values, bits), expected)


@pytest.mark.parametrize("pattern", BAYER_CODES)
def test_mosaic_file_gives_back_its_colour(pattern):
    """A flat colour behind a filter whose first pixels spell the pattern, in 8 and 16 bit."""
    tile = np.array([{"r": 200, "g": 100, "b": 50}[letter] for letter in pattern], np.uint8)
    mosaic = np.tile(tile.reshape(2, 2), (4, 5))
    for pixels in (mosaic, mosaic.astype(np.uint16) * 257):
        data = cv2.imencode(".png", pixels)[1].tobytes()
        assert (decode_rgb(data, "a.png", pattern) == (200, 100, 50)).all()


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_older_opencv_decodes_the_same(kind, monkeypatch):
    """That of Ubuntu 24.04 has no IMREAD_COLOR_RGB."""
    data = cv2.imencode(kind, np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8))[1]
    newest = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    monkeypatch.delattr(cv2, "IMREAD_COLOR_RGB", raising=False)
    np.testing.assert_array_equal(decode_rgb(data.tobytes(), "a"), newest)


def test_jpeg_cut_anywhere_is_refused():
    """Whatever is missing at the end, no grey is filled in, also behind a thumbnail's own end."""
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", rgb)[1].tobytes()
    thumbnail = data[:2] + b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data + data[2:]
    for whole in (data, thumbnail):
        assert decode_rgb(whole, "a.jpg").shape == (32, 32, 3)
        for end in range(0, len(whole) - 1, 7):
            with pytest.raises(UnreadableImageError, match=r"^a\.jpg: .*\d+ bytes"):
                decode_rgb(whole[:end], "a.jpg")


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_damaged_header_does_not_ask_for_gigabytes(kind):
    """Three hundred bytes that say 60000 x 30000 are refused before anything is decoded."""
    data = bytearray(cv2.imencode(kind, np.zeros((21, 34, 3), np.uint8))[1].tobytes())
    assert declared_size(bytes(data)) == (21, 34)
    if kind == ".png":
        data[16:24] = (60000).to_bytes(4, "big") + (30000).to_bytes(4, "big")
    else:
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = (30000).to_bytes(2, "big") + (60000).to_bytes(2, "big")
    assert declared_size(bytes(data)) == (30000, 60000)
    with pytest.raises(UnreadableImageError, match="say 60000x30000 pixels; its header is damaged"):
        decode_rgb(bytes(data), "a")


def test_size_is_found_behind_a_thumbnail_and_in_a_progressive_file():
    """The thumbnail's own size is inside a segment that is skipped; rubbish says none."""
    rgb = np.zeros((21, 34, 3), np.uint8)
    small = cv2.imencode(".jpg", rgb[:8, :8])[1].tobytes()
    data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    segment = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    assert declared_size(data[:2] + segment + b"\xff" + data[2:]) == (21, 34)
    for rubbish in (b"", b"\xff\xd8", b"\x89PNG", data[:2] + b"\xff" * 50, data[:2] + b"\0" * 50):
        assert declared_size(rubbish) == (0, 0)
