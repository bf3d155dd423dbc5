# SPDX-License-Identifier: Apache-2.0
"""Families of depth networks that people have as ONNX files: what each takes and says.

Facts only, no weights. A fact that an export does differently is said as an option beside the
preset; what does not fit the file is refused.
"""

from dataclasses import dataclass
from difflib import get_close_matches

from depthkit.errors import DataError
from depthkit.export.foreign_convention import IMAGENET, SCALINGS, Convention, Validity
from depthkit.runtime.network.manifest_parts import Resize

_MEAN_GREY = (124, 116, 104)  # ImageNet's mean: about 0 after normalisation
_PICTURES = ("pixel_values", "image", "input", "images", "rgb", "rgbs")


@dataclass(frozen=True)
class Preset:
    """One family."""

    name: str
    title: str
    """What people call it."""
    convention: Convention
    gives: str
    """What comes out, in words."""


_RELATIVE = Convention(
    size=(518, 518),
    multiple=14,
    input_names=_PICTURES,
    output_names=("predicted_depth", "depth", "disparity", "output"),
    scaling=IMAGENET,
    quantity="disparity",
    ambiguity="scale-and-shift",
)

PRESETS = (
    Preset(
        "depth-anything",
        "Depth Anything V1 and V2, relative",
        _RELATIVE,
        "relative; a scale and a shift of inverse depth are unknown",
    ),
    Preset(
        "depth-anything-v2-metric",
        "Depth Anything V2 metric (indoor 20 m, outdoor 80 m)",
        Convention(
            size=(518, 518),
            multiple=14,
            input_names=_PICTURES,
            output_names=("predicted_depth", "depth", "metric_depth", "output"),
            scaling=IMAGENET,
            ambiguity="none",
        ),
        "metres, without K: 10 to 20 % off at other focal lengths than the training's",
    ),
    Preset(
        "depth-anything-3-metric",
        "Depth Anything 3 metric",
        Convention(
            size=(280, 504),
            multiple=14,
            input_names=_PICTURES,
            output_names=("depth", "predicted_depth"),
            scaling=IMAGENET,
            resize=Resize("letterbox", _MEAN_GREY),
            ambiguity="none",
            focal_rule="f/300",
            validity=Validity(sky="sky", sky_above=0.3),
            licence="Apache-2.0",
        ),
        "metres with K, relative without; sky is unknown",
    ),
    Preset(
        "depth-anything-3-mono",
        "Depth Anything 3 mono",
        Convention(
            size=(504, 504),
            multiple=14,
            input_names=_PICTURES,
            output_names=("depth", "predicted_depth"),
            scaling=IMAGENET,
            validity=Validity(sky="sky", sky_above=0.3),
        ),
        "relative; a factor is unknown",
    ),
    Preset(
        "metric3d-v2",
        "Metric3D v2",
        Convention(
            size=(616, 1064),
            multiple=28,
            input_names=_PICTURES,
            output_names=("predicted_depth", "pred_depth", "depth", "canonical_depth"),
            scaling=IMAGENET,
            resize=Resize("letterbox", _MEAN_GREY),
            quantity="canonical",
            ambiguity="none",
            focal_rule="f/1000",
            licence="BSD-2-Clause",
        ),
        "metres with K, relative without",
    ),
    Preset(
        "unidepth-v2",
        "UniDepth V2",
        Convention(
            size=(462, 630),
            multiple=14,
            input_names=_PICTURES,
            output_names=("pts_3d", "points"),
            scaling=IMAGENET,
            resize=Resize("letterbox", _MEAN_GREY),
            quantity="points",
            ambiguity="none",
            licence="CC-BY-NC-4.0",
        ),
        "metres; the network guesses its own K",
    ),
    Preset(
        "moge-2",
        "MoGe-2",
        Convention(
            size=(420, 560),
            input_names=_PICTURES,
            output_names=("points",),
            scaling=SCALINGS["0..1"],
            resize=Resize("letterbox"),
            quantity="points",
            ambiguity="none",
            focal_rule="solve_shift",
            validity=Validity(mask="mask"),
            scale_output="metric_scale",
            constants={"num_tokens": (1800,)},
            licence="MIT",
        ),
        "metres with K, nothing without",
    ),
    Preset(
        "depth-pro",
        "Depth Pro",
        Convention(
            size=(1536, 1536),
            input_names=_PICTURES,
            output_names=("canonical_inverse_depth", "inverse_depth", "predicted_depth"),
            scaling=SCALINGS["-1..1"],
            quantity="inverse",
            ambiguity="none",
            focal_rule="f/1536",
            licence="apple-amlr",
        ),
        "metres with K, relative without",
    ),
    Preset(
        "video-depth-anything-s",
        "Video Depth Anything S, one frame at a time",
        Convention(
            size=(518, 518),
            multiple=14,
            input_names=_PICTURES,
            output_names=("depth", "depths", "predicted_depth", "output"),
            scaling=IMAGENET,
            quantity="disparity",
            ambiguity="scale-and-shift",
            licence="Apache-2.0",
        ),
        "relative; a scale and a shift of inverse depth are unknown",
    ),
    Preset(
        "xfeat",
        "XFeat, its keypoints and descriptors",
        Convention(
            kind="features",
            size=(480, 640),
            multiple=32,
            input_names=_PICTURES,
            output_names=("feats", "descriptors", "features"),
            score_output="score",
            scaling=SCALINGS["0..1"],
            licence="Apache-2.0",
        ),
        "descriptors of 64 numbers, one for 8x8 pixels; keypoints where there is a score",
    ),
)


def find_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        DataError: there is none; names the nearest.
    """
    known = {preset.name: preset for preset in PRESETS}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
    raise DataError(f"--preset: no preset {name!r}; {hint}")
