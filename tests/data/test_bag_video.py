# SPDX-License-Identifier: Apache-2.0
"""H.264 in messages: each picture belongs to its message, or one line says why none is read."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data import bag_makers as make
from data.bag_makers import MS
from data.h264_maker import SIDE, key_picture, repeated_picture

from depthkit.data.bag_storage import FFMPEG_PACKET, FOXGLOVE_VIDEO
from depthkit.data.stream import FrameStream, open_stream
from depthkit.errors import DataError

TOPIC = "/cam/video"


def packet(
    index: int, data: bytes, *, kind: str = make.COMPRESSED_IMAGE, codec: str = "h264"
) -> make.Entry:
    """One message of video at 10 Hz from 1 s on."""
    stamp = (1000 + 100 * index) * MS
    raw = np.frombuffer(data, np.uint8)
    if kind == FOXGLOVE_VIDEO:
        message = make.new(kind, make.header(stamp).stamp, "optical", raw, codec)
    elif kind == FFMPEG_PACKET:
        message = make.new(kind, make.header(stamp), SIDE, SIDE, codec, index, 0, False, raw)
    else:
        message = make.new(kind, make.header(stamp), codec, raw)
    return TOPIC, kind, stamp, message


def greys(stream: FrameStream) -> list[float]:
    """Mean of each frame."""
    return [float("nan") if one.rgb is None else float(one.rgb.mean()) for one in stream.frames()]


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        (make.COMPRESSED_IMAGE, "h264"),
        (FOXGLOVE_VIDEO, "h264"),
        (FFMPEG_PACKET, "h264;yuv420p;bgr8;bgr8"),
        (FFMPEG_PACKET, "libx264"),
    ],
)
def test_pictures_belong_to_their_messages(tmp_path: Path, kind: str, codec: str) -> None:
    """Luma 60, 100, 60: 255 / 219 (Y - 16) is 51.2, 97.8, 51.2; a skipped picture repeats."""
    pictures = [key_picture(60), repeated_picture(1), key_picture(100, 1), key_picture(60, 2)]
    entries = [packet(i, data, kind=kind, codec=codec) for i, data in enumerate(pictures)]
    stream = open_stream(make.write(tmp_path / "bag", entries))
    np.testing.assert_allclose(greys(stream), [51.2, 51.2, 97.8, 51.2], atol=1.5)
    np.testing.assert_allclose(stream.times, [1.0, 1.1, 1.2, 1.3])
    assert {one.rgb.shape for one in stream.frames() if one.rgb is not None} == {(SIDE, SIDE, 3)}


def test_pictures_before_the_first_key_are_left_out(tmp_path: Path) -> None:
    """A recorder joins in the middle; the stamps stay with their pictures."""
    pictures = [repeated_picture(3), repeated_picture(4), key_picture(60), key_picture(100, 1)]
    bag = make.write(tmp_path / "bag", [packet(i, data) for i, data in enumerate(pictures)])
    stream = open_stream(bag)
    np.testing.assert_allclose(stream.times, [1.2, 1.3])
    np.testing.assert_allclose(greys(stream), [51.2, 97.8], atol=1.5)
    assert any("the first 2 messages" in note for note in stream.notes)
    assert greys(open_stream(bag, every=2)) == greys(stream)[:1]


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([key_picture(60) + key_picture(70, 1)], "message 0 holds 2 pictures, expected one"),
        ([key_picture(60), b"\0" * 50], "message 1 holds 0 pictures"),
        ([key_picture(60), repeated_picture(1, kind=6)], r"refer to later ones \(B\)"),
        ([repeated_picture(1)], "without a key picture"),
    ],
)
def test_streams_that_cannot_be_paired_are_refused(
    tmp_path: Path, pictures: list[bytes], words: str
) -> None:
    """One line that names the format and what to do."""
    bag = make.write(tmp_path / "bag", [packet(i, data) for i, data in enumerate(pictures)])
    with pytest.raises(DataError, match=words) as caught:
        open_stream(bag)
    assert "h264" in str(caught.value) and "image_transport republish" in str(caught.value)


@pytest.mark.parametrize("codec", ["hevc", "h265", "theora", "av1", "vp9", "draco"])
def test_other_codecs_are_named(tmp_path: Path, codec: str) -> None:
    """The format is in the message, and so in the line."""
    bag = make.write(tmp_path / "bag", [packet(0, b"\0\0\0\1\x40", codec=codec)])
    with pytest.raises(DataError, match=f"{codec}.* is video"):
        open_stream(bag)
    bag = make.write(
        tmp_path / "two", [packet(0, b"\0\0\0\1\x40", kind=FOXGLOVE_VIDEO, codec=codec)]
    )
    with pytest.raises(DataError, match=f"format '{codec}' is video"):
        open_stream(bag)
