# SPDX-License-Identifier: Apache-2.0
"""Files of bags that recorders left unfinished: read as far as they go, and said how far."""

import shutil
import sqlite3
import struct
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data import bag_makers as make
from data.bag_makers import MS
from data.source_makers import picture

from depthkit.data.bag import header_stamp, is_bag, parse, read_contents, read_recorded
from depthkit.data.bag_mcap import MAGIC, Damage, read_mcap, zstd_module
from depthkit.data.importers import find_sequences, load_source
from depthkit.data.importers.source import ImportOptions
from depthkit.errors import DataError

TOPIC = "/cam/image_raw"
STEP = 100 * MS
SIZE = (60, 80)


def frames(count: int, start: int = 1000 * MS) -> list[make.Entry]:
    """Pictures at 10 Hz, each with its camera."""
    stamps = [start + STEP * i for i in range(count)]
    return [
        one for i, t in enumerate(stamps) for one in (make.info(t), make.image(t, picture(i, SIZE)))
    ]


def stamps(bag: Path) -> list[int | None]:
    """Stamps of the pictures of a bag, nanoseconds."""
    return [header_stamp(message.data) for message in read_recorded(bag, {TOPIC})]


def storage_file(bag: Path) -> Path:
    """The one file beside metadata.yaml."""
    return next(path for path in bag.iterdir() if path.suffix != ".yaml")


def cut(file: Path, share: float) -> None:
    """Keep the first bytes of a file."""
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])


# --- cut short ------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("has_metadata", [True, False])
def test_cut_bag_is_read_up_to_the_cut(tmp_path: Path, storage: str, has_metadata: bool) -> None:
    """Half of the bytes of equal frames are half of the frames, and a note says so."""
    bag = make.write(tmp_path / "bag", frames(20), storage=storage)
    cut(storage_file(bag), 0.5)
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    found = stamps(bag)
    assert 8 <= len(found) <= 11
    assert found == [1000 * MS + STEP * i for i in range(len(found))]
    (note,) = read_contents(bag).notes
    assert "read from its beginning" in note and "messages" in note
    tool = "mcap recover" if storage == "mcap" else ".recover"
    assert tool in note
    counts = {topic.name: topic.count for topic in read_contents(bag).topics}
    assert counts[TOPIC] == len(found)


def test_every_message_before_the_cut_is_whole(tmp_path: Path) -> None:
    """No picture comes back with other pixels than it had, wherever the file ends."""
    bag = make.write(tmp_path / "bag", frames(4))
    whole = storage_file(bag).read_bytes()
    for size in range(9000, len(whole), len(whole) // 9):
        storage_file(bag).write_bytes(whole[:size])
        for i, message in enumerate(read_recorded(bag, {TOPIC})):
            pixels = parse(message).data.reshape(*SIZE, 3)
            np.testing.assert_array_equal(pixels, picture(i, SIZE))


# --- MCAP by hand ---------------------------------------------------------------------------------


def record(opcode: int, content: bytes) -> bytes:
    """One record of the format."""
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value: str) -> bytes:
    """A text with its length."""
    return struct.pack("<I", len(value)) + value.encode()


def mcap(messages: list[bytes], *, compression: str = "", encoding: str = "cdr") -> bytes:
    """A file of one chunk a message, without index or footer, as a killed recorder leaves it."""
    head = record(1, text("") + text("by hand"))
    head += record(
        3, struct.pack("<H", 7) + text("std_msgs/msg/String") + text("ros2msg") + text("")
    )
    head += record(4, struct.pack("<HH", 3, 7) + text("/chatter") + text(encoding) + text(""))
    chunks = []
    for i, data in enumerate(messages):
        raw = record(5, struct.pack("<HIQQ", 3, i, 10 + i, 0) + data)
        packed = {"": lambda x: x, "lz4": _lz4, "zstd": lambda x: zstd_module().compress(x)}
        stored = packed[compression](raw)
        sizes = struct.pack("<QQQI", 10 + i, 10 + i, len(raw), crc32(raw))
        chunks.append(
            record(6, sizes + text(compression) + struct.pack("<Q", len(stored)) + stored)
        )
    return MAGIC + head + b"".join(chunks)


def _lz4(raw: bytes) -> bytes:
    return pytest.importorskip("lz4.frame").compress(raw)


