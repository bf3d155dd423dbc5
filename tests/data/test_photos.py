# SPDX-License-Identifier: Apache-2.0
"""Pictures as cameras and phones write them: large, foreign, damaged; their order and times."""

import os
import re
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from source_makers import (
    PINHOLE,
    H,
    W,
    corrupt,
    listener,
    make_images,
    picture,
    run,
    run_one,
    save,
)

from depthkit.data.file_kinds import kind_of
from depthkit.data.heif import decode_heif, has_heif
from depthkit.data.image_io import list_images
from depthkit.data.importers.lying_there import split_about
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.installation import install_line
from depthkit.picture import check_pixels

FOV = {"camera": None, "fov": 90.0}

# --- large, foreign and damaged pictures ---------------------------------------------------------


def test_picture_of_108_megapixels_is_no_damaged_header():
    """12000 x 9000 of one grey is a PNG of 105 kB: that deflate can pack, a tenth of it cannot."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 12000, 9000)
    check_pixels(head + b"\0" * 105_000, "a.png")
    with pytest.raises(DataError, match="10524 bytes say 12000x9000 pixels; its header is damaged"):
        check_pixels(head + b"\0" * 10_500, "a.png")
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 40000, 30000)
    with pytest.raises(DataError, match="40000x30000 pixels, at most 1073741824"):
        check_pixels(head + b"\0" * 10**6, "a.png")


def test_picture_beyond_the_memory_names_both(tmp_path, monkeypatch):
    """5000 x 4000 pixels of 8 bytes need 152 MB; 100 are free."""
    save(tmp_path / "in" / "a.png", np.zeros((4000, 5000), np.uint8))
    monkeypatch.setattr("depthkit.picture._free_memory", lambda: 100 << 20)
    with pytest.raises(DataError, match="a.png: 5000x4000 pixels take 152 MB of memory, 100 MB"):
        run(tmp_path / "in", tmp_path / "out", **FOV)


@pytest.mark.skipif(has_heif(), reason="pillow-heif is installed and reads them")
def test_heic_pictures_are_named_with_their_number(tmp_path):
    """Alone they are an error, among others a note; a JPEG of the same name stands for one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        (folder / f"IMG_{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    words = rf"3 \.HEIC files cannot be read; convert to JPEG, or {re.escape(install_line('heic'))}"
    with pytest.raises(DataError, match=words):
        run(folder, tmp_path / "out")
    with pytest.raises(DataError, match=words):
        open_stream(folder)
    with pytest.raises(DataError, match=r"IMG_0.HEIC: is a HEIC picture; convert to JPEG, or pip"):
        run(folder / "IMG_0.HEIC", tmp_path / "out")
    save(folder / "IMG_0.jpg", picture(0))
    notes, watcher = listener()
    (result,) = run(folder, tmp_path / "out", watcher)
    assert result.frames == 1 and any("2 .HEIC files cannot be read" in note for note in notes)


def test_heic_pictures_are_read_with_the_extra(tmp_path):
    """A picture that was written as HEIC comes back but for compression; half a file does not."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="extra [heic] is not installed")
    (tmp_path / "in").mkdir()
    for i in range(2):
        rgb = np.ascontiguousarray(picture(i, (48, 64)))
        image = pillow_heif.from_bytes("RGB", (64, 48), rgb.tobytes())
        image.save(tmp_path / "in" / f"IMG_{i}.HEIC", quality=95)
    sequence = run_one(tmp_path / "in", tmp_path / "out", **FOV)
    assert np.abs(sequence.read_frame(1).astype(int) - picture(1, (48, 64))).mean() < 8
    corrupt(tmp_path / "in" / "IMG_0.HEIC")
    with pytest.raises(DataError, match="IMG_0.HEIC: damaged HEIC picture"):
        run(tmp_path / "in" / "IMG_0.HEIC", tmp_path / "half", **FOV)


def test_heic_of_any_mode_becomes_rgb(monkeypatch):
    """Grey is tripled and alpha dropped, whatever pillow-heif hands over."""
    for shape in ((4, 6), (4, 6, 3), (4, 6, 4)):
        image = np.full(shape, 7, np.uint8)
        monkeypatch.setitem(sys.modules, "pillow_heif", FakeHeif(image))
        rgb = decode_heif(b"", "a.heic")
        assert rgb.shape == (4, 6, 3) and (rgb == 7).all()


class FakeHeif:
    """Stands for the package: hands over one picture."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def read_heif(self, data: bytes, *, convert_hdr_to_8bit: bool) -> np.ndarray:
        """Return the picture."""
        assert convert_hdr_to_8bit
        return self.image


def test_foreign_pictures_are_named(tmp_path):
    """Raw files and others that OpenCV does not read, here or in a folder below."""
    for name in ("a.DNG", "b.DNG", "c.psd"):
        path = tmp_path / "in" / "deep" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x93" * 40)
    words = "in deep: 2 .DNG, 1 .psd files cannot be read; convert them to JPEG or PNG"
    with pytest.raises(DataError, match=words):
        run(tmp_path / "in", tmp_path / "out")


def test_picture_of_another_kind_says_so(tmp_path):
    """A text file with a picture's suffix."""
    make_images(tmp_path / "in", 1)
    (tmp_path / "in" / "frame1.png").write_text("404 not found")
    with pytest.raises(DataError, match="frame1.png: not a readable image .*: it is a text file"):
        run(tmp_path / "in", tmp_path / "out")


def test_pages_of_a_tiff_are_counted(tmp_path):
    """Of a stack the first page is taken, which is said."""
    pages = [picture(i) for i in range(3)]
    assert cv2.imwritemulti(str(tmp_path / "stack.tif"), pages)
    notes, watcher = listener()
    run(tmp_path / "stack.tif", tmp_path / "out", watcher)
    assert notes == [
        "stack: stack.tif holds 3 pages, the first is taken; split it into files for all"
    ]


def test_pictures_without_suffix_are_told_by_content(tmp_path):
    """A folder of names without suffixes is a sequence."""
    for path in make_images(tmp_path / "in", 3).iterdir():
        path.rename(path.with_suffix(""))
    sequence = run_one(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(sequence.read_frame(2), picture(2))


def test_stored_bytes_fit_their_suffix(tmp_path):
    """A PNG that is called .jpg is not copied as a JPEG."""
    for path in make_images(tmp_path / "in", 2).iterdir():
        path.rename(path.with_suffix(".jpg"))
    (result,) = run(tmp_path / "in", tmp_path / "out", ext="jpg")
    data = (result.path / "frames" / "000000.jpg").read_bytes()
    assert kind_of(data).name == "a JPEG picture"


# --- order and times of photos -------------------------------------------------------------------


def save_photo(path: Path, i: int, time: str, subsec: str = "", *, tag: int = 0x9003) -> None:
    """A JPEG with a time (DateTimeOriginal) and SubSecTimeOriginal in its EXIF, big endian."""
    texts = [(tag, f"2023:11:15 {time}".encode() + b"\0")]
    texts += [(0x9291, subsec.encode() + b"\0")] if subsec else []
    at = 8 + 18 + 2 + 12 * len(texts) + 4
    entries, values = b"", b""
    for tag, text in texts:
        place = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack(">I", at + len(values))
        values += text if len(text) > 4 else b""
        entries += struct.pack(">HHI", tag, 2, len(text)) + place
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0)
    tiff += struct.pack(">H", len(texts)) + entries + b"\0\0\0\0" + values
    data = cv2.imencode(".jpg", picture(i)[..., ::-1])[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data[:2] + segment + data[2:])


def frame_names(folder: Path) -> list[str]:
    """Names in the order in which infer reads them."""
    return [frame.name for frame in open_stream(folder).frames()]


def test_counter_that_starts_again_follows_the_clock(tmp_path):
    """9998, 9999, 0001, 0002 two seconds apart: order and times of EXIF, each said once."""
    folder = tmp_path / "in"
    for i, number in enumerate((9998, 9999, 1, 2)):
        save_photo(folder / f"DSC_{number:04d}.JPG", i, f"17:00:{2 * i:02d}", "25")
    notes, watcher = listener()
    (result,) = run(folder, tmp_path / "out", watcher)
    assert frame_names(folder) == ["DSC_9998", "DSC_9999", "DSC_0001", "DSC_0002"]
    times = np.loadtxt(result.path / "times.txt")
    np.testing.assert_allclose(times, [0, 2, 4, 6])
    assert any("frame 0 is DSC_9998.JPG, by name it would be DSC_0001.JPG" in n for n in notes)
    assert "frame times are EXIF DateTimeOriginal (SubSecTimeOriginal)" in result.assumed[0]


def test_counter_turns_within_one_second(tmp_path):
    """9999 and 0001 in the same whole second: the counter's turn decides, not the name."""
    folder = tmp_path / "in"
    for i, (number, second) in enumerate([(9998, 10), (9999, 11), (1, 11), (2, 12)]):
        save_photo(folder / f"P{number:04d}.jpg", i, f"17:00:{second}")
    assert frame_names(folder) == ["P9998", "P9999", "P0001", "P0002"]


def test_bursts_without_fractions_keep_the_rate(tmp_path):
    """Three pictures a second: EXIF gives no time to tell them apart; fps overrules all of it."""
    folder = tmp_path / "in"
    for i in range(6):
        save_photo(folder / f"{i}.jpg", i, f"17:00:{i // 3:02d}")
    notes, watcher = listener()
    (result,) = run(folder, tmp_path / "out", watcher)
    assert any("EXIF times repeat" in note for note in notes)
    assert any("30 frames/s assumed" in sentence for sentence in result.assumed)
    np.testing.assert_allclose(np.loadtxt(result.path / "times.txt")[:2], [0, 1 / 30], atol=1e-9)
    (other,) = run(folder, tmp_path / "fps", fps=3.0)
    np.testing.assert_allclose(np.loadtxt(other.path / "times.txt")[3], 1.0)
    assert other.assumed == ()


def test_time_of_a_change_tells_no_order(tmp_path):
    """Pictures that a program saved anew in another order keep that of their names."""
    for i in range(3):
        save_photo(tmp_path / "in" / f"{i}.jpg", i, f"17:00:0{9 - i}", tag=0x0132)
    assert frame_names(tmp_path / "in") == ["0", "1", "2"]


def test_times_beside_the_photos_win(tmp_path):
    """times.txt is in order of names, and EXIF does not change that."""
    for i, number in enumerate((9999, 1)):
        save_photo(tmp_path / "in" / f"{number:04d}.jpg", i, f"17:00:0{i}")
    (tmp_path / "in" / "times.txt").write_text("3\n4\n")
    sequence = run_one(tmp_path / "in", tmp_path / "out")
    assert frame_names(tmp_path / "in") == ["0001", "9999"]
    np.testing.assert_allclose(sequence.times, [3, 4])


def test_photos_partly_without_time_keep_their_names(tmp_path):
    """An order cannot be made of half the times; this is said."""
    save_photo(tmp_path / "in" / "a.jpg", 0, "17:00:05")
    save_photo(tmp_path / "in" / "b.jpg", 1, "17:00:04")
    save(tmp_path / "in" / "c.jpg", picture(2))
    assert frame_names(tmp_path / "in") == ["a", "b", "c"]
    assert any("1 of 3 pictures have no EXIF time" in n for n in open_stream(tmp_path / "in").notes)


def test_names_count_without_suffix_and_case(tmp_path):
    """A copy follows its original, IMG_2.JPG precedes img_10.jpg, hidden files are no frames."""
    names = ["img_10.jpg", "IMG_2.JPG", "img_2 (1).jpg", "IMG_003.jpeg"]
    for i, name in enumerate([*names, "._IMG_2.JPG", ".hidden.png"]):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(cv2.imencode(".jpg", picture(i))[1].tobytes())
    order = [path.name for path in list_images(tmp_path / "in")]
    assert order == ["IMG_2.JPG", "img_2 (1).jpg", "IMG_003.jpeg", "img_10.jpg"]


def test_names_that_are_seconds_are_in_order_of_time(tmp_path):
    """Half a second after a quarter, although 5 is less than 25; versions are no seconds."""
    for name in ("1700000000.5", "1700000000.25", "1700000001.0"):
        save(tmp_path / "in" / f"{name}.png", picture(0))
    order = [path.stem for path in list_images(tmp_path / "in")]
    assert order == ["1700000000.25", "1700000000.5", "1700000001.0"]
    for name in ("v1.5", "v1.25"):
        save(tmp_path / "v" / f"{name}.png", picture(0))
    assert [path.stem for path in list_images(tmp_path / "v")] == ["v1.5", "v1.25"]


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        ("1.jpg 1_mask.png 2.jpg 2_mask.png", "1.jpg 2.jpg"),
        ("f_1_rgb.png f_1_label.png", "f_1_rgb.png"),
        ("rgb_1.png seg_1.png", "rgb_1.png"),
        ("1.jpg 1.jpg.png", "1.jpg"),
        ("a_mask.png b_mask.png", "a_mask.png b_mask.png"),
        ("1.png 2.png unmask.png masked_3.png", "1.png 2.png unmask.png masked_3.png"),
        ("face_mask.png 1.png", "face_mask.png 1.png"),
    ],
)
def test_masks_are_told_from_frames(names, frames):
    """By a word at an end of the name and the frame it belongs to; a folder of masks is one."""
    assert [
        path.name for path in split_about([Path(n) for n in names.split()])[0]
    ] == frames.split()


