# SPDX-License-Identifier: Apache-2.0
"""The errors a user can cause. The command line prints each as one line and exits with 1.

DepthkitError
├── ConfigError      a configuration file, key or value
├── DataError        frames, calibration, trajectories, folders
├── CheckpointError  weights that are missing, damaged or of another network
├── EngineError      a device or backend that cannot do what was asked
└── TrainingError    a run that cannot go on (non-finite loss, nothing to learn from)

`ShapeError` stands apart: a wrong tensor shape is the caller's bug and keeps its traceback.
"""


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


class ShapeError(ValueError):
    """An array has a shape its callee cannot take."""