@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
def test_chunks_of_each_compression_are_unpacked(tmp_path: Path, compression: str) -> None:
    """Topic, type, time and bytes of each message; what is missing behind them is said."""
    file = tmp_path / "a.mcap"
    messages = [bytes([i]) * 500 for i in range(3)]
    file.write_bytes(mcap(messages, compression=compression))
    damage = Damage()
    found = list(read_mcap(file, damage))
    assert [one.data for one in found] == messages
    assert [one.log_time for one in found] == [10, 11, 12]
    assert {(one.topic, one.type, one.encoding) for one in found} == {
        ("/chatter", "std_msgs/msg/String", "cdr")
    }
    assert "without a footer" in damage.reason


def test_a_chunk_of_another_checksum_ends_the_reading(tmp_path: Path) -> None:
    """A byte that flipped is not passed on as a message; what came before it is."""
    file = tmp_path / "a.mcap"
    data = bytearray(mcap([b"a" * 500, b"b" * 500, b"c" * 500]))
    data[data.index(b"b" * 500) + 100] ^= 1
    file.write_bytes(data)
    damage = Damage()
    assert [one.data[:1] for one in read_mcap(file, damage)] == [b"a"]
    assert "checksum" in damage.reason


def test_a_length_beyond_the_file_is_no_memory(tmp_path: Path) -> None:
    """One damaged length asks for 2^60 bytes."""
    file = tmp_path / "a.mcap"
    file.write_bytes(mcap([b"a" * 9]) + struct.pack("<BQ", 6, 1 << 60) + b"rest")
    damage = Damage()
    assert len(list(read_mcap(file, damage))) == 1
    assert "cut short" in damage.reason


def test_what_is_no_mcap_says_so(tmp_path: Path) -> None:
    """A text under the name of a bag."""
    file = tmp_path / "a.mcap"
    file.write_text("hello, this is no bag\n" * 10)
    with pytest.raises(DataError, match="a.mcap: bag cannot be read"):
        read_contents(file)


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("storage_identifier: mcap", "storage_identifier: ''"),
        ("storage_identifier: sqlite3", "storage_identifier: ''"),
        ("version: 9", "version: ["),
        ("version: 9", "version: 99"),
        ("rosbag2_bagfile_information", "something"),
    ],
)
def test_metadata_that_is_wrong_does_no_harm(
    tmp_path: Path, storage: str, old: str, new: str
) -> None:
    """Empty storage id, damaged YAML, a version of later days: the files say what they are."""
    bag = make.write(tmp_path / "bag", frames(3), storage=storage)
    file = bag / "metadata.yaml"
    file.write_text(file.read_text().replace(old, new))
    assert is_bag(bag) and len(stamps(bag)) == 3


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_split_bag_without_metadata_is_in_order(tmp_path: Path, storage: str) -> None:
    """File 10 comes after file 9."""
    folder = tmp_path / "flight"
    folder.mkdir()
    for number in (8, 9, 10):
        part = make.write(tmp_path / f"p{number}", frames(2, number * 1000 * MS), storage=storage)
        file = storage_file(part)
        shutil.copy(file, folder / f"flight_{number}{file.suffix}")
    (folder / "metadata.yaml").touch()  # of a recorder that was killed: empty
    found = stamps(folder)
    assert [int(t or 0) // (1000 * MS) for t in found] == [8, 8, 9, 9, 10, 10]


def test_missing_file_of_a_split_bag_is_named(tmp_path: Path) -> None:
    """The rest is read."""
    bag = make.write(tmp_path / "bag", frames(3))
    file = bag / "metadata.yaml"
    names = "relative_file_paths:\n  - bag.mcap\n"
    file.write_text(file.read_text().replace(names, names + "  - bag_1.mcap\n"))
    assert len(stamps(bag)) == 3
    assert "bag_1.mcap" in read_contents(bag).notes[0]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("mode", ["FILE", "MESSAGE"])
def test_compressed_bag_without_metadata_is_read(tmp_path: Path, storage: str, mode: str) -> None:
    """zstd says by its first bytes that it is there."""
    rosbag2 = make.rosbags_module("rosbag2")
    how = (rosbag2.CompressionMode[mode], rosbag2.CompressionFormat.ZSTD)
    bag = make.write(tmp_path / "bag", frames(3), storage=storage, compression=how)
    (bag / "metadata.yaml").unlink()
    assert len(stamps(bag)) == 3
    assert parse(next(read_recorded(bag, {TOPIC}))).height == SIZE[0]


def test_write_ahead_log_is_read(tmp_path: Path) -> None:
    """Messages that the recorder had not yet merged, and no file is left beside them."""
    bag = make.write(tmp_path / "bag", frames(2), storage="sqlite3")
    connection = sqlite3.connect(bag / "bag.db3")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "INSERT INTO messages(topic_id, timestamp, data) "
        "SELECT topic_id, timestamp, data FROM messages"
    )
    connection.commit()
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("bag.db3", "bag.db3-wal"):
        shutil.copy(bag / name, killed)
    connection.close()
    assert len(stamps(killed)) == 4
    assert "write-ahead log" in read_contents(killed).notes[0]
    assert sorted(path.name for path in killed.iterdir()) == ["bag.db3", "bag.db3-wal"]


