# SPDX-License-Identifier: Apache-2.0
"""Video files as cameras write them: content, shape of pixels, times, cuts, chapters."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from source_makers import (
    listener,
    make_video,
    picture,
    run,
    run_one,
    save,
)

from depthkit.data.file_kinds import kind_of
from depthkit.data.importers.chapters import join_chapters
from depthkit.data.stream import open_stream
from depthkit.errors import DataError

FOV = {"camera": None, "fov": 90.0}


def set_pixel_aspect(video: Path, width: int, height: int) -> Path:
    """Put a 'pasp' box at the end of the MPEG-4 sample entry of an MP4, all sizes around it."""
    data = video.read_bytes()
    box = struct.pack(">I4sII", 16, b"pasp", width, height)
    entry = data.index(b"mp4v", data.index(b"stsd")) - 4
    end = entry + int.from_bytes(data[entry : entry + 4], "big")
    parents = [data.index(name) - 4 for name in (b"moov", b"minf", b"stbl", b"stsd")]
    parents += [at - 4 for at in (data.index(b"trak"), data.index(b"mdia"))]
    old = data.find(b"pasp", entry, end)
    if old >= 0:
        video.write_bytes(data[: old - 4] + box + data[old + 12 :])
        return video
    changed = bytearray(data)
    for at in [*parents, entry]:
        size = int.from_bytes(data[at : at + 4], "big") + len(box)
        changed[at : at + 4] = size.to_bytes(4, "big")
    video.write_bytes(bytes(changed[:end]) + box + bytes(changed[end:]))
    return video


def turn(video: Path, matrix: list[int]) -> Path:
    """Write the 3x3 matrix of a version-0 track header."""
    data = video.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    video.write_bytes(data[:at] + np.array(matrix, ">i4").tobytes() + data[at + 36 :])
    return video


QUARTER = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
HALF = [-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30]

# --- shape and turn of pixels --------------------------------------------------------------------


def test_pixels_that_are_not_square_stretch_the_guess(tmp_path):
    """Pixels of 4:3 over 64 columns at 90 degrees: fx 32, fy 32 * 4 / 3, said once and kept."""
    video = set_pixel_aspect(make_video(tmp_path / "clip.mp4", 3), 4, 3)
    sequence = run_one(video, tmp_path / "out", **FOV)
    assert (sequence.camera.fx, sequence.camera.fy) == pytest.approx((32.0, 32.0 * 4 / 3))
    assumed = yaml.safe_load((sequence.root / "camera.yaml").read_text())["source"]["assumed"]
    assert any("1.333 times as wide as high" in sentence for sentence in assumed)


def test_pixels_change_places_with_the_frame(tmp_path):
    """Turned by 90 degrees, pixels of 4:3 are 3:4: fy = 24 * 3 / 4 for 48 columns."""
    video = turn(set_pixel_aspect(make_video(tmp_path / "clip.mp4", 3), 4, 3), QUARTER)
    camera = run_one(video, tmp_path / "out", **FOV).camera
    assert (camera.width, camera.fx, camera.fy) == pytest.approx((48, 24.0, 18.0))


def test_calibration_against_the_aspect_is_used_and_said(tmp_path):
    """fy / fx = 1 against pixels of 4:3 is a note; 4 / 3 is none; K stays as given."""
    video = set_pixel_aspect(make_video(tmp_path / "clip.mp4", 3), 4, 3)
    for fy, count in ((50.0, 1), (200.0 / 3, 0)):
        camera = tmp_path / "camera.yaml"
        camera.write_text(f"width: 64\nheight: 48\nfx: 50\nfy: {fy}\ncx: 31.5\ncy: 23.5\n")
        notes, watcher = listener()
        (result,) = run(video, tmp_path / f"out{count}", watcher, camera=None)
        assert sum("sample aspect ratio" in note for note in notes) == count
        stored = yaml.safe_load((result.path / "camera.yaml").read_text())
        assert stored["fy"] == pytest.approx(fy)


def test_calibration_of_square_pixels_is_squeezed(tmp_path):
    """Stretched to square pixels, 64 of 3:2 are 96 columns: fx 75 of those is 50 of these."""
    video = set_pixel_aspect(make_video(tmp_path / "clip.mp4", 3), 3, 2)
    (tmp_path / "camera.yaml").write_text(
        "width: 96\nheight: 48\nfx: 75\nfy: 75\ncx: 47.5\ncy: 23.5\n"
    )
    sequence = run_one(video, tmp_path / "out", camera=None)
    camera = sequence.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((50, 75, 31.5, 23.5))
    assert "square pixels, 96x48" in (sequence.root / "camera.yaml").read_text()


def test_calibration_before_the_turn_is_named(tmp_path):
    """Frames are turned on reading: a calibration of 64x48 does not fit 48x64, and says why."""
    (tmp_path / "camera.yaml").write_text("width: 64\nheight: 48\nfx: 50\nfy: 50\ncx: 32\ncy: 24\n")
    video = turn(make_video(tmp_path / "clip.mp4", 3), QUARTER)
    with pytest.raises(DataError, match="turn its frames by .* give the calibration of the turned"):
        run(video, tmp_path / "out", camera=None)
    notes, watcher = listener()
    run(turn(video, HALF), tmp_path / "out", watcher, camera=None)
    assert any("by 180 degrees" in note for note in notes)


def test_turned_video_needs_no_word_without_a_calibration(tmp_path):
    """infer without a camera has no calibration that could be of other frames."""
    stream = open_stream(turn(make_video(tmp_path / "clip.mp4", 3), QUARTER))
    assert next(iter(stream.frames())).rgb.shape == (64, 48, 3)
    assert stream.notes == ()


# --- content decides -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip", "clip.dat", "CLIP.MOV", "clip.png"])
def test_video_is_told_by_its_content(tmp_path, name):
    """No suffix, an unknown one, upper case and that of a picture."""
    video = make_video(tmp_path / "clip.mp4", 3).rename(tmp_path / name)
    (result,) = run(video, tmp_path / "out", **FOV)
    assert (result.format, result.frames) == ("video", 3)
    assert len(open_stream(video)) == 3


def test_videos_of_a_folder_are_told_by_content(tmp_path):
    """TypeScript is no transport stream, a proxy no recording; one stem twice is two sequences.

    Among pictures a suffix of videos is needed: a file of unknown kind does not outweigh them.
    """
    folder = tmp_path / "in"
    folder.mkdir()
    make_video(folder / "a.mp4", 2)
    make_video(folder / "a.avi", 3, codec="MJPG")
    make_video(tmp_path / "b.mp4", 4).rename(folder / "b.insx")
    make_video(tmp_path / "c.mp4", 5).rename(folder / "c.LRV")
    make_video(tmp_path / "d.mp4", 5).rename(folder / "LRV_d.insv")
    (folder / "code.ts").write_text("console.log(1)")
    results = run(folder, tmp_path / "out", **FOV)
    assert [(r.name, r.frames) for r in results] == [("a.avi", 3), ("a.mp4", 2), ("b", 4)]
    save(folder / "still.png", picture(0))
    notes, watcher = listener()
    results = run(folder, tmp_path / "again", watcher, **FOV)
    assert [r.name for r in results] == ["a.avi", "a.mp4"]
    assert any("1 pictures lie there too (--format images" in note for note in notes)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "an empty file (0 bytes)"),
        (b"\0\0\0\x18ftyp3gp5", "an MP4 or QuickTime video"),
        (b"\0\0\0\x18ftypheic", "a HEIC picture"),
        (b"\0\0\0\x18ftypavif", "an AVIF picture"),
        (b"\0\0\x02\xaemoov", "an MP4 or QuickTime video"),
        ((b"G" + b"\0" * 187) * 4, "an MPEG transport stream"),
        ((b"\0\0\0\0G" + b"\0" * 187) * 4, "an MPEG transport stream"),
        (b"\0\0\0\x01\x67\x42", "a raw H.264 stream"),
        (b"\0\0\x01\x06\x05", "a raw H.264 stream"),
        (b"\0\0\0\x01\x40\x01\x0c", "a raw H.265 stream"),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "an audio file"),
        (b"P5\n4 4\n255\n", "a PNM picture"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer; run 'git lfs pull' first",
        ),
        (b"\n<!DOCTYPE html><html>", "a web page, not the file itself"),
        ("Gr\u00fc\u00dfe".encode()[:-2], "a text file"),
        (b"GGG plain words that begin with G", "a text file"),
        (b"BM is no bitmap here", "a text file"),
        (b"\x93\xf1\x00\x07\x81", "a file of unknown kind"),
    ],
)
def test_first_bytes_name_a_file(head, name):
    """What a message says of a file rests on its bytes."""
    assert kind_of(head).name == name


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("clip.mp4", b"", "clip.mp4: video does not open; it is an empty file"),
        ("clip.mp4", b"words " * 50, "clip.mp4: video does not open; it is a text file"),
        ("frames.zip", b"PK\x03\x04" + b"\0" * 50, "is a ZIP archive; unpack it first"),
        ("noise", bytes(range(128, 250)), "is a file of unknown kind; expected a picture, a video"),
    ],
)
def test_file_without_frames_says_what_it_is(tmp_path, name, data, words):
    """No cause is guessed; prepare and infer say the same."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words):
        run(tmp_path / name, tmp_path / "out", **FOV)
    with pytest.raises(DataError, match=words):
        open_stream(tmp_path / name)


