# SPDX-License-Identifier: Apache-2.0
"""Names a run that learns nothing, with its likely cause: the loss can fall without any learning.

The task measures (`health/...` terms); this file knows what the numbers mean.
"""

from collections.abc import Mapping

_PATIENCE = 10
"""Logged steps in a row before a symptom is named: early networks are flat and still."""

LEAST_SPREAD = 0.03
"""Standard deviation of log depth over an image, below which depth counts as constant. A wall seen
5 degrees off its normal through a lens of 60 degrees has this much: tan(5) * tan(30) / sqrt(3)."""

_SYMPTOMS = (
    (
        "still video",
        "health/identity_error",
        lambda x: x < 0.004,
        "target and sources are nearly the same picture; the camera stands still or the shifts are "
        "too small: run 'depthkit inspect' and set data.shifts",
    ),
    (
        "dead mask",
        "health/kept",
        lambda x: x < 0.05,
        "almost no pixel teaches; unwarped sources explain the target best (too little motion, or "
        "objects moving with the camera): set larger data.shifts, or loss.auto_mask=false to see",
    ),
    (
        "identity pose",
        "health/displacement",
        lambda x: x < 0.1,
        "predicted motion moves pixels by less than 0.1; the video may only rotate or stand still, "
        "or the learning rate is too low: run 'depthkit inspect'",
    ),
    (
        "flat depth",
        "health/depth_spread",
        lambda x: x < LEAST_SPREAD,
        "depth is almost constant over the image; too little parallax (rotation only), a wrong K, "
        "or too much smoothness: run 'depthkit inspect', lower loss.smoothness_weight",
    ),
    (
        "left the view",
        "health/in_view",
        lambda x: x < 0.3,
        "most target pixels land outside the sources; shifts too large or a diverged pose network: "
        "set smaller data.shifts or a lower optimizer.learning_rate",
    ),
    (
        "no parallax",
        "health/parallax",
        lambda x: x < 0.05,
        "of what moves in the picture, the camera's translation makes next to nothing; a camera "
        "that only turns teaches no depth: run 'depthkit inspect', use clips that travel",
    ),
    (
        "nothing static",
        "health/static",
        lambda x: x < 0.4,
        "most pixels are taken for moving and teach depth nothing; depth and motion have not "
        "learnt yet, or diverged: set a longer coop.warmup_steps",
    ),
)


def find_constant(scores: Mapping[str, float]) -> str | None:
    """Return a warning where the last validation shows that a run has learnt a constant.

    Args:
        scores: of `validate`; `val/depth_spread` is missing for tasks without depth.
    """
    spread = scores.get("val/depth_spread", LEAST_SPREAD)
    if spread >= LEAST_SPREAD:
        return None
    return (
        f"warning: constant depth (depth_spread {spread:.2g}): the network predicts nearly the "
        "same depth for every pixel, so it has learnt nothing yet; train for more steps, and if "
        "it stays so run 'depthkit inspect' on the data (parallax, K)"
    )


class HealthMonitor:
    """Counts how long each symptom has lasted and names each once."""

    def __init__(self) -> None:
        self.lasted = {name: 0 for name, *_ in _SYMPTOMS}

    def look(self, terms: Mapping[str, float]) -> list[str]:
        """Return a line for each symptom that has just lasted too long."""
        named = []
        for name, key, is_bad, cause in _SYMPTOMS:
            if key not in terms:
                continue
            self.lasted[name] = self.lasted[name] + 1 if is_bad(terms[key]) else 0
            if self.lasted[name] == _PATIENCE:
                named.append(f"{name} ({key.removeprefix('health/')} {terms[key]:.3g}): {cause}")
        return named
