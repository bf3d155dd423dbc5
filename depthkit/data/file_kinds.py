# SPDX-License-Identifier: Apache-2.0
"""What a file is by its first bytes, whatever its suffix, as words for a message."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VIDEO, PICTURE, TEXT, OTHER, EMPTY, UNKNOWN = "video", "picture", "text", "other", "empty", ""

_HEAD = 1024
_PACKETS = {188: 0, 192: 4}  # length of a packet of a transport stream: where its sync byte is


@dataclass(frozen=True)
class FileKind:
    """What a file holds."""

    group: str
    """video, picture, text, other, empty; '' where the first bytes say nothing."""
    name: str
    """With its article, such as 'a JPEG picture'."""


# First bytes, from an offset.
_MAGIC = (
    (0, b"\xff\xd8\xff", PICTURE, "a JPEG picture"),
    (0, b"\x89PNG\r\n", PICTURE, "a PNG picture"),
    (0, b"GIF8", PICTURE, "a GIF picture"),
    (0, b"BM", PICTURE, "a BMP picture"),
    (0, b"II*\0", PICTURE, "a TIFF picture"),
    (0, b"MM\0*", PICTURE, "a TIFF picture"),
    (8, b"WEBP", PICTURE, "a WebP picture"),
    (4, b"jP  \r\n", PICTURE, "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", PICTURE, "a JPEG 2000 picture"),
    (0, b"\xff\x0a", PICTURE, "a JPEG XL picture"),
    (4, b"JXL \r\n", PICTURE, "a JPEG XL picture"),
    (0, b"#?RADIANCE", PICTURE, "a Radiance HDR picture"),
    (0, b"\x76\x2f\x31\x01", PICTURE, "an OpenEXR picture"),
    (0, b"8BPS", PICTURE, "a Photoshop picture"),
    (4, b"ftypcrx ", PICTURE, "a raw Canon picture"),
    (4, b"ftypM4A", OTHER, "an audio file"),
    (8, b"AVI ", VIDEO, "an AVI video"),
    (8, b"WAVE", OTHER, "an audio file"),
    (0, b"ID3", OTHER, "an audio file"),
    (0, b"\x1a\x45\xdf\xa3", VIDEO, "a Matroska video"),
    (0, b"\0\0\x01\xba", VIDEO, "an MPEG video"),
    (0, b"\0\0\x01\xb3", VIDEO, "an MPEG video stream"),
    (0, b"\0\0\x01\xb0", VIDEO, "an MPEG-4 video stream"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO, "a Windows Media video"),
    (0, b"FLV\x01", VIDEO, "a Flash video"),
    (0, b"OggS", VIDEO, "an Ogg video"),
    (0, b"YUV4MPEG2", VIDEO, "a YUV4MPEG2 video"),
    (0, b"DKIF", VIDEO, "an IVF video"),
    (0, b"nut/multimedia", VIDEO, "a NUT video"),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", VIDEO, "an MXF video"),
    (0, b"\x1f\x07\x00", VIDEO, "a DV video"),
    (0, b"#ROSBAG V", OTHER, "a ROS 1 bag (convert it to ROS 2: rosbags-convert --src X --dst Y)"),
    (0, b"\x89MCAP0", OTHER, "an MCAP recording"),
    (0, b"SQLite format 3\0", OTHER, "an SQLite file"),
    (0, b"PK\x03\x04", OTHER, "a ZIP archive; unpack it first"),
    (0, b"\x1f\x8b", OTHER, "a gzip archive; unpack it first"),
    (0, b"BZh", OTHER, "a bzip2 archive; unpack it first"),
    (0, b"\xfd7zXZ", OTHER, "an XZ archive; unpack it first"),
    (0, b"7z\xbc\xaf", OTHER, "a 7-Zip archive; unpack it first"),
    (0, b"Rar!", OTHER, "a RAR archive; unpack it first"),
    (257, b"ustar", OTHER, "a tar archive; unpack it first"),
    (0, b"%PDF", OTHER, "a PDF document"),
    (0, b"\x89HDF", OTHER, "an HDF5 file"),
    (0, b"\x93NUMPY", OTHER, "a NumPy array"),
    (0, b"ply\n", OTHER, "a PLY cloud"),
    (0, b"\x7fELF", OTHER, "a program"),
)
_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC picture"
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_H265_STARTS = (0x40, 0x42, 0x44, 0x46, 0x4E)  # VPS, SPS, PPS, delimiter, SEI; then always a 1
_H264_STARTS = (6, 7, 9)  # SEI, SPS, delimiter, in the low five bits


def read_kind(path: Path) -> FileKind:
    """Say what a file is from its first kilobyte."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(_HEAD))
    except OSError as error:
        return FileKind(OTHER, f"a file that cannot be read ({error.strerror})")


def kind_of(data: bytes) -> FileKind:
    """Say what a file is whose first bytes (a kilobyte at best) are given."""
    if not data:
        return FileKind(EMPTY, "an empty file (0 bytes)")
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return FileKind(PICTURE, _BRANDS[data[8:12]])
    for at, mark, group, name in _MAGIC:
        if data[at : at + len(mark)] == mark and not (mark == b"BM" and data[6:10] != b"\0" * 4):
            return FileKind(group, name)
    if data[:1] == b"P" and data[1:2] in b"1234567Ff" and data[2:3].isspace():
        return FileKind(PICTURE, "a PNM picture")
    if data[4:8] in _BOXES:
        return FileKind(VIDEO, "an MP4 or QuickTime video")
    return _stream_kind(data) or _text_kind(data)


def _stream_kind(data: bytes) -> FileKind | None:
    """Recognise a transport stream by its sync bytes, a raw stream by its start code."""
    for length, at in _PACKETS.items():
        if len(data) > at + 2 * length and data[at::length][:3] == b"GGG":  # 0x47
            return FileKind(VIDEO, "an MPEG transport stream")
    start = 4 if data[:4] == b"\0\0\0\x01" else 3 if data[:3] == b"\0\0\x01" else None
    if start is None or len(data) < start + 2:
        return None
    if data[start] in _H265_STARTS and data[start + 1] == 1:
        return FileKind(VIDEO, "a raw H.265 stream")
    is_h264 = data[start] < 0x80 and data[start] & 0x1F in _H264_STARTS
    return FileKind(VIDEO, "a raw H.264 stream") if is_h264 else None


def _text_kind(data: bytes) -> FileKind:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data" and len(data) - error.start < 4
        if not cut:
            return FileKind(UNKNOWN, "a file of unknown kind")
        text = data[: error.start].decode("utf-8")
    if text.startswith("version https://git-lfs"):
        return FileKind(TEXT, "a Git LFS pointer; run 'git lfs pull' first")
    if any(ord(letter) < 32 and not letter.isspace() for letter in text):
        return FileKind(UNKNOWN, "a file of unknown kind")
    is_page = text.lstrip()[:14].lower().startswith(("<!doctype html", "<html"))
    return FileKind(TEXT, "a web page, not the file itself" if is_page else "a text file")


def count_suffixes(paths: list[Path]) -> str:
    """Say how many files there are of each suffix, the most frequent first."""
    counts = Counter(path.suffix for path in paths)
    return ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in counts.most_common(4))