# --- ROS 1 ----------------------------------------------------------------------------------------


def ros1_bag(path: Path, entries: list[make.Entry]) -> Path:
    """The same messages as ROS 1 records them."""
    typesys, rosbag1 = make.rosbags_module("typesys"), make.rosbags_module("rosbag1")
    old, new = typesys.get_typestore(typesys.Stores.ROS1_NOETIC), make.standard_types()
    with rosbag1.Writer(path) as writer:
        connections = {}
        for topic, kind, time, message in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=old)
            data = new.cdr_to_ros1(new.serialize_cdr(message, kind), kind)
            writer.write(connections[topic], time, data)
    return path


def test_ros_1_bag_gives_the_same_bytes(tmp_path: Path) -> None:
    """Each message as the same bag of ROS 2 has it."""
    one = ros1_bag(tmp_path / "flight.bag", frames(3))
    two = make.write(tmp_path / "two", frames(3))
    topics = {TOPIC, "/cam/camera_info"}
    found, wanted = ([m.data for m in read_recorded(bag, topics)] for bag in (one, two))
    assert found == wanted and len(found) == 6


def test_folder_with_a_ros_1_bag_among_other_files_is_no_bag(tmp_path: Path) -> None:
    """Pictures beside an old recording stay pictures."""
    ros1_bag(tmp_path / "flight.bag", frames(1))
    assert is_bag(tmp_path)
    (tmp_path / "0.png").touch()
    assert not is_bag(tmp_path)


# --- what is no bag of pictures -------------------------------------------------------------------


def foreign_mcap(path: Path, kind: str, encoding: str, messages: int) -> Path:
    """A whole file of one topic, /cam, as other programs than ROS write it."""
    schema = struct.pack("<H", 1) + text(kind) + text("protobuf") + text("")
    channel = struct.pack("<HH", 1, 1) + text("/cam") + text(encoding) + struct.pack("<I", 0)
    held = [record(5, struct.pack("<HIQQ", 1, 0, i, i) + b"{}") for i in range(messages)]
    parts = [record(1, text("") + text("t")), record(3, schema), record(4, channel), *held]
    end = [record(15, struct.pack("<I", 0)), record(2, bytes(20))]
    path.write_bytes(b"".join((MAGIC, *parts, *end, MAGIC)))
    return path


@pytest.mark.parametrize(
    "kind, encoding, listed",
    [
        ("foxglove.CompressedImage", "json", "foxglove.CompressedImage as json"),
        ("foxglove.RawImage", "protobuf", "foxglove.RawImage as protobuf"),
        ("foxglove::RawImage", "cdr", "foxglove::RawImage"),
        ("", "json", "no type as json"),
    ],
)
def test_messages_of_other_programs_are_named(
    tmp_path: Path, kind: str, encoding: str, listed: str
) -> None:
    """Foxglove's types carry no slash; what is neither CDR nor ROS 1 is listed all the same."""
    file = foreign_mcap(tmp_path / "a.mcap", kind, encoding, 3)
    (topic,) = read_contents(file).topics
    assert (topic.name, topic.type, topic.count) == ("/cam", listed, 3)
    with pytest.raises(DataError, match=r"no topic of pictures .*convert.* it has /cam \("):
        find_sequences(file, "bag")