def test_device_is_no_source(tmp_path):
    """A camera's device or a pipe is refused in one line, not waited for."""
    os.mkfifo(tmp_path / "video0")
    with pytest.raises(DataError, match="video0: is neither file nor folder; record a camera"):
        run(tmp_path / "video0", tmp_path / "out")


def test_one_picture_is_a_sequence(tmp_path):
    """prepare and infer take it, whatever its suffix, without a word about times."""
    save(tmp_path / "shot.png", picture(3))
    one = (tmp_path / "shot.png").rename(tmp_path / "shot.mp4")
    notes, watcher = listener()
    (result,) = run(one, tmp_path / "out", watcher)
    assert (result.name, result.frames, result.format, notes) == ("shot", 1, "images", [])
    (frame,) = open_stream(one).frames()
    np.testing.assert_array_equal(frame.rgb, picture(3))


def test_infer_takes_a_folder_of_one_video(tmp_path):
    """Two of them are refused: which one?"""
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4", 2)
    assert len(open_stream(tmp_path / "in")) == 2
    make_video(tmp_path / "in" / "b.mp4", 2)
    with pytest.raises(DataError, match="holds 2 videos; give one of them"):
        open_stream(tmp_path / "in")


# --- chapters ------------------------------------------------------------------------------------


def test_chapters_are_one_recording(tmp_path):
    """Two chapters of 4 frames at 10 Hz: 8 frames, the second from 0.4 s on, its own pictures."""
    folder = tmp_path / "DCIM"
    folder.mkdir()
    make_video(folder / "GX010042.MP4", 4)
    make_video(folder / "GX020042.MP4", 4)
    sequence = run_one(folder, tmp_path / "out", **FOV)
    assert sequence.name == "GX010042"
    np.testing.assert_allclose(sequence.times, np.arange(8) * 0.1, atol=1e-6)
    assert sequence.read_frame(5)[40].mean() == pytest.approx(20, abs=4)
    (frame,) = [f for f in open_stream(folder).frames() if f.index == 5]
    assert frame.rgb[40].mean() == pytest.approx(20, abs=4)


