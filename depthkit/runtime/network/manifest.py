# SPDX-License-Identifier: Apache-2.0
"""Manifest of an exported model: one JSON record, inside the ONNX file and beside it.

The file alone is sufficient; the JSON beside it is for people, and must agree if it exists.
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
from depthkit.runtime.network.manifest_parts import Check, Mixture, Origin, Resize, StaticLaw
from depthkit.runtime.network.model_file import MANIFEST_VERSION, ZEROS, join, split

PIXELS = (
    "integer pixel centres: (0, 0) is the centre of the top-left pixel; resizing by s maps "
    "c to s (c + 0.5) - 0.5"
)
SHIPPED = Path(depthkit.__file__).parent / "weights"
Kind = Literal["mono", "pair", "pose", "flow", "features", "place"]
Precision = Literal["fp32", "fp16", "int8"]
Quantity = Literal["depth", "inverse", "disparity", "canonical", "points", "log"]
Ambiguity = Literal["none", "scale", "scale-and-shift"]


@dataclass(frozen=True)
class Manifest:
    """Everything that a runtime needs to know about a model."""

    kind: Kind
    """Kind of network. mono: frame -> depth. pair: previous, current -> depth. pose: earlier, later
    -> motion. flow: earlier, later -> flow, and static_odds of earlier with a mask network.
    features: frame -> features, descriptors of length 1 along the channels (N, C, h, w) with
    h = H / stride, w = W / stride, rounded up; and score, the probability of a keypoint (N, H, W),
    of a network that finds them. place: frame, and second where it takes a raster -> place, one
    descriptor of length 1 (N, D)."""
    network: str
    """Name of the network in the training's configuration."""
    size: tuple[int, int]
    """Image size of the training, (H, W) in pixels."""
    scale: Literal["metric", "relative"]
    """Metric: metres; relative: up to one unknown factor. Flow is in pixels, features and
    places have no unit; all count as relative."""
    scale_source: str
    """Description of where the scale comes from."""
    check: Check
    """Stored input and output, checked by `depthkit verify`."""
    tolerance: float
    """Allowed relative difference from the stored output: of the maximum for fp32, else of the
    median."""
    precision: Precision = "fp32"
    """Precision of the graph."""
    dynamic: bool = False
    """Whether H and W may differ from `size`."""
    size_multiple: int = 1
    """Divisor of H and W."""
    stride: int = 1
    """Features: pixels of the frame along one side of an output pixel, which covers that block of
    them."""
    channels: int = 0
    """Features of keypoints: numbers of a descriptor; 0 where not recorded."""
    place_parts: tuple[int, ...] = ()
    """Place: numbers of each modality's own descriptor; each has the same share of the length."""
    takes_raster: bool = False
    """Place: whether it takes a second input, `second`: a raster (N, H, W, 3) uint8."""
    K: tuple[tuple[float, ...], ...] | None = None
    """Intrinsics of the training frames at `size`, pixels, the principal point taken as the centre;
    None where not recorded. (3, 3)"""
    focal: float | None = None
    """Smallest fx of the training frames at `size`, pixels."""
    focal_most: float | None = None
    """Largest fx of the training frames at `size`, pixels, for a network that takes K as input."""
    planes: tuple[float, ...] = ()
    """Pair: inverse depths at D0, 1 / metres, of the third input `volume` (multiview.plane_sweep),
    which needs the direction of motion; empty without that input."""
    min_depth: float | None = None
    """Smallest depth the network can output, metres or its own unit."""
    max_depth: float | None = None
    """Largest depth the network can output, metres (pair: at the nominal baseline) or its own
    unit."""
    nominal_baseline: float | None = None
    """Pair: baseline D0 for which the network outputs depth, metres."""
    shifts: tuple[int, ...] = ()
    """Offsets of the source frames in training, frames."""
    flow: Literal["dis_medium"] | None = None
    """Pose: extra input, optical flow by OpenCV from earlier to later, pixels."""
    static_law: StaticLaw | None = None
    """Flow: model of the static probability; None if none was learnt."""
    quantity: Quantity = "depth"
    """Mono: what the adopted network itself says. The graph gives depth, or points where the focal
    rule is solve_shift; unresolved scale and shift are those of this quantity."""
    ambiguity: Ambiguity | None = None
    """Mono: what is unknown of the quantity. None: by `scale`, as `unresolved` says."""
    focal_rule: str = "none"
    """Mono: what the engine does with fx at the network's size. f/N: depth times fx / N.
    solve_shift: the graph gives points (N, 3, H, W) whose z lacks a shift that fx and fy decide."""
    validity: str = ""
    """Mono: where an adopted graph answers NaN, in words."""
    resize: Resize = Resize()
    """Mono: how a frame is brought to `size`."""
    licence: str = ""
    """Licence of the weights, as the person who adopted or trained them states it."""
    adopted_from: Origin | None = None
    """File of another program that the graph was made from."""
    opset: int = 18
    """ONNX operator set."""
    colour: str = "RGB"
    """Channel order of an input image, uint8."""
    pixels: str = PIXELS
    """Pixel convention."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Resolved training configuration."""
    commit: str = "unknown"
    """Commit of the source code that trained it."""
    data: tuple[str, ...] = ()
    """Names of the training sequences."""
    created_with: Mapping[str, str] = field(default_factory=dict)
    """Versions of the programs that wrote the file."""
    sha256: str = ZEROS
    """SHA-256 of the file's bytes, with these 64 digits as zeros."""
    version: int = MANIFEST_VERSION
    """Version of this record."""

    @property
    def unresolved(self) -> Ambiguity:
        """What is unknown of `quantity`; a relative network without a statement lacks a factor."""
        return self.ambiguity or ("none" if self.scale == "metric" else "scale")


