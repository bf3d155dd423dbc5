# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer` on a bag: what it says of the sequence that `prepare` makes of it."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data import bag_makers as make
from data.bag_makers import CAMERA, MS
from data.source_makers import picture
from runtime.onnx_makers import write_mono, write_pair

from depthkit.camera import SourceCamera
from depthkit.cli import main
from depthkit.data.bag_writer import BagOptions, write_bag
from depthkit.data.prepare import PrepareOptions, prepare
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.rigid import make_pose
from depthkit.ros_messages import seconds
from depthkit.synth.boxes import write_box_sequence
from depthkit.undistort import build_geometry

SIZE, FRAMES = (36, 48), 10
AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
FISHEYE = (0.1, 0.02, 0.0, 0.0)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    """Frames with poses."""
    root = tmp_path_factory.mktemp("bag") / "room"
    write_box_sequence(root, FRAMES, SIZE, 2)
    return open_sequence(root)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of pairs."""
    folder = tmp_path_factory.mktemp("pair")
    return write_pair(folder / "pair.onnx", weights=(0.2, 0.1), focal=40.0)


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of single frames."""
    path = tmp_path_factory.mktemp("mono") / "mono.onnx"
    return write_mono(path, size=(24, 32), scale="metric", scale_source="taught by hand")


def infer(model: Path, source: Path, out: Path, *words: str | Path) -> dict:
    """Run the verb; return its summary."""
    given = ["infer", model, source, "--out", out, "--threads", "1", *words]
    assert main([str(word) for word in given]) == 0
    return json.loads((out / "summary.json").read_text())


def pictures(folder: Path) -> dict[str, bytes]:
    """All PNG files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def prepared(bag: Path, out: Path) -> Path:
    """What `prepare` makes of a bag of one topic, lossless."""
    (result,) = prepare(PrepareOptions(source=bag, out=out, ext="png", max_gap=0.5))
    return result.path


def lens(*, model: str, D: tuple[float, ...], count: int = 3) -> list[make.Entry]:
    """Frames of a distorted camera at 10 Hz."""
    return [
        one
        for i in range(count)
        for one in (
            make.info((1000 + 100 * i) * MS, D=D, model=model),
            make.image((1000 + 100 * i) * MS, picture(i)),
        )
    ]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_bag_and_its_sequence_give_the_same_bytes(
    tmp_path: Path, room: Sequence, pair: Path, storage: str, is_compressed: bool
) -> None:
    """Depth and confidence of pairs, in metres by the odometry of a vehicle."""
    options = BagOptions(
        storage=storage,  # type: ignore[arg-type]
        compressed=is_compressed,
        T_base_cam=make_pose(AHEAD, [0.3, 0.0, 0.1]),
    )
    write_bag(room, tmp_path / "bag", options)
    said = infer(pair, tmp_path / "bag", tmp_path / "from_bag")
    folder = prepared(tmp_path / "bag", tmp_path / "data")
    infer(pair, folder, tmp_path / "from_folder")
    found, wanted = pictures(tmp_path / "from_bag"), pictures(tmp_path / "from_folder")
    assert len(wanted) >= FRAMES and found == wanted
    assert said["scale"] == "metric" and said["frames"] == FRAMES
    truth = [open_stream(folder).camera, room.camera]
    assert open_stream(tmp_path / "bag").camera == truth[0] == truth[1]


def test_stamps_are_the_very_floats_of_a_node(tmp_path: Path, room: Sequence) -> None:
    """seconds() of the nanoseconds, not what a text file of decimals rounds to."""
    write_bag(room, tmp_path / "bag")
    stamps = [1, *(i * 10**8 for i in range(1, FRAMES))]
    stream = open_stream(tmp_path / "bag")
    assert stream.times.tolist() == [seconds(stamp) for stamp in stamps]
    assert [frame.time for frame in stream.frames()] == stream.times.tolist()
    assert stream.metric and stream.poses is not None


@pytest.mark.parametrize(
    ("model", "D"), [("plumb_bob", (-0.2, 0.05, 0.001, -0.002, 0.0)), ("equidistant", FISHEYE)]
)
def test_distorted_frames_are_rectified_as_by_prepare(
    tmp_path: Path, mono: Path, model: str, D: tuple[float, ...]
) -> None:
    """Pixels and K of build_geometry; where a fisheye leaves holes there is no depth."""
    bag = make.write(tmp_path / "bag", lens(model=model, D=D))
    kind = "kannala_brandt" if model == "equidistant" else "brown_conrady"
    geometry = build_geometry(SourceCamera(CAMERA, kind, D))
    stream = open_stream(bag)
    assert stream.camera == geometry.camera
    for i, frame in enumerate(stream.frames()):
        np.testing.assert_array_equal(frame.rgb, geometry.colour(picture(i)))
    infer(mono, bag, tmp_path / "from_bag")
    infer(mono, prepared(bag, tmp_path / "data"), tmp_path / "from_folder")
    found = pictures(tmp_path / "from_bag")
    assert found == pictures(tmp_path / "from_folder") and len(found) == 3


def test_holes_of_rectification_have_no_depth(tmp_path: Path, mono: Path) -> None:
    """A strong barrel cannot be filled: depth there is 0, elsewhere it is known."""
    from depthkit.data.image_io import read_uint16

    D = (-0.5, 0.0, 0.0, 0.0, 0.0)
    for strength in np.arange(0.1, 2.0, 0.1):
        D = (float(strength), 0.0, 0.0, 0.0, 0.0)
        geometry = build_geometry(SourceCamera(CAMERA, "brown_conrady", D))
        if geometry.valid is not None:
            break
    assert geometry.valid is not None
    bag = make.write(tmp_path / "bag", lens(model="plumb_bob", D=D, count=1))
    infer(mono, bag, tmp_path / "out")
    depth = read_uint16(tmp_path / "out" / "depth" / "000000.png")
    np.testing.assert_array_equal(depth > 0, geometry.valid)


def test_topics_are_chosen(tmp_path: Path, room: Sequence, pair: Path, mono: Path) -> None:
    """Two cameras ask which; without odometry pairs are relative."""
    topics = ("/left/image_raw", "/right/image_raw")
    entries = [make.image(1000 * MS, picture(i), topic=name) for i, name in enumerate(topics)]
    bag = make.write(tmp_path / "bag", entries)
    with pytest.raises(DataError, match=r"left_image_raw, right_image_raw.*--topic"):
        open_stream(bag)
    with pytest.raises(DataError, match="--topic"):
        open_stream(bag, topic="/middle/image_raw")
    infer(mono, bag, tmp_path / "right", "--topic", "/right/image_raw")
    (frame,) = open_stream(bag, topic="right/image_raw").frames()
    np.testing.assert_array_equal(frame.rgb, picture(1))
    write_bag(room, tmp_path / "room")
    said = infer(pair, tmp_path / "room", tmp_path / "none", "--odometry-topic", "none")
    assert said["scale"] == "relative"
    with pytest.raises(DataError, match="no ROS 2 bag"):
        open_stream(room.root, topic="/image")


def test_bag_without_camera_is_enough_for_single_frames(
    tmp_path: Path, mono: Path, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A note says what is missing; a network of pairs needs K, and takes a distorted --camera."""
    entries = [make.image((1000 + 100 * i) * MS, picture(i)) for i in range(4)]
    bag = make.write(tmp_path / "bag", entries)
    infer(mono, bag, tmp_path / "mono")
    assert "no /cam/camera_info in the bag" in capsys.readouterr().err
    words = ["infer", str(pair), str(bag), "--out", str(tmp_path / "pair")]
    assert main(words) == 1
    assert "give --camera" in capsys.readouterr().err
    file = tmp_path / "camera.yaml"
    file.write_text(json.dumps(SourceCamera(CAMERA, "brown_conrady", (-0.2, 0, 0, 0)).to_record()))
    assert main([*words, "--camera", str(file)]) == 0
    geometry = build_geometry(SourceCamera(CAMERA, "brown_conrady", (-0.2, 0, 0, 0)))
    assert open_stream(bag, camera=file).camera == geometry.camera


