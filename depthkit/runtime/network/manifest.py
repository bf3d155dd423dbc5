# SPDX-License-Identifier: Apache-2.0
"""What an exported model says of itself: one JSON, inside the ONNX file and beside it.

The file alone is enough; the JSON beside it is for people, and must agree where it is there.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import depthkit
from depthkit.errors import EngineError
from depthkit.runtime.network.model_file import MANIFEST_VERSION, ZEROS, join, split

PIXELS = (
    "integer pixel centres: (0, 0) is the centre of the top-left pixel; resizing by s maps "
    "c to s (c + 0.5) - 0.5"
)
SHIPPED = Path(depthkit.__file__).parent / "weights"
Kind = Literal["mono", "pair", "pose", "flow"]
Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Check:
    """A stored input and what the trained network answered to it, in 32 bits, through torch."""

    inputs: Mapping[str, str]
    """Input name -> PNG, base64. Images are 8-bit RGB, flow is 16-bit: (value - 32768) / 64 px."""
    step: int
    """Maps are kept at rows and columns step // 2, step // 2 + step, ..."""
    outputs: Mapping[str, str]
    """Output name -> float32, little endian, base64."""


@dataclass(frozen=True)
class Mixture:
    """Of a quantity that is Laplace distributed where the scene is static, and lies exponentially
    to the right of that where something moves."""

    location: float
    """Median of static pixels."""
    scale: float
    """Mean distance of static pixels from it."""
    tail: float
    """Mean distance of moving pixels from it."""
    share: float
    """Of pixels that move."""


@dataclass(frozen=True)
class StaticLaw:
    """The law by which a run told what moves by itself; see `runtime/moving.py`."""

    evidence: Literal["photometric", "gap", "both"]
    """What is looked at: delta, the gap's score, or both as if independent."""
    delta: Mixture
    """Of the photometric errors by depth and motion and by flow, compared as `ratio` says."""
    gap: Mixture
    """Of `gap_score`: how far flow is from rigid flow, in what both may be wrong by."""
    ssim_weight: float
    """Share of SSIM in the photometric error; the rest is L1."""
    window: int
    """Side of the square that both are averaged over, pixels at the network's size."""
    ratio: bool = False
    """Delta is the logarithm of the errors' ratio, not their difference."""
    temper: float | None = None
    """What the log likelihood ratio is multiplied with before the log odds that the network says of
    looks (`static_odds`) are added; None of a network that says none."""


@dataclass(frozen=True)
class Manifest:
    """All that a runtime has to know of a model."""

    kind: Kind
    """mono: frame -> depth. pair: previous, current -> depth. pose: earlier, later -> motion.
    flow: earlier, later -> flow, and static_odds of earlier where a mask network was learnt."""
    network: str
    """Name of the network in the training's configuration."""
    size: tuple[int, int]
    """(H, W) it was trained at, pixels."""
    scale: Literal["metric", "relative"]
    """Metric: metres. Flow is pixels, and has neither: relative."""
    scale_source: str
    """Where the scale comes from, in words."""
    check: Check
    """What `depthkit verify` runs."""
    tolerance: float
    """Allowed relative difference from the stored output: the largest for fp32, else the median."""
    precision: Precision = "fp32"
    """Numbers that the graph computes in."""
    dynamic: bool = False
    """Whether H and W may differ from `size`."""
    size_multiple: int = 1
    """H and W must be multiples of this."""
    K: tuple[tuple[float, ...], ...] | None = None
    """Intrinsics of the training frames at `size`, pixels, the principal point taken as the centre;
    None where not recorded. (3, 3)"""
    focal: float | None = None
    """fx of the training frames at `size`, pixels; the least of them."""
    focal_most: float | None = None
    """The largest of them, where a network is told K and so has learnt several."""
    planes: tuple[float, ...] = ()
    """Pair: inverse depths at D0, 1 / metres, of its third input `volume` (multiview.plane_sweep),
    for which the direction of motion must be known; empty without that input."""
    min_depth: float | None = None
    """Nearest depth it can say, metres or its own unit."""
    max_depth: float | None = None
    """Farthest depth it can say, metres (pair: at the nominal baseline) or its own unit."""
    nominal_baseline: float | None = None
    """Pair: distance between the two frames that its depth is said for, D0, metres."""
    shifts: tuple[int, ...] = ()
    """Source offsets of the training, frames."""
    flow: Literal["dis_medium"] | None = None
    """A pose network's further input, computed by OpenCV from earlier to later, pixels."""
    static_law: StaticLaw | None = None
    """Flow: how what moves is told from the scene; None where no such law was learnt."""
    opset: int = 18
    """ONNX operator set."""
    colour: str = "RGB"
    """Order of the channels of an input image, uint8."""
    pixels: str = PIXELS
    """Where a pixel lies."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved training configuration."""
    commit: str = "unknown"
    """Source code that trained it."""
    data: tuple[str, ...] = ()
    """Names of the training sequences."""
    created_with: Mapping[str, str] = field(default_factory=dict)
    """Programs that wrote the file, and their versions."""
    sha256: str = ZEROS
    """Over the file's bytes, with these 64 digits as zeros."""
    version: int = MANIFEST_VERSION
    """Of this record."""