def test_poses_go_on_over_chapters(tmp_path):
    """x = t: frame 6, the third of the second chapter, is at 0.6 m."""
    for name in ("GOPR0007.MP4", "GP010007.MP4"):
        (tmp_path / "in").mkdir(exist_ok=True)
        make_video(tmp_path / "in" / name, 4)
    poses = tmp_path / "poses.txt"
    poses.write_text("".join(f"{0.1 * i:.1f} {0.1 * i} 0 0 0 0 0 1\n" for i in range(8)))
    sequence = run_one(tmp_path / "in", tmp_path / "out", poses=poses, **FOV)
    np.testing.assert_allclose(sequence.poses[:, 0, 3], np.arange(8) * 0.1, atol=1e-6)


def test_frame_range_crosses_chapters(tmp_path):
    """--frames 2:6 of two chapters of 4: two of each."""
    (tmp_path / "in").mkdir()
    for name in ("GH010001.MP4", "GH020001.MP4"):
        make_video(tmp_path / "in" / name, 4)
    sequence = run_one(tmp_path / "in", tmp_path / "out", start=2, stop=6, **FOV)
    np.testing.assert_allclose(sequence.times, [0.2, 0.3, 0.4, 0.5], atol=1e-6)
    greys = [sequence.read_frame(i)[40].mean() for i in range(4)]
    np.testing.assert_allclose(greys, [40, 60, 0, 20], atol=4)


def test_what_is_no_chapter_stays_apart():
    """A missing chapter opens a new group; DJI numbers recordings; case does not matter."""
    names = ["GX010001", "gx020001", "GX040001", "GX010002", "DJI_0001", "DJI_0002"]
    groups = join_chapters(Path(f"{name}.MP4") for name in names)
    groups = [[path.stem for path in group] for group in groups]
    assert groups == [
        ["DJI_0001"],
        ["DJI_0002"],
        ["GX010001", "gx020001"],
        ["GX010002"],
        ["GX040001"],
    ]


def test_one_chapter_alone_is_said(tmp_path):
    """A file that was named is taken alone, and what goes before and after it is said."""
    for chapter in (1, 2, 3):
        make_video(tmp_path / f"GX0{chapter}0042.MP4", 2)
    notes, watcher = listener()
    (result,) = run(tmp_path / "GX020042.MP4", tmp_path / "out", watcher, **FOV)
    assert result.frames == 2
    assert any("is chapter 2 of a recording" in note for note in notes)
    assert any("goes on in other files; give the folder" in note for note in notes)


def test_chapters_of_two_sizes_are_refused(tmp_path):
    """Half a recording turned upright is no one sequence."""
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "GX010001.MP4", 2)
    turn(make_video(tmp_path / "in" / "GX020001.MP4", 2), QUARTER)
    with pytest.raises(DataError, match="differ in size .*64x48.*48x64"):
        run(tmp_path / "in", tmp_path / "out", **FOV)
