# SPDX-License-Identifier: Apache-2.0
"""The data doctor: whether a sequence can teach depth, and with which shifts, before training.

`inspect_sequence` reads every frame, `suggest_shifts` samples a few and takes seconds,
`save_inspection` and `load_inspection` keep the findings beside the frames.
"""

from depthkit.data.inspect.doctor import inspect_sequence, suggest_shifts
from depthkit.data.inspect.ladder import GapFigures
from depthkit.data.inspect.record import (
    CameraFigures,
    DensityFigures,
    FrameFigures,
    ImuFigures,
    Inspection,
    PoseFigures,
    load_inspection,
    save_inspection,
    to_dict,
)

__all__ = [
    "CameraFigures",
    "DensityFigures",
    "FrameFigures",
    "GapFigures",
    "ImuFigures",
    "Inspection",
    "PoseFigures",
    "inspect_sequence",
    "load_inspection",
    "save_inspection",
    "suggest_shifts",
    "to_dict",
]
