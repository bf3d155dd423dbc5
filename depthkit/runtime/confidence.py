# SPDX-License-Identifier: Apache-2.0
"""How far each depth can be believed, from the frames it was made of and no further network."""

import numpy as np

from depthkit.runtime.fusion import Fused


def confidence_map(fused: Fused) -> np.ndarray:
    """Return the confidence of a fused map. (H, W) float32, 0 to 1"""
    return fused.weight