@dataclass(frozen=True)
class ModelFile:
    """An exported file that is whole and unchanged."""

    manifest: Manifest
    model: bytes
    """The ONNX graph, without the manifest in front."""


def find_model(name: Path | str) -> Path:
    """Return an ONNX file that exists, or the shipped one of this name.

    Raises:
        EngineError: there is neither.
    """
    path = Path(name)
    shipped = SHIPPED / f"{path.name}.onnx"
    # os.path, because pathlib raises where a folder is closed to us.
    if not os.path.exists(path) and path.parent == Path() and shipped.is_file():
        return shipped
    if os.path.isfile(path):
        return path
    names = shipped_models()
    near = get_close_matches(path.name, names, n=1)
    if near:
        raise EngineError(f"{path}: no such model file; did you mean {near[0]}?")
    known = ", ".join(names) or "none"
    raise EngineError(f"{path}: no such model file; export one, or take one of: {known}")


def shipped_models() -> list[str]:
    """List the names of the models that come with depthkit: none tells motion."""
    return sorted(file.stem for file in SHIPPED.glob("*.onnx"))


def read_manifest(path: Path | str) -> Manifest:
    """Read and check the manifest of an exported file; see `read_model`."""
    return read_model(path).manifest


def read_model(path: Path | str) -> ModelFile:
    """Read an exported file once, and check it before anything runs it.

    Args:
        path: the ONNX file, or a shipped model's name.

    Raises:
        EngineError: not a file of depthkit, another version, a byte that has changed, weights in
            another file, or a JSON beside it that says something else.
    """
    path = find_model(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: cannot be read: {error.strerror}") from error
    record, model = split(data, str(path))
    _check_sidecar(path, record)
    return ModelFile(manifest_from_json(record, path), model)


def write_model(path: Path, manifest: Manifest, model: bytes) -> None:
    """Write the file and its JSON: both, or none.

    Args:
        path: of the file, replaced where it exists.
        manifest: its sha256 is not looked at.
        model: a serialised ONNX model with all weights inside.

    Raises:
        EngineError: the disk is full or the folder cannot be written.
    """
    data, record = join(asdict(manifest), model)
    partial = path.with_name(f".{path.stem}.writing{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        sidecar_path(partial).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        for left in (partial, sidecar_path(partial)):
            with suppress(OSError):  # such as a folder that is a file: nothing to remove
                left.unlink()
        raise EngineError(f"{path}: cannot be written: {error.strerror}") from error
    publish_model(partial, path)


def publish_model(partial: Path, path: Path) -> None:
    """Rename a file and its JSON; an earlier pair is replaced.

    Raises:
        EngineError: the folder does not take them.
    """
    try:
        sidecar_path(path).unlink(missing_ok=True)  # an old one would contradict the new file
        os.replace(partial, path)
        os.replace(sidecar_path(partial), sidecar_path(path))
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror}") from error


def sidecar_path(path: Path) -> Path:
    """Return where the JSON beside a model lies."""
    return path.with_suffix(".json")


def manifest_from_json(record: Mapping[str, Any], path: Path) -> Manifest:
    """Turn the JSON's mapping into the record.

    Raises:
        EngineError: a key too many or too few.
    """
    required = {one.name for one in fields(Manifest) if one.default is MISSING}
    required -= {one.name for one in fields(Manifest) if one.default_factory is not MISSING}
    known = {one.name for one in fields(Manifest)}
    if odd := sorted((required - set(record)) | (set(record) - known)):
        raise EngineError(f"{path}: manifest keys missing or unknown: {', '.join(odd)}")
    plain = dict(record) | {"check": Check(**record["check"])}
    for name in ("size", "shifts", "data", "planes"):
        plain[name] = tuple(plain.get(name, ()))
    if plain.get("static_law") is not None:
        law = dict(plain["static_law"])
        laws = {name: Mixture(**law[name]) for name in ("delta", "gap")}
        plain["static_law"] = StaticLaw(**law | laws)
    if plain.get("K") is not None:
        plain["K"] = tuple(tuple(row) for row in plain["K"])
    return Manifest(**plain)


def _check_sidecar(path: Path, inside: Mapping[str, Any]) -> None:
    """Refuse a JSON beside the file that says something else; where none is, the file is enough."""
    beside_path = sidecar_path(path)
    try:
        beside = json.loads(beside_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise EngineError(f"{beside_path}: cannot be read ({error}); remove it") from error
    if beside == inside:
        return
    beside = beside if isinstance(beside, dict) else {}
    key = next(k for k in ("sha256", *inside, *beside) if inside.get(k) != beside.get(k))
    raise EngineError(
        f"{beside_path}: disagrees with {path.name}: {key} is {_short(beside.get(key))}, in the "
        f"file {_short(inside.get(key))}; remove the JSON or export again"
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 70 else f"{text[:67]}..."
