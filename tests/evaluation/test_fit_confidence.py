# SPDX-License-Identifier: Apache-2.0
"""The script that fits the confidence of the sweep, on errors whose quantile is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
WEIGHTS = np.array([-2.0, 0.7])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "scripts" / "sweep"))
    import fit_confidence

    return fit_confidence


def samples(script: Any, *, seed: int = 0, longer: float = 1.0, weight: float = 1.0) -> Any:
    """Errors uniform in the logarithm, 90 % of them below the line of the weights."""
    rng = np.random.default_rng(seed)
    cues = np.stack([np.ones(20000), rng.uniform(-1, 1, 20000)], axis=1)
    logs = cues @ WEIGHTS + rng.uniform(-0.9, 0.1, 20000)
    return script.Samples(cues, longer * (np.exp(logs) - script.FLOOR), weight)


def test_the_fit_finds_the_quantile(script: Any) -> None:
    """The line below which 90 % of the log errors lie comes back, and so does its coverage."""
    one = samples(script)
    weights = script.fit([one])
    np.testing.assert_allclose(weights, WEIGHTS, atol=0.02)
    # The floor of 0.005 lets in 4 % more: the mean of 0.005 / exp(line), by the density of 1.
    assert script.worth(one, weights)[0] == pytest.approx(0.94, abs=0.01)


def test_a_scene_counts_by_its_weight(script: Any) -> None:
    """A scene of larger errors moves the fit the more, the more it weighs."""
    usual = samples(script)
    light, heavy = (samples(script, seed=1, longer=1.5, weight=w) for w in (0.5, 5.0))
    lifts = [script.fit([usual, other])[0] - WEIGHTS[0] for other in (light, heavy)]
    assert 0.02 < lifts[0] < lifts[1] - 0.05


def test_the_scale_of_a_frame_is_that_of_its_good_pixels(script: Any) -> None:
    """Depth 10 % too long where the match is good gives log 1.1, whatever the other pixels say."""
    truth = np.full((40, 50), 2.0, np.float32)
    good = np.arange(40)[:, None] < np.full(50, 20)
    inverse = np.where(good, 1 / 2.2, 7.0).astype(np.float32)
    assert script.scale_of(inverse, truth, good) == pytest.approx(np.log(1.1), abs=1e-5)
    assert script.scale_of(inverse, np.zeros_like(truth), good) == 0
