# SPDX-License-Identifier: Apache-2.0
"""H.264 in messages, as Foxglove, ffmpeg_image_transport and drone bridges record it.

One message has to hold one picture and no picture may refer to a later one: only then is the n-th
decoded picture that of the n-th message. This is looked up in the stream (ITU-T H.264, 7.3.3) and
the decoder's count is compared; any other stream is refused.
"""

import re
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.data.bag import COMPRESSED_IMAGE, Recorded, parse, read_recorded
from depthkit.data.bag_storage import FFMPEG_PACKET, FOXGLOVE_VIDEO
from depthkit.errors import DataError

VIDEO_TYPES = (FOXGLOVE_VIDEO, FFMPEG_PACKET)
_SLICE, _KEY_SLICE, _PARAMETERS = 1, 5, 7
_B_SLICE = 1
REMEDY = "decode it on the robot (image_transport republish) or give the video file itself"


@dataclass(frozen=True)
class Video:
    """A topic whose messages are one video."""

    first: int
    """Index of the first message that can be decoded: it holds a key picture."""
    count: int
    """Pictures from there on, one a message."""
    size: tuple[int, int]
    """(H, W)"""
    frame_id: str


def is_video(message: Recorded) -> bool:
    """Say whether a message is a piece of H.264."""
    if message.type in VIDEO_TYPES:
        return True
    try:
        return message.type == COMPRESSED_IMAGE and _packet(message)[0] == "h264"
    except DataError:
        return False


def open_video(bag: Path, topic: str) -> Video:
    """Look through the messages of a topic, and decode them once.

    Raises:
        DataError: another codec, no key picture, or pictures that cannot be paired with messages.
    """
    first, count, frame_id = -1, 0, ""
    for index, message in enumerate(read_recorded(bag, (topic,))):
        codec, data, frame_id = _packet(message)
        if codec != "h264":
            raise DataError(f"{bag}: {topic}: format {codec!r} is video that is not read; {REMEDY}")
        pictures = _pictures(data, f"{bag}: {topic}: message {index}")
        if first < 0 and not _has_key(data):
            continue
        first = index if first < 0 else first
        if pictures != 1:
            raise DataError(
                f"{bag}: {topic}: format h264 is video, and message {index} holds {pictures} "
                f"pictures, expected one a message (JPEG and PNG are read too); {REMEDY}"
            )
        count += 1
    if first < 0:
        raise DataError(f"{bag}: {topic}: format h264 is video without a key picture; {REMEDY}")
    decoded, size = 0, (0, 0)
    for image in _decoded(bag, topic, first):
        decoded, size = decoded + 1, (image.shape[0], image.shape[1])
    if decoded != count:
        raise DataError(
            f"{bag}: {topic}: {count} messages of h264 decode to {decoded} pictures, so that they "
            f"cannot be paired; {REMEDY}"
        )
    return Video(first, count, size, frame_id)


def read_video_frames(
    bag: Path, topic: str, first: int, wanted: Collection[int]
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode the wanted messages of a topic, RGB.

    Args:
        bag: the bag.
        topic: of the video.
        first: index of the message with the first key picture.
        wanted: indices of messages.
    """
    last = max(wanted, default=-1)
    for index, image in enumerate(_decoded(bag, topic, first), start=first):
        if index in wanted:
            yield index, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if index >= last:
            return


def _decoded(bag: Path, topic: str, first: int) -> Iterator[np.ndarray]:
    """Decode all pictures from a message on, BGR, by way of a file: OpenCV reads no memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "video.h264")
        with file.open("wb") as sink:
            for index, message in enumerate(read_recorded(bag, (topic,))):
                if index >= first:
                    sink.write(_packet(message)[1])
        video = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
        try:
            while True:
                is_read, image = video.read()
                if not is_read:
                    return
                yield image
        finally:
            video.release()


def _packet(message: Recorded) -> tuple[str, bytes, str]:
    """Return codec, bytes and frame of a message."""
    parsed: Any = parse(message)
    name = parsed.encoding if message.type == FFMPEG_PACKET else parsed.format
    codec = re.split(r"[;. ]", name.strip().lower())[0]
    codec = {"avc": "h264", "avc1": "h264", "libx264": "h264", "x264": "h264"}.get(codec, codec)
    frame = parsed.frame_id if message.type == FOXGLOVE_VIDEO else parsed.header.frame_id
    return codec, bytes(parsed.data), frame


# --- the stream -----------------------------------------------------------------------------------


def _pictures(data: bytes, name: str) -> int:
    """Count the pictures that begin in a message: slices whose first macroblock is number 0."""
    count = 0
    for kind, payload in _units(data):
        if kind not in (_SLICE, _KEY_SLICE):
            continue
        bits = _Bits(payload[:24].replace(b"\0\0\3", b"\0\0"))
        first_block, slice_type = bits.number(), bits.number()
        if slice_type % 5 == _B_SLICE:
            raise DataError(
                f"{name}: format h264 is video with pictures that refer to later ones (B); {REMEDY}"
            )
        count += first_block == 0
    return count


def _has_key(data: bytes) -> bool:
    kinds = {kind for kind, _ in _units(data)}
    return {_KEY_SLICE, _PARAMETERS} <= kinds


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a stream at its start codes: kind and first bytes of each unit."""
    for match in re.finditer(b"\0\0\1", data):
        head = data[match.end() : match.end() + 32]
        if head:
            yield head[0] & 31, head[1:]


class _Bits:
    """Reads Exp-Golomb numbers from bytes."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def number(self) -> int:
        """Return the next number; a large one where the bytes end."""
        end = self._bits.find("1", self._at)
        zeros = end - self._at if end >= 0 else 24
        value = int(self._bits[end : end + zeros + 1] or "0", 2) - 1 if end >= 0 else 1 << 24
        self._at += 2 * zeros + 1
        return value
