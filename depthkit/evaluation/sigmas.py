# SPDX-License-Identifier: Apache-2.0
"""Whether an odometry knows how good it is: its errors over the sigmas that it wrote.

The normalised estimation error squared (NEES) of position and of rotation, each by one standard
deviation: the root of its summed variances. Its mean is 1 where the sigmas are right, above where
they promise too much [Bar-Shalom et al., Estimation with Applications, 2001, section 5.4].
"""

from dataclasses import dataclass

import numpy as np

from depthkit.evaluation.relative import log_angle
from depthkit.trajectory import inverse

WITHIN = 2.0
"""Sigmas within which errors are counted: about 95 of 100 where one direction rules the error, more
where all three are alike."""


@dataclass(frozen=True)
class SigmaCheck:
    """Errors of the poses against the first, over their sigmas."""

    poses: int
    """Poses with a sigma, the first left out."""
    position: float
    """Mean squared error of the position over its variance."""
    rotation: float
    """The same of the rotation."""
    position_within: float
    """Share of the poses whose position is off by less than twice its sigma."""
    rotation_within: float
    """The same of the rotation."""


def check_sigmas(
    reference: np.ndarray, estimate: np.ndarray, sigma: np.ndarray, *, scale: float = 1.0
) -> SigmaCheck | None:
    """Compare errors with the sigmas that were promised for them.

    Poses are taken against the first one, as the sigmas are; an alignment does not matter then, but
    for its scale.

    Args:
        reference: true poses, the first is the start. (N, 4, 4)
        estimate: the same poses as estimated, in metres. (N, 4, 4)
        sigma: standard deviation of position, in the estimate's own unit, and of rotation, radians;
            NaN where none was given. (N, 2)
        scale: metres per unit of the sigmas.

    Returns:
        The figures; None where no pose behind the first has sigmas.
    """
    error = inverse(inverse(estimate[0]) @ estimate) @ (inverse(reference[0]) @ reference)
    known = (np.isfinite(sigma) & (sigma > 0)).all(axis=1)
    known[0] = False
    if not known.any():
        return None
    position = np.linalg.norm(error[known, :3, 3], axis=1) / (scale * sigma[known, 0])
    rotation = log_angle(error[known, :3, :3]) / sigma[known, 1]
    return SigmaCheck(
        poses=int(known.sum()),
        position=float(np.mean(position**2)),
        rotation=float(np.mean(rotation**2)),
        position_within=float(np.mean(position < WITHIN)),
        rotation_within=float(np.mean(rotation < WITHIN)),
    )
