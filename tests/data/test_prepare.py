# SPDX-License-Identifier: Apache-2.0
"""prepare: pixels and K stay together, a kill costs nothing, bad input leaves nothing."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from source_makers import (
    PINHOLE,
    contents,
    corrupt,
    interrupter,
    listener,
    make_images,
    picture,
    run,
    run_one,
    save,
)

from depthkit.camera import Camera, SourceCamera
from depthkit.cli import main
from depthkit.cli import prepare as cli_prepare
from depthkit.data import frame_conversion
from depthkit.data.importers import FORMATS
from depthkit.data.sequence import open_dataset, open_sequence
from depthkit.errors import DataError

# --- what is stored -------------------------------------------------------------------------------


def test_valid_mask_is_written_and_follows_the_size(tmp_path):
    """valid.png has the stored size and no half-empty pixel."""
    camera = Camera(320, 240, 200.0, 200.0, 160.0, 120.0)
    lens = SourceCamera(camera, "brown_conrady", (1.5, 0.0, 0.0, 0.0))
    for i in range(2):
        save(tmp_path / "in" / f"{i}.png", np.full((240, 320, 3), 255, np.uint8))
    sequence = run_one(tmp_path / "in", tmp_path / "out", camera=lens, size=(60, 80))
    valid = sequence.read_valid()
    assert valid.shape == (60, 80) and 0.5 < valid.mean() < 1.0
    assert (sequence.read_frame(0)[valid] >= 254).all()


def test_frames_without_change_keep_their_bytes(tmp_path):
    """JPEG in, JPEG out at the same size: nothing is encoded twice."""
    for i in range(3):
        save(tmp_path / "in" / f"{i}.jpg", picture(i))
    sequence = run_one(tmp_path / "in", tmp_path / "out", ext="jpg")
    assert sequence.frames[1].read_bytes() == (tmp_path / "in" / "1.jpg").read_bytes()


# --- restart -------------------------------------------------------------------------------------


def test_interrupted_run_continues_to_the_same_bytes(tmp_path):
    """Ctrl-C, then the same command: frames that were there stay, the folder is byte-identical."""
    source = make_images(tmp_path / "in")
    run(source, tmp_path / "whole", size=(12, 16), workers=2)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", interrupter(after=6), size=(12, 16), workers=2)
    partial = tmp_path / "out" / ".in.partial"
    (partial / "frames" / ".000019.png.77").write_bytes(b"half")  # as a kill -9 leaves it
    kept = {p.name: p.stat().st_mtime_ns for p in (partial / "frames").glob("0*.png")}
    assert 6 <= len(kept) < 20
    run(source, tmp_path / "out", size=(12, 16), workers=2)
    frames = tmp_path / "out" / "in" / "frames"
    assert {name: (frames / name).stat().st_mtime_ns for name in kept} == kept
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_settings_start_over(tmp_path):
    """A partial folder of another size is not mixed into the new one."""
    source = make_images(tmp_path / "in")
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", interrupter(after=6), size=(12, 16))
    sequence = run_one(source, tmp_path / "out", size=(6, 8))
    assert all(sequence.read_frame(i).shape == (6, 8, 3) for i in range(20))


def test_changed_source_starts_over(tmp_path):
    """A frame that was replaced between two runs is read again."""
    source = make_images(tmp_path / "in")
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", interrupter(after=6), workers=1)
    save(source / "frame1.png", picture(99))
    sequence = run_one(source, tmp_path / "out")
    np.testing.assert_array_equal(sequence.read_frame(0), picture(99))


def test_kill_9_then_the_same_command_gives_the_same_bytes(tmp_path):
    """A process killed in the middle leaves no sequence, and the next run completes it."""
    source = make_images(tmp_path / "in", 60, (480, 640))
    words = [sys.executable, "-m", "depthkit", "prepare", str(source), "--fov", "60"]
    words += ["--size", "240x320", "--workers", "1", "--ext", "png", "--fps", "10", "--out"]
    frames = tmp_path / "out" / ".in.partial" / "frames"
    process = subprocess.Popen([*words, str(tmp_path / "out")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if frames.is_dir() and len(list(frames.glob("0*.png"))) >= 5:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "in").exists()
    for out in ("out", "whole"):
        assert main([*words[3:], str(tmp_path / out)]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_run_of_several_continues_after_the_finished_ones(tmp_path):
    """Sequence a was finished before the kill: it is kept, b is made; a third run is refused."""
    for name in ("a", "b"):
        make_images(tmp_path / "in" / name, 10)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "out", interrupter(after=14))
    assert (tmp_path / "out" / "a").is_dir() and not (tmp_path / "out" / "b").exists()
    notes, watcher = listener()
    results = run(tmp_path / "in", tmp_path / "out", watcher)
    assert [r.frames for r in results] == [10, 10]
    assert any("finished by an earlier run" in note for note in notes)
    with pytest.raises(DataError, match="exists already; use --force"):
        run(tmp_path / "in", tmp_path / "out")


def test_workers_do_not_change_the_result(tmp_path):
    """One thread and four give the same bytes."""
    source = make_images(tmp_path / "in")
    run(source, tmp_path / "one", workers=1)
    run(source, tmp_path / "four", workers=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


# --- names and splits ----------------------------------------------------------------------------


def test_one_recording_serves_train_and_test(tmp_path):
    """--frames and --name cut one sequence in two, entered in two parts of the split."""
    source = make_images(tmp_path / "in")
    run(source, tmp_path / "out", stop=12, name="in_train")
    run(source, tmp_path / "out", start=12, name="in_test", split="test")
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.train, dataset.test) == (("in_train",), ("in_test",))
    assert len(dataset.open("in_train")) == 12
    np.testing.assert_array_equal(dataset.open("in_test").read_frame(0), picture(12))


def test_every_nth_frame_keeps_its_time(tmp_path):
    """--every thins frames and times alike."""
    sequence = run_one(make_images(tmp_path / "in"), tmp_path / "out", every=5, fps=10.0)
    np.testing.assert_allclose(sequence.times, [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_array_equal(sequence.read_frame(1), picture(5))


def test_sequence_moves_between_parts(tmp_path):
    """Prepared again for another part, it leaves the first."""
    source = make_images(tmp_path / "in")
    run(source, tmp_path / "out")
    run(source, tmp_path / "out", split="val", force=True)
    assert yaml.safe_load((tmp_path / "out" / "split.yaml").read_text()) == {
        "train": [],
        "val": ["in"],
        "test": [],
    }


def test_sequence_names_the_only_folder(tmp_path):
    """A folder of images has no name of its own, so --sequence gives it one."""
    assert run_one(make_images(tmp_path / "in"), tmp_path / "out", sequence="lab").name == "lab"


def test_cameras_of_two_sizes_live_in_one_dataset(tmp_path):
    """Each sequence keeps its own camera."""
    run(make_images(tmp_path / "a"), tmp_path / "out")
    run(make_images(tmp_path / "b", 5, (48, 64)), tmp_path / "out", camera=None, fov=70.0)
    dataset = open_dataset(tmp_path / "out")
    assert [dataset.open(n).camera.size for n in dataset.train] == [(24, 32), (48, 64)]


# --- bad input -----------------------------------------------------------------------------------


def refused(words: str, source: Path, out: Path, **options: object) -> None:
    """One line with the words; neither a sequence nor a partial folder is left."""
    with pytest.raises(DataError, match=words) as caught:
        run(source, out, **options)
    assert "\n" not in str(caught.value)
    assert not out.exists() or [p for p in out.iterdir() if p.name != "split.yaml"] == []


def test_missing_and_empty_sources_are_refused(tmp_path):
    """No source, an empty folder and a folder without frames are three different lines."""
    refused("source not found", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "in").mkdir()
    refused("folder is empty", tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "notes.txt").write_text("none")
    refused(
        "no frames found; it holds 1 .txt files; expected one of kitti",
        tmp_path / "in",
        tmp_path / "out",
    )
    refused("1 .txt files; expected tum$", tmp_path / "in", tmp_path / "out", format="tum")


@pytest.mark.parametrize(
    "change",
    [lambda data: b"", lambda data: b"no picture", lambda data: data[: len(data) // 2]],
    ids=["empty", "text", "truncated"],
)
def test_unreadable_frame_is_named_skipped_and_counted(tmp_path, change):
    """1 of 20 (5 %) is skipped; numbering closes, time and pixels of the others stay together."""
    source = make_images(tmp_path / "in")
    corrupt(source / "frame8.png", change)
    (result,) = run(source, tmp_path / "out", fps=10.0)
    assert result.frames == 19
    (message,) = result.unreadable
    assert "frame8.png" in message
    sequence = open_sequence(result.path)
    assert [p.stem for p in sequence.frames] == [f"{i:06d}" for i in range(19)]
    np.testing.assert_allclose(sequence.times[[6, 7]], [0.6, 0.8])
    np.testing.assert_array_equal(sequence.read_frame(7), picture(8))
    record = yaml.safe_load((result.path / "camera.yaml").read_text())
    assert record["source"]["unreadable"] == [message]


def test_truncated_jpeg_is_unreadable(tmp_path):
    """OpenCV would pad it with grey and succeed."""
    for i in range(20):
        save(tmp_path / "in" / f"{i}.jpg", picture(i, (96, 128)))
    corrupt(tmp_path / "in" / "3.jpg")
    (result,) = run(tmp_path / "in", tmp_path / "out", camera=None, fov=60.0)
    assert result.frames == 19 and "3.jpg: truncated" in result.unreadable[0]


def test_more_than_five_percent_unreadable_is_an_error(tmp_path):
    """2 of 20 is too many; nothing is left."""
    source = make_images(tmp_path / "in")
    for name in ("frame8.png", "frame15.png"):
        corrupt(source / name)
    refused("2 of 20 frames unreadable, more than 5%", source, tmp_path / "out")


def test_all_frames_unreadable_is_an_error(tmp_path):
    """A folder of broken pictures has no size to begin with."""
    source = make_images(tmp_path / "in", 3)
    for path in source.iterdir():
        corrupt(path)
    refused(
        "none of 3 pictures can be read; the first: .*frame1.png: truncated",
        source,
        tmp_path / "out",
        camera=None,
        fov=60.0,
    )


def test_missing_calibration_says_what_to_do(tmp_path):
    """Neither --camera nor a file nor --fov: the remedy is in the line."""
    source = make_images(tmp_path / "in", 3)
    refused("calibration missing.*--camera.*--fov", source, tmp_path / "out", camera=None)


def test_calibration_of_another_size_names_both(tmp_path):
    """Even with the same aspect ratio K would have to be guessed."""
    source = make_images(tmp_path / "in", 3, (48, 64))
    refused("frame is 64x48 but the calibration is for 32x24", source, tmp_path / "out")


def test_frame_of_another_size_is_named(tmp_path):
    """One odd frame in the middle is no frame of this camera."""
    source = make_images(tmp_path / "in")
    save(source / "frame9.png", picture(0, (10, 10)))
    refused(r"frame9.png: frame is 10x10", source, tmp_path / "out")


def test_bad_camera_file_is_one_line(tmp_path, capsys):
    """K with fx = 0 stops before any folder is made."""
    source = make_images(tmp_path / "in", 3)
    record = {**PINHOLE.to_record(), "fx": 0.0}
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(record))
    camera = str(tmp_path / "camera.yaml")
    assert main(["prepare", str(source), "--out", str(tmp_path / "o"), "--camera", camera]) == 1
    assert capsys.readouterr().err.startswith("depthkit: error: " + camera)
    assert not (tmp_path / "o").exists()


def test_existing_output_needs_force(tmp_path):
    """The sequence of the first run is untouched until --force is given."""
    source = make_images(tmp_path / "in")
    run(source, tmp_path / "out")
    with pytest.raises(DataError, match="in: exists already; use --force"):
        run(source, tmp_path / "out", every=2)
    assert len(open_sequence(tmp_path / "out" / "in")) == 20
    run(source, tmp_path / "out", every=2, force=True)
    assert len(open_sequence(tmp_path / "out" / "in")) == 10
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["in", "split.yaml"]


def test_failed_force_keeps_the_old_sequence(tmp_path):
    """Replacing goes wrong in the middle: what was there before is still there."""
    source = make_images(tmp_path / "in")
    run(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    for name in ("frame8.png", "frame15.png"):
        corrupt(source / name)
    with pytest.raises(DataError, match="unreadable"):
        run(source, tmp_path / "out", force=True)
    assert contents(tmp_path / "out") == before


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    """ENOSPC on the tenth frame: no partial folder stays to fill the disk."""
    original, count = Path.write_bytes, [0]

    def write_bytes(path: Path, data: bytes) -> int:
        count[0] += path.suffix != ".yaml"
        if count[0] > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path, data)

    source = make_images(tmp_path / "in")
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    refused("cannot write: No space left on device", source, tmp_path / "out")


def test_output_that_is_a_sequence_is_refused(tmp_path):
    """--out is the data set; a sequence inside a sequence would never be found."""
    source = make_images(tmp_path / "in", 3)
    run(source, tmp_path / "out")
    with pytest.raises(DataError, match="is a sequence; --out is the data set folder"):
        run(source, tmp_path / "out" / "in")


def test_prepared_sequence_is_no_source(tmp_path):
    """Its frames and depth folders would pass for two image folders."""
    run(make_images(tmp_path / "in", 3), tmp_path / "out")
    refused("is a prepared sequence already", tmp_path / "out" / "in", tmp_path / "again")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": 30}, "--frames 30: leaves none of its 20 frames"),
        ({"sequence": "a/b"}, "cannot name a sequence"),
        ({"name": ".hidden"}, "cannot name a sequence"),
        ({"split": "dev"}, "split must be one of"),
    ],
)
def test_selection_that_cannot_be_met_is_refused(tmp_path, options, words):
    """Ranges beyond the end and names that are no folder names."""
    refused(words, make_images(tmp_path / "in"), tmp_path / "out", **options)


def test_unknown_sequence_lists_those_that_exist(tmp_path):
    """Of several sequences a wrong name is no name to write."""
    for name in ("a", "b"):
        make_images(tmp_path / "in" / name, 2)
    refused("no sequence 'c'; it holds a, b", tmp_path / "in", tmp_path / "out", sequence="c")
    refused("--name needs one sequence", tmp_path / "in", tmp_path / "out", name="c")


# --- command line --------------------------------------------------------------------------------


def test_command_line_prints_one_json_object(tmp_path, capsys):
    """Results on stdout, progress and skipped frames on stderr."""
    source = make_images(tmp_path / "in")
    corrupt(source / "frame8.png")
    words = ["prepare", str(source), "--out", str(tmp_path / "out"), "--fov", "60", "--json"]
    assert main([*words, "--size", "12x16", "--frames", "0:20"]) == 0
    printed = capsys.readouterr()
    (record,) = json.loads(printed.out)["sequences"]
    assert (record["frames"], record["height"], record["width"]) == (19, 12, 16)
    assert "skipped" in printed.err and "frame8.png" in printed.err


@pytest.mark.parametrize(
    "words",
    [
        ["--size", "12"],
        ["--frames", "3"],
        ["--every", "0"],
        ["--fps", "-1"],
        ["--fov", "200"],
        ["--format", "rosbag"],
        ["--fov", "60", "--camera", "c.yaml"],
    ],
)
def test_wrong_usage_is_exit_2(tmp_path, words):
    """Values that cannot be meant are usage errors."""
    assert main(["prepare", "in", "--out", str(tmp_path / "o"), *words]) == 2


def test_help_names_every_format():
    """The list written out for a fast --help is the list of importers."""
    assert sorted(cli_prepare.FORMATS) == sorted(["auto", *FORMATS])


def test_unreadable_share_is_the_documented_one():
    """The issue says 5 %."""
    assert frame_conversion.MAX_UNREADABLE == 0.05


def test_a_stretched_shape_is_said(tmp_path):
    """4:3 pictures stored as 2:1 have oblong pixels, and the note says how to keep them square."""
    make_images(tmp_path / "s", 3)
    for words, said in (({}, True), ({"fit": "crop"}, False)):
        notes, watcher = listener()
        run(tmp_path / "s", tmp_path / str(said), watcher, size=(16, 32), **words)
        assert any("--fit crop" in note for note in notes) == said