def test_masks_among_frames_are_said(tmp_path):
    """They are left out and counted."""
    folder = make_images(tmp_path / "in", 2)
    for i in (1, 2):
        save(folder / f"frame{i}_thumb.png", np.full((H, W), 255, np.uint8))
    notes, watcher = listener()
    (result,) = run(folder, tmp_path / "out", watcher)
    assert result.frames == 2
    assert any("2 pictures are masks, labels or thumbnails" in note for note in notes)


# --- poses at the ends ---------------------------------------------------------------------------


def test_last_pose_survives_rounded_stamps(tmp_path):
    """24 frames at 24/s, stamps cut to 4 digits: the last frame lies after the last pose."""
    folder = make_images(tmp_path / "in", 24)
    rows = [f"{np.floor(i / 24 * 1e4) / 1e4:.4f} {i} 0 0 0 0 0 1\n" for i in range(24)]
    (tmp_path / "poses.txt").write_text("".join(rows))
    options = {"camera": PINHOLE, "fps": 24.0, "poses": tmp_path / "poses.txt"}
    (result,) = run(folder, tmp_path / "out", **options)
    assert result.poses == 24


def test_gap_as_long_as_allowed_is_bridged_though_rounded(tmp_path):
    """Poses every 0.15 s, stamps in thousandths: no gap is longer than --max-gap 0.15."""
    folder = make_images(tmp_path / "in", 20)
    rows = [f"{0.15 * i + 0.0004 * (i % 2):.4f} {i} 0 0 0 0 0 1\n" for i in range(5)]
    (tmp_path / "poses.txt").write_text("".join(rows))
    options = {"camera": PINHOLE, "fps": 40.0, "poses": tmp_path / "poses.txt"}
    (result,) = run(folder, tmp_path / "out", **options)
    assert result.poses == 20


def test_frame_after_the_last_pose_has_none(tmp_path):
    """Rounding is forgiven, a tenth of a step at most; nothing is extrapolated."""
    folder = make_images(tmp_path / "in", 5)
    rows = [f"{0.1 * i} {i} 0 0 0 0 0 1\n" for i in range(4)]
    (tmp_path / "poses.txt").write_text("".join(rows))
    options = {"camera": PINHOLE, "fps": 10.0, "poses": tmp_path / "poses.txt"}
    (result,) = run(folder, tmp_path / "out", **options)
    assert result.poses == 4


def test_a_pipe_among_the_pictures_is_no_picture(tmp_path: Path) -> None:
    """What is no plain file is left out by its kind; reading from it would wait for ever."""
    (tmp_path / "a.png").write_bytes(b"")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png"]