def test_broken_messages_are_skipped_and_counted(tmp_path: Path, mono: Path) -> None:
    """Up to 5 %, each with its reason."""
    entries = lens(model="plumb_bob", D=(0.0,) * 5, count=40)
    entries[11][3].data = entries[11][3].data[:10]
    said = infer(mono, make.write(tmp_path / "bag", entries), tmp_path / "out")
    assert said["frames"] == 39 and len(said["skipped"]) == 1
    assert "message 5: image: data holds 10 bytes" in said["skipped"][0]
    assert not (tmp_path / "out" / "depth" / "000005.png").exists()


def test_every_counts_frames(tmp_path: Path, room: Sequence) -> None:
    """Frames, times and poses stay together."""
    write_bag(room, tmp_path / "bag")
    whole, thinned = (list(open_stream(tmp_path / "bag", every=n).frames()) for n in (1, 3))
    assert [frame.index for frame in thinned] == [0, 3, 6, 9]
    for frame, same in zip(thinned, whole[::3], strict=True):
        assert (frame.name, frame.time) == (same.name, same.time)
        np.testing.assert_array_equal(frame.rgb, same.rgb)
        np.testing.assert_array_equal(frame.T_world_cam, same.T_world_cam)


def test_real_clip_gives_the_same_bytes(tmp_path: Path, pair: Path, data_root: Path) -> None:
    """RedKitchen as it was recorded: bag and folder agree."""
    clip = data_root / "sevenscenes_redkitchen"
    options = PrepareOptions(source=clip, out=tmp_path / "data", stop=12, name="clip")
    (result,) = prepare(options)
    write_bag(open_sequence(result.path), tmp_path / "bag", BagOptions(compressed=True))
    infer(pair, tmp_path / "bag", tmp_path / "from_bag")
    infer(pair, result.path, tmp_path / "from_folder")
    found, wanted = pictures(tmp_path / "from_bag"), pictures(tmp_path / "from_folder")
    assert len(wanted) >= 12 and found == wanted
