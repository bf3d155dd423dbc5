#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The depth node on a clip that is played without end: are its memory and the age flat, as JSON.

Three processes: player, node, and this one, which receives the depth. Each minute gives a row.

    python scripts/ros/soak_ros.py MODEL BAG [--seconds 1800] [--set motion.source:=odometry ...]
"""

import json
import sys
from typing import Any

import rclpy
from bench_ros import Consumer, depth_node, player, read_arguments, spread
from rclpy.executors import ExternalShutdownException

from ros_nodes.life.run import use_profile

MINUTE = 60.0
FLAT_MB = 10.0  # allowed growth after the first fifth
FLAT_AGE = 1.2  # allowed ratio of the median age, last fifth to first


def main() -> None:
    """Soak, then print one object; exit 1 when it is not flat."""
    args = read_arguments()
    use_profile()
    rclpy.init()
    consumer = Consumer()
    try:
        record = soak(args, consumer)
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        consumer.node.destroy_node()
        rclpy.try_shutdown()
    print(json.dumps(record, indent=1))
    sys.exit(not record["flat"])


def soak(args: Any, consumer: Consumer) -> dict[str, Any]:
    """Listen minute by minute; return the rows and whether they are flat."""
    rows = []
    with player(args), depth_node(args) as node:
        for minute in range(round(args.seconds / MINUTE)):
            ages = consumer.ages("depth", MINUTE)
            rows.append({"minute": minute, "answers": len(ages), "rss_mb": rss_mb(node.pid)})
            rows[-1] |= {"age_ms": spread(ages)}
            print(rows[-1], file=sys.stderr, flush=True)
        said = consumer.diagnostics()
    fifth = max(1, len(rows) // 5)
    grown = rows[-1]["rss_mb"] - rows[fifth - 1]["rss_mb"]
    early, late = (
        sum(row["age_ms"]["p50"] for row in part) / fifth for part in (rows[:fifth], rows[-fifth:])
    )
    return {
        "minutes": len(rows),
        "grown_mb": round(grown, 1),
        "age_p50_ms_early_and_late": [round(early, 2), round(late, 2)],
        "flat": grown < FLAT_MB and late < FLAT_AGE * early,
        "rows": rows,
        "node": said,
    }


def rss_mb(pid: int) -> float:
    """Return the memory that a process holds, megabytes."""
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
