# SPDX-License-Identifier: Apache-2.0
"""One video file through OpenCV: which files are videos, what they say of themselves.

What a file is decides, not its suffix. A container's own number of frames is a guess from duration
and rate in most formats. A file that was cut short is detected by the stated lengths of its parts.
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.file_kinds import EMPTY, OTHER, PICTURE, TEXT, UNKNOWN, VIDEO, read_kind
from depthkit.data.image_io import is_image
from depthkit.errors import DataError

VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv"),
    *(".3gp", ".3g2", ".insv", ".360", ".mxf", ".ogv", ".flv", ".f4v", ".y4m", ".asf", ".vob"),
    *(".h264", ".264", ".h265", ".265", ".hevc", ".m2v", ".dv", ".qt", ".mjpeg", ".mjpg"),
)
MOST_MISSES = 20
PROXY_SUFFIXES = (".lrv", ".lrf", ".thm")
"""Small copies that GoPro, Insta360 (also LRV_*.insv) and DJI cameras write beside a recording."""
MOTION_JPEG = (".mjpeg", ".mjpg")
TRANSPORT = "an MPEG transport stream"
"""A kind of file that often ends within a packet and is whole all the same."""
RAW_STREAMS = ("a raw H.264 stream", "a raw H.265 stream", "a JPEG picture")
"""Kinds without a container, which carry no times; JPEG pictures in a row are Motion JPEG."""
_AUDIO_SUFFIXES = (".m4a", ".mka", ".ogg", ".oga", ".opus", ".wma", ".mp3", ".aac", ".wav", ".flac")
_NEVER = (
    *(".txt", ".csv", ".json", ".yaml", ".yml", ".xml", ".md", ".py", ".srt", ".log", ".html"),
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".npy", ".bin"),
    *(".mcap", ".db3", ".bag"),
)


@dataclass(frozen=True)
class VideoFacts:
    """Facts that the header of a video file states."""

    path: Path
    size: tuple[int, int]
    """(H, W) of the first frame as decoded, that is after rotation."""
    promised: int
    """Number of frames by its index or its duration; 0 if not stated."""
    rate: float
    """Frames per second by its header."""
    pixel_aspect: float
    """Width of a pixel / its height, of frames as decoded; 1 if not stated."""
    rotation: int
    """Degrees by which its metadata turn the frames, applied by OpenCV."""
    grey_bits: int
    """Bits of a pixel of grey video; 0 of any other."""
    is_raw: bool
    """It is a stream without a container: the rate is a guess."""


def list_videos(folder: Path) -> list[Path]:
    """Return the videos of a folder, in order of names; hidden files and proxies are left out.

    Videos are detected by suffix or first bytes; beside pictures, by suffix alone. Of each suffix
    that is not a video's only a few files are opened.
    """
    paths = [p for p in sorted(folder.iterdir()) if p.name[0] != "." and not _is_proxy(p)]
    named = [p for p in paths if _has_video_name(p) and p.is_file()]
    if any(is_image(p) and p.suffix.lower() != ".gif" for p in paths):
        return named
    others, misses = list[Path](), Counter[str]()
    for path in paths:
        suffix = path.suffix.lower()
        if path in named or suffix in _AUDIO_SUFFIXES + _NEVER or misses[suffix] >= MOST_MISSES:
            continue
        if path.is_file() and (read_kind(path).group == VIDEO or _is_animation(path)):
            others.append(path)
        else:
            misses[suffix] += 1
    return sorted(named + others)


def _has_video_name(path: Path) -> bool:
    """Whether a suffix is that of a video; '.ts' is that of TypeScript, too."""
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix == ".ts" and read_kind(path).name == TRANSPORT)


def _is_proxy(path: Path) -> bool:
    return path.suffix.lower() in PROXY_SUFFIXES or path.name.upper().startswith("LRV_")


def is_video_file(path: Path) -> bool:
    """Whether the file that was given as the source is a video; OpenCV decides where in doubt."""
    suffix, kind = path.suffix.lower(), read_kind(path)
    if kind.group == PICTURE:
        return suffix in MOTION_JPEG or _is_animation(path)
    if suffix in VIDEO_SUFFIXES or kind.group == VIDEO:
        return True
    if kind.group in (TEXT, OTHER, EMPTY):
        return False
    try:
        open_video(path).release()
    except DataError:
        return False
    return True


def look_at(path: Path) -> VideoFacts:
    """Read the facts that the header of a video file states.

    Raises:
        DataError: not a video, or no frame of it decodes.
    """
    capture = open_video(path)
    try:
        size = _first_size(capture, path)
        rotation = int(_property(capture, cv2.CAP_PROP_ORIENTATION_META)) % 360
        return VideoFacts(
            path,
            size,
            promised=int(max(0.0, _property(capture, cv2.CAP_PROP_FRAME_COUNT))),
            rate=_property(capture, cv2.CAP_PROP_FPS),
            pixel_aspect=_pixel_aspect(capture, is_turned=rotation in (90, 270)),
            rotation=rotation,
            grey_bits=_grey_bits(capture),
            is_raw=read_kind(path).name in RAW_STREAMS,
        )
    finally:
        capture.release()


def open_video(path: Path) -> cv2.VideoCapture:
    """Open a video; a file that does not open is named for what it is."""
    if not path.is_file():
        raise DataError(f"{path}: video not found")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints would bury our line
    backends = cv2.videoio_registry.getStreamBackends()
    backend = cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in backends else cv2.CAP_ANY
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path.absolute()), backend)  # 12:00.mp4 alone is a protocol
    cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise DataError(f"{path}: video does not open; {_why_closed(path)}")
    return capture


def find_missing(facts: VideoFacts, frames: int, last: float | None, step: float) -> str:
    """Say that a video ends early; '' where nothing tells that it does.

    Args:
        facts: header of the file.
        frames: number of frames that decode.
        last: time of the last one by the file's own clock, seconds; None where unknown.
        step: usual time from frame to frame, seconds.
    """
    kind, whole = read_kind(facts.path).name, is_whole(facts.path)
    lacking = facts.promised - frames > 1 and facts.rate > 0
    if whole is False and (lacking or kind != TRANSPORT):
        of_all = f" of {facts.promised}" if lacking and abs(facts.rate * step - 1) < 0.1 else ""
        return f"video ends after {frames}{of_all} frames: the file is cut short"
    if not lacking:
        return ""
    announced = facts.promised / facts.rate
    end = announced if last is None else last + step
    if whole is None and announced - end > max(3 * step, 0.03 * announced):
        return f"frames end at {end:.2f} s, the file announces {announced:.2f} s: was it cut short?"
    if whole and frames < 0.9 * facts.promised and kind.startswith("an MP4"):
        return (
            f"{frames} frames are shown of {facts.promised} in the index of the file: an edit list "
            "hides the others, or they are damaged"
        )
    return ""


def is_whole(path: Path) -> bool | None:
    """Tell by the lengths that its parts announce whether a file was cut; None: they do not say."""
    total = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[:4] == b"RIFF":
            length = int.from_bytes(head[4:8], "little")
            return None if length in (0, 0xFFFFFFFF) else 8 + length <= total + 1
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return _is_whole_matroska(head, total)
        if head[:4] == b"OggS":
            file.seek(max(0, total - (1 << 17)))
            flags = file.read().rpartition(b"OggS")[2][1:2]
            return bool(flags and flags[0] & 4)  # the last page says that it is the last
        if read_kind(path).name == TRANSPORT and head[:1] == b"G":
            return None if total % 188 == 0 else False
        if head[4:8] in _BOXES:
            return _is_whole_mp4(path, total)
    return None


_BOXES = (*(b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"), b"moof", b"mfra")


def _is_whole_mp4(path: Path, total: int) -> bool:
    """Walk the boxes of the top level; what follows the last known one is a maker's own."""
    at = 0
    with path.open("rb") as file:
        while at + 8 <= total:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if head[4:8] not in _BOXES or length == 0:  # 0: to the end of the file
                return True
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8:
                return True
            at += length
    return at <= total


