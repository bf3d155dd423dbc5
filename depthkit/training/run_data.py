# SPDX-License-Identifier: Apache-2.0
"""The data of a run, by what its task reads."""

from depthkit.config import TrainConfig
from depthkit.training.data import RunData, open_run_data
from depthkit.training.place_data import open_place_data


def open_data(config: TrainConfig) -> RunData:
    """Open what a run learns from and is judged on.

    Raises:
        DataError: a part is missing or broken, or too little is left.
        ConfigError: no training sequence.
    """
    if config.kind.reads == "places":
        return open_place_data(config)
    return open_run_data(
        config.data,
        seed=config.run.seed,
        single_view=config.single_view,
        known_motion=config.loss.knows_motion,
        taught=config.taught_by_sweep,
    )
