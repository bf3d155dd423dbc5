# SPDX-License-Identifier: Apache-2.0
"""What a foreign network takes and says: the record that presets and options fill in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from depthkit.errors import DataError
from depthkit.runtime.depth.focal_rule import SOLVE_SHIFT, canonical_focal
from depthkit.runtime.network.manifest import Ambiguity, Quantity
from depthkit.runtime.network.manifest_parts import Resize

Triple: TypeAlias = tuple[float, float, float]
WHITE = 255.0
UNITS = 1.5
"""Means up to this are taken for shares of white: no camera's mean is below 1.5 grey levels."""


@dataclass(frozen=True)
class Scaling:
    """How pixel values become numbers: (value - mean) / std, by channel in the order R, G, B."""

    mean: Triple = (0.0, 0.0, 0.0)
    """Pixel values, 0 to 255."""
    std: Triple = (1.0, 1.0, 1.0)
    """Pixel values, above 0."""


IMAGENET = Scaling((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
SCALINGS = {
    "imagenet": IMAGENET,
    "0..1": Scaling(std=(WHITE, WHITE, WHITE)),
    "-1..1": Scaling((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "none": Scaling(),
}


@dataclass(frozen=True)
class Validity:
    """Where an answer may not be used; all that is given counts."""

    mask: str = ""
    """Output that is large where depth is known."""
    mask_above: float = 0.5
    """Value from which a pixel is known."""
    sky: str = ""
    """Output that is large where there is sky."""
    sky_above: float = 0.5
    """Value from which a pixel is sky."""
    most: float | None = None
    """Depth from which the network knows no more, in its own unit."""

    def __str__(self) -> str:
        words = [f"mask:{self.mask}>{self.mask_above:g}"] if self.mask else []
        words += [f"sky:{self.sky}>{self.sky_above:g}"] if self.sky else []
        words += [f"max:{self.most:g}"] if self.most is not None else []
        return ",".join(words)


@dataclass(frozen=True)
class Convention:
    """What a network takes and says."""

    kind: Literal["mono", "features"] = "mono"
    """mono: depth of single frames. features: descriptors."""
    size: tuple[int, int] | None = None
    """Input size where the graph leaves it free, (H, W) pixels."""
    multiple: int = 1
    """Divisor of both sides."""
    input_names: tuple[str, ...] = ()
    """Names of the picture's input, the first one present counts; empty: the only picture."""
    output_names: tuple[str, ...] = ()
    """Names of the output, the first one present counts; empty: the only output that fits."""
    scaling: Scaling = Scaling()
    layout: Literal["auto", "nchw", "nhwc"] = "auto"
    colour: Literal["RGB", "BGR"] = "RGB"
    resize: Resize = Resize()
    quantity: Quantity = "depth"
    ambiguity: Ambiguity = "scale"
    focal_rule: str = "none"
    validity: Validity = Validity()
    unit: float = 1.0
    """Metres of one unit of depth."""
    scale_output: str = ""
    """Output of one number that depth is multiplied by."""
    score_output: str = ""
    """Features: output of the probability of a keypoint at each pixel of the input; empty for none.
    """
    constants: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Further inputs and the numbers that they always get."""
    licence: str = ""


@dataclass(frozen=True)
class Said:
    """What a person says of a network, in the words of the command line; None: by the preset."""

    kind: Literal["depth", "features"] | None = None
    input: tuple[int, int] | None = None
    """Input size (H, W), pixels."""
    multiple: int | None = None
    input_name: str | None = None
    output_name: str | None = None
    normalise: str | None = None
    layout: Literal["auto", "nchw", "nhwc"] | None = None
    colour: Literal["RGB", "BGR"] | None = None
    resize: Literal["stretch", "letterbox", "pad"] | None = None
    pad_value: tuple[int, int, int] | None = None
    pad_side: Literal["right-below", "left-above"] | None = None
    output: Quantity | None = None
    ambiguity: Ambiguity | None = None
    focal_rule: str | None = None
    validity: str | None = None
    unit: float | None = None
    scale_output: str | None = None
    constants: tuple[str, ...] = ()
    """Further inputs, as NAME=NUMBER or NAME=NUMBER,NUMBER..."""
    licence: str | None = None


# What may be unknown of a quantity when nobody says: metres are never assumed.
_USUAL: dict[str, Ambiguity] = {"disparity": "scale-and-shift"}


def combine(base: Convention | None, said: Said) -> Convention:
    """Put what a person says over a preset.

    Args:
        base: convention of a preset; without one, normalisation and meaning must be said.
        said: the options.

    Raises:
        DataError: something is missing, cannot be read, or contradicts the rest.
    """
    features = said.kind == "features" or (base is not None and base.kind == "features")
    if base is None and (said.normalise is None or (said.output is None and not features)):
        raise DataError(
            "adopt needs --preset NAME, or what the network takes and says: --normalise and "
            "--output (depth, inverse, disparity, canonical, points, log)"
        )
    convention = base or Convention()
    given: dict[str, Any] = {
        "size": said.input,
        "multiple": said.multiple,
        "input_names": None if said.input_name is None else (said.input_name,),
        "output_names": None if said.output_name is None else (said.output_name,),
        "scaling": None if said.normalise is None else read_scaling(said.normalise),
        "layout": said.layout,
        "colour": said.colour,
        "quantity": said.output,
        "focal_rule": said.focal_rule,
        "validity": None if said.validity is None else read_validity(said.validity),
        "unit": said.unit,
        "scale_output": said.scale_output,
        "licence": said.licence,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if said.output is not None and said.output != convention.quantity:
        given["ambiguity"] = _USUAL.get(said.output, "scale")
    if said.ambiguity is not None:
        given["ambiguity"] = said.ambiguity
    if said.kind is not None:
        given["kind"] = "mono" if said.kind == "depth" else "features"
    given["resize"] = _resize(convention.resize, said)
    given["constants"] = dict(convention.constants) | read_constants(said.constants)
    return check_convention(replace(convention, **given))


def _resize(base: Resize, said: Said) -> Resize:
    given = {"rule": said.resize, "value": said.pad_value, "side": said.pad_side}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(base, **changed)


def check_convention(convention: Convention) -> Convention:
    """Return a convention whose parts fit each other.

    Raises:
        DataError: they contradict each other.
    """
    rule = convention.focal_rule
    canonical_focal(rule)
    if rule == SOLVE_SHIFT and convention.quantity != "points":
        raise DataError("--focal-rule solve_shift is for --output points")
    if convention.quantity == "canonical" and rule == "none":
        raise DataError("--output canonical needs --focal-rule f/N, such as f/1000")
    if rule != "none" and convention.ambiguity == "scale-and-shift":
        raise DataError(
            f"--focal-rule {rule} gives metres, --ambiguity scale-and-shift denies them"
        )
    if convention.unit != 1 and convention.ambiguity != "none":
        raise DataError("--unit is for metres: give --ambiguity none, or leave it out")
    return convention


def read_scaling(text: str) -> Scaling:
    """Read a word, or R,G,B/R,G,B: mean and std in pixel values 0 to 255.

    Raises:
        DataError: neither.
    """
    if text in SCALINGS:
        return SCALINGS[text]
    parts = [_numbers(part) for part in text.split("/")]
    if len(parts) != 2 or any(len(part) not in (1, 3) for part in parts):
        raise DataError(
            f"--normalise: expected {', '.join(SCALINGS)} or MEAN/STD such as "
            f"123.675,116.28,103.53/58.395,57.12,57.375 (pixel values 0 to 255), got {text!r}"
        )
    mean, std = ((part * 3)[:3] for part in parts)
    if min(std) <= 0 or not all(map(math.isfinite, (*mean, *std))):
        raise DataError(f"--normalise: std must be above 0 and all numbers finite, got {text!r}")
    if 0 < max(mean) <= UNITS or max(std) <= UNITS < max(mean):
        raise DataError(
            f"--normalise: mean and std are in pixel values 0 to 255, got {text!r}; multiply both "
            "by 255"
        )
    return Scaling((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def read_validity(text: str) -> Validity:
    """Read none, or parts as mask:NAME>0.5, sky:NAME>0.3, max:80 joined by commas.

    Raises:
        DataError: another word.
    """
    found: dict[str, Any] = {}
    for part in text.split(",") if text != "none" else []:
        word, _, rest = part.partition(":")
        name, _, above = rest.partition(">")
        number = _numbers(above or "0.5") if word in ("mask", "sky") else _numbers(rest)
        if word not in ("mask", "sky", "max") or not rest or len(number) != 1:
            raise DataError(
                "--validity: expected none, or mask:OUTPUT>0.5, sky:OUTPUT>0.3, max:80 joined by "
                f"commas, got {text!r}"
            )
        found |= {"most": number[0]} if word == "max" else {word: name, f"{word}_above": number[0]}
    return Validity(**found)


def read_constants(texts: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Read NAME=NUMBER,NUMBER...

    Raises:
        DataError: something else.
    """
    found = {}
    for text in texts:
        name, _, values = text.partition("=")
        numbers = _numbers(values)
        if not name or not numbers:
            raise DataError(
                f"--constant: expected NAME=NUMBER such as num_tokens=1800, got {text!r}"
            )
        found[name] = tuple(numbers)
    return found


def _numbers(text: str) -> list[float]:
    """Read numbers joined by commas; empty where one is no number."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        return []
