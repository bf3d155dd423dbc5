# SPDX-License-Identifier: Apache-2.0
"""sqlite3 bags read row by row: files that are cut short, and those with a write-ahead log.

rosbags sorts by an index and takes a file as it lies; a file that was cut fails there as a whole,
and messages that are still in the log (`-wal`) would be lost without a word.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from depthkit.data.bag_mcap import Damage


@dataclass(frozen=True)
class Row:
    """One message as it lies in the file."""

    topic: str
    type: str
    time: int
    """When it was recorded, nanoseconds."""
    data: bytes


def has_log(path: Path) -> bool:
    """Say whether a write-ahead log with content lies beside a file."""
    log = path.with_name(path.name + "-wal")
    return log.is_file() and log.stat().st_size > 0


def read_rows(path: Path, damage: Damage) -> Iterator[Row]:
    """Read the messages in the order in which they were written, as far as the file goes.

    Args:
        path: the file.
        damage: receives the reason where reading ends early.
    """
    mode = "mode=ro" if has_log(path) else "immutable=1"
    index = path.with_name(path.name + "-shm")  # SQLite makes it to read the log, and leaves it
    is_new, connection = not index.exists(), None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        # Else SQLite refuses a file that is shorter than its header says before any row is read.
        connection.execute("PRAGMA writable_schema=ON")
        rows = connection.execute("SELECT id, name, type FROM topics").fetchall()
        topics = {number: (name, kind) for number, name, kind in rows}
        found = connection.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id")
        for topic, time, data in found:
            if topic in topics and isinstance(data, bytes):
                yield Row(*topics[topic], int(time), data)
    except sqlite3.Error as error:
        damage.reason = str(error)
    finally:
        if connection is not None:
            connection.close()
        if is_new:
            index.unlink(missing_ok=True)