@dataclass(frozen=True)
class ModelFile:
    """An exported file that has passed all checks."""

    manifest: Manifest
    model: bytes
    """Serialised ONNX graph, without the manifest in front."""


def find_model(name: Path | str) -> Path:
    """Return the path of an existing ONNX file, or of the shipped model of this name.

    Raises:
        EngineError: neither exists.
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
    """List the names of the models shipped with depthkit; no pose network is among them."""
    return sorted(file.stem for file in SHIPPED.glob("*.onnx"))


def read_manifest(path: Path | str) -> Manifest:
    """Read and check the manifest of an exported file; see `read_model`."""
    return read_model(path).manifest


def read_model(path: Path | str) -> ModelFile:
    """Read an exported file once, and check it before anything runs it.

    Args:
        path: the ONNX file, or a shipped model's name.

    Raises:
        EngineError: not a file of depthkit, another version, a changed byte, weights in another
            file, or a contradicting JSON beside it.
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
    """Write the file and its JSON: both, or neither.

    Args:
        path: file to write; an existing one is replaced.
        manifest: manifest; its sha256 is computed here.
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
        EngineError: the folder cannot be written.
    """
    try:
        sidecar_path(path).unlink(missing_ok=True)  # an old one would contradict the new file
        os.replace(partial, path)
        os.replace(sidecar_path(partial), sidecar_path(path))
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror}") from error


def sidecar_path(path: Path) -> Path:
    """Return the path of the JSON beside a model."""
    return path.with_suffix(".json")


def manifest_from_json(record: Mapping[str, Any], path: Path) -> Manifest:
    """Convert the JSON mapping to a manifest.

    Raises:
        EngineError: a key is unknown or missing.
    """
    required = {one.name for one in fields(Manifest) if one.default is MISSING}
    required -= {one.name for one in fields(Manifest) if one.default_factory is not MISSING}
    known = {one.name for one in fields(Manifest)}
    if odd := sorted((required - set(record)) | (set(record) - known)):
        raise EngineError(f"{path}: manifest keys missing or unknown: {', '.join(odd)}")
    plain = dict(record) | {"check": Check(**record["check"])}
    for name in ("size", "shifts", "data", "planes", "place_parts"):
        plain[name] = tuple(plain.get(name, ()))
    if plain.get("static_law") is not None:
        law = dict(plain["static_law"])
        laws = {name: Mixture(**law[name]) for name in ("delta", "gap")}
        plain["static_law"] = StaticLaw(**law | laws)
    if plain.get("K") is not None:
        plain["K"] = tuple(tuple(row) for row in plain["K"])
    resize = dict(plain.get("resize") or {})
    plain["resize"] = Resize(**resize | {"value": tuple(resize.get("value", (0, 0, 0)))})
    if plain.get("adopted_from") is not None:
        plain["adopted_from"] = Origin(**plain["adopted_from"])
    manifest = Manifest(**plain)
    if manifest.kind == "mono" and manifest.scale == "metric" and manifest.unresolved != "none":
        raise EngineError(
            f"{path}: says metres, and that {manifest.unresolved} of its {manifest.quantity} is "
            "unknown; adopt it again"
        )
    return manifest


def _check_sidecar(path: Path, inside: Mapping[str, Any]) -> None:
    """Reject a JSON beside the file that contradicts it; without one, the file is sufficient."""
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
