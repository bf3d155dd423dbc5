# SPDX-License-Identifier: Apache-2.0
"""A sequence folder as a ROS 2 bag, for `ros2 bag play`, the player node, or to give away.

Usage: python scripts/sequence_to_bag.py SEQUENCE OUT [--storage mcap|sqlite3] [--compressed]
       [--odometry-rate HZ] [--extrinsic X Y Z ROLL PITCH YAW] [--force]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from depthkit.data.bag_writer import BagOptions, write_bag
from depthkit.data.sequence import open_sequence
from depthkit.errors import DepthkitError
from depthkit.rigid import make_pose


def main() -> int:
    """Read the command line, write, say what is there now."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sequence", metavar="SEQUENCE", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the bag, new")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument("--compressed", action="store_true", help="images as JPEG")
    parser.add_argument(
        "--odometry-rate",
        metavar="HZ",
        type=float,
        help="messages a second, interpolated, and the last pose (default: one a frame)",
    )
    parser.add_argument(
        "--extrinsic",
        metavar=("X", "Y", "Z", "ROLL", "PITCH", "YAW"),
        type=float,
        nargs=6,
        help="camera's optical frame in base_link, metres and radians: odometry of base_link and "
        "a latched /tf_static (default: odometry of the camera)",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier bag")
    args = parser.parse_args()
    options = BagOptions(
        storage=args.storage,
        compressed=args.compressed,
        odometry_rate=args.odometry_rate,
        T_base_cam=None if args.extrinsic is None else pose_of(args.extrinsic),
    )
    try:
        counts = write_bag(open_sequence(args.sequence), args.out, options, force=args.force)
    except DepthkitError as error:
        print(f"sequence_to_bag: error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: " + ", ".join(f"{count} {topic}" for topic, count in counts.items()))
    return 0


def pose_of(values: list[float]) -> np.ndarray:
    """Return the pose of x y z (metres), roll pitch yaw (radians, about fixed axes). (4, 4)"""
    roll, pitch, yaw = values[3:]
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return make_pose(about_z @ about_y @ about_x, values[:3])


if __name__ == "__main__":
    sys.exit(main())