def _is_whole_matroska(head: bytes, total: int) -> bool | None:
    """Compare the length of the segment, behind the EBML header, with that of the file."""
    length, used = _ebml_length(head, 4)
    at = 4 + used + (length or 0)
    if length is None or head[at : at + 4] != b"\x18\x53\x80\x67":
        return None
    length, used = _ebml_length(head, at + 4)
    return None if length is None else at + 4 + used + length <= total


def _ebml_length(data: bytes, at: int) -> tuple[int | None, int]:
    """Return a length and its own number of bytes; None for the unknown one of a live recording."""
    first = data[at] if at < len(data) else 0
    used = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1)
    unknown = used > 8 or len(data) < at + used or value == (1 << 7 * used) - 1
    return (None if unknown else value), used


def _is_animation(path: Path) -> bool:
    """Whether a GIF holds more than one picture."""
    if read_kind(path).name != "a GIF picture":
        return False
    return path.read_bytes().count(b"\x21\xf9\x04") > 1  # graphic control: one a picture


def _first_size(capture: cv2.VideoCapture, path: Path) -> tuple[int, int]:
    """Return (H, W) of the first frame as decoded, that is after rotation."""
    ok, frame = capture.read()
    if ok:
        return frame.shape[0], frame.shape[1]
    code = int(_property(capture, cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    codec = code.to_bytes(4, "little").decode("latin-1").strip("\0 ") or "unknown"
    raise DataError(
        f"{path}: video opens but none of its frames decodes (codec {codec!r}); convert it: ffmpeg "
        "-i IN -c:v libx264 OUT.mp4"
    )


def _pixel_aspect(capture: cv2.VideoCapture, *, is_turned: bool) -> float:
    """Return width / height of a pixel; it changes places when frames are turned by 90 degrees."""
    width = _property(capture, cv2.CAP_PROP_SAR_NUM)
    height = _property(capture, cv2.CAP_PROP_SAR_DEN)
    if width <= 0 or height <= 0:
        return 1.0
    return height / width if is_turned else width / height


def _grey_bits(capture: cv2.VideoCapture) -> int:
    """Read the bits of a pixel from FFmpeg's code of grey pixels: Y, 1, 0, bits."""
    code = int(_property(capture, cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
    letters = code.to_bytes(4, "little")
    return letters[3] if letters[:3] == b"Y1\0" else 0


def _property(capture: cv2.VideoCapture, name: int) -> float:
    value = float(capture.get(name))
    return value if np.isfinite(value) else 0.0


def _why_closed(path: Path) -> str:
    kind = read_kind(path)
    if kind.group == VIDEO and is_whole(path) is False:
        return f"it is {kind.name} that was cut short, and its index is lost; copy it again"
    if kind.group == VIDEO:
        return f"it is {kind.name}: is it whole, with pictures in a codec that OpenCV knows?"
    return (
        "is it whole, and its codec known to OpenCV?"
        if kind.group == UNKNOWN
        else f"it is {kind.name}"
    )