def test_a_file_without_messages_is_empty_not_cut_short(tmp_path: Path) -> None:
    """Its records are whole to the end."""
    with pytest.raises(DataError, match=r"a\.mcap: bag is empty \(no message\)"):
        read_contents(foreign_mcap(tmp_path / "a.mcap", "foxglove.RawImage", "protobuf", 0))


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag"])
@pytest.mark.parametrize(
    "data, words",
    [(b"", "0 bytes"), (b"a page of text, no bag", "begins with b'a page"), (b"\0" * 99, "begins")],
)
def test_what_is_no_bag_is_not_called_cut_short(
    tmp_path: Path, suffix: str, data: bytes, words: str
) -> None:
    """An empty file and one of another kind: no recovery tool helps there."""
    file = tmp_path / f"a{suffix}"
    file.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read_contents(file)
    assert "cut short" not in str(caught.value)


def test_a_ros_1_recording_that_did_not_end_is_taken_for_a_bag(tmp_path: Path) -> None:
    """rosbag writes NAME.bag.active until it ends."""
    file = tmp_path / "flight.bag.active"
    file.write_bytes(b"#ROSBAG V2.0\n" + bytes(99))
    assert is_bag(file)
    with pytest.raises(DataError, match="rosbag reindex"):
        read_contents(file)


def depth(stamp: int) -> make.Entry:
    """Two metres everywhere."""
    data = np.full((24, 32), 2, np.float32).view(np.uint8).reshape(-1)
    message = make.new(make.IMAGE, make.header(stamp), 24, 32, "32FC1", 0, 128, data)
    return "/cam/depth/image", make.IMAGE, stamp, message


def test_depth_is_named_where_it_is_not_read(tmp_path: Path) -> None:
    """Beside pictures it is a note, alone it is the reason."""
    alone = make.write(tmp_path / "alone", [depth(1000 * MS)])
    with pytest.raises(DataError, match=r"/cam/depth/image \(sensor_msgs/msg/Image, depth\)"):
        find_sequences(alone, "bag")
    both = make.write(tmp_path / "both", [*frames(2), depth(2000 * MS)])
    _, places = find_sequences(both, "bag")
    ((name, place),) = places.items()
    source = load_source("bag", place, name, ImportOptions(both))
    assert "/cam/depth/image holds depth, which is not read from bags" in source.notes


@pytest.mark.parametrize("high, flat", [(7255, True), (60000, False)])
def test_16_bit_pictures_that_come_out_flat_are_said(tmp_path: Path, high: int, flat: bool) -> None:
    """7000 to 7255 of 65535 is grey 27 to 28; 7000 to 60000 is grey 27 to 233."""
    data = np.linspace(7000, high, 24 * 32).astype(np.uint16).view(np.uint8)
    message = make.new(make.IMAGE, make.header(1000 * MS), 24, 32, "mono16", 0, 64, data)
    picture16 = (TOPIC, make.IMAGE, 1000 * MS, message)
    bag = make.write(tmp_path / "bag", [make.info(1000 * MS), picture16])
    _, places = find_sequences(bag, "bag")
    ((name, place),) = places.items()
    notes = load_source("bag", place, name, ImportOptions(bag)).notes
    assert any("grey 27 to 28 of 255" in note for note in notes) == flat
    assert flat or not notes


@pytest.mark.parametrize("topic, taken", [("/camera_info", True), ("/depth/camera_info", False)])
def test_the_only_camera_info_counts_wherever_it_stands(
    tmp_path: Path, topic: str, taken: bool
) -> None:
    """Said as an assumption; that of a depth camera is another camera's."""
    entries = [make.info(1000 * MS, topic=topic), make.image(1000 * MS, picture(0))]
    bag = make.write(tmp_path / "bag", entries)
    _, places = find_sequences(bag, "bag")
    ((name, place),) = places.items()
    if not taken:
        with pytest.raises(DataError, match="no /cam/camera_info in the bag"):
            load_source("bag", place, name, ImportOptions(bag))
        return
    source = load_source("bag", place, name, ImportOptions(bag))
    assert source.camera.camera == make.CAMERA
    assert "/camera_info, the only one, is taken" in "".join(source.all_assumed)
