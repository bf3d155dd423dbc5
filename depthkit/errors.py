# SPDX-License-Identifier: Apache-2.0
"""The errors a user can cause. The command line prints each as one line and exits with 1.

DepthkitError
├── ConfigError      a configuration file, key or value
├── DataError        frames, calibration, trajectories, folders
├── CheckpointError  weights that are missing, damaged or of another network
├── EngineError      a device or backend that cannot do what was asked
├── TrainingError    a run that cannot go on (non-finite loss, nothing to learn from)
└── UsageError       words on the command line that do not make a call; exits with 2

`ShapeError` stands apart: a wrong tensor shape is the caller's bug and keeps its traceback.
"""

from typing import Any


class DepthkitError(Exception):
    """Base of all errors with a known cause and a remedy."""


class ConfigError(DepthkitError):
    """A configuration file, key or value is wrong."""


class DataError(DepthkitError):
    """Frames, calibration, poses or folders are missing, broken or do not fit."""


class CheckpointError(DepthkitError):
    """Weights are missing, damaged, or belong to another network."""


class EngineError(DepthkitError):
    """A device, backend or optional part cannot do what was asked."""


class TrainingError(DepthkitError):
    """A training run cannot go on."""


class UsageError(DepthkitError):
    """Words on the command line that do not make a call, which no single argument shows."""


class ShapeError(ValueError):
    """An array has a shape its callee cannot take."""


def check_shape(where: str, array: Any, pattern: str) -> None:
    """Check an array's shape against a pattern at a function's door.

    Args:
        where: function and argument, for the message, such as "warp_to_target: depth".
        array: anything with a `.shape`.
        pattern: sizes separated by spaces; a number must match, a letter may be any size,
            but the same letter twice must be the same size. "B 3 H W"; a leading "..." allows
            any number of leading axes.

    Raises:
        ShapeError: the shape does not fit.
    """
    wanted, shape = pattern.split(), tuple(array.shape)
    if wanted[:1] == ["..."]:
        wanted, tail = wanted[1:], shape[len(shape) - len(wanted) + 1 :]
    else:
        tail = shape
    sizes: dict[str, int] = {}
    fits = len(tail) == len(wanted) and all(
        int(want) == size if want.isdigit() else sizes.setdefault(want, size) == size
        for want, size in zip(wanted, tail, strict=True)
    )
    if not fits:
        raise ShapeError(f"{where} must be ({', '.join(pattern.split())}), got {shape}")
