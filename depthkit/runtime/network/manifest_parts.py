# SPDX-License-Identifier: Apache-2.0
"""Records inside the manifest of an exported model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Check:
    """A stored input and the trained network's output for it, computed by torch in fp32."""

    inputs: Mapping[str, str]
    """Input name -> PNG, base64. Images are 8-bit RGB, flow is 16-bit: (value - 32768) / 64 px."""
    step: int
    """Sampling of stored maps: rows and columns step // 2, step // 2 + step, ..."""
    outputs: Mapping[str, str]
    """Output name -> float32, little endian, base64."""


@dataclass(frozen=True)
class Mixture:
    """Mixture model of a quantity: Laplace distributed on static pixels, exponentially distributed
    above the Laplace median on moving pixels."""

    location: float
    """Median over static pixels."""
    scale: float
    """Mean absolute deviation of static pixels from the median."""
    tail: float
    """Mean excess of moving pixels over the median."""
    share: float
    """Share of moving pixels."""


@dataclass(frozen=True)
class StaticLaw:
    """Learnt model for the probability that a pixel is static; see `runtime/flow/moving.py`."""

    evidence: Literal["photometric", "gap", "both"]
    """Quantities used: photometric (delta), the gap's score, or both as if independent."""
    delta: Mixture
    """Mixture of delta: photometric error of the rigid reconstruction against that of the flow
    reconstruction, compared as set by `ratio`."""
    gap: Mixture
    """Mixture of `gap_score`: flow minus rigid flow, normalised by the expected errors of both."""
    ssim_weight: float
    """Weight of SSIM in the photometric error; the rest is L1."""
    window: int
    """Side of the averaging window of both quantities, pixels at the network's size."""
    ratio: bool = False
    """Whether delta is the log ratio of the two errors instead of their difference."""
    temper: float | None = None
    """Factor on the log likelihood ratio before the prior logits of the mask network
    (`static_odds`) are added; None without a mask network."""


@dataclass(frozen=True)
class Resize:
    """How a frame of any size becomes the network's input."""

    rule: Literal["stretch", "letterbox", "pad"] = "stretch"
    """stretch: both sides on their own. letterbox: the aspect ratio stays, borders on both sides.
    pad: the aspect ratio stays, a border at one end."""
    value: tuple[int, int, int] = (0, 0, 0)
    """Colour of the border, RGB, 0 to 255."""
    side: Literal["right-below", "left-above"] = "right-below"
    """pad: where the border is."""


@dataclass(frozen=True)
class Origin:
    """A file of another program, and how it was read."""

    file: str
    """Name of the file."""
    sha256: str
    """SHA-256 of its bytes; of a file with external data those of the graph alone."""
    preset: str = ""
    """Preset it was adopted with; empty without one."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What the graph was taken for: names, normalisation, layout, colour order."""
