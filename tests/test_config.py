# SPDX-License-Identifier: Apache-2.0
"""The schema of `depthkit train`: documented, loadable, and every shipped file fits it."""

from pathlib import Path

import pytest

from depthkit.config import TrainConfig
from depthkit.errors import ConfigError
from depthkit.strict_yaml import field_help, load_config, to_yaml

CHECKOUT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((CHECKOUT / "configs").rglob("*.yaml"))


def test_every_key_is_documented() -> None:
    """A key without a docstring under it is no key a user can find."""
    rows = list(field_help(TrainConfig))
    assert len(rows) > 20
    assert [row.name for row in rows if not row.doc] == []


def test_every_key_can_be_set_to_its_own_default() -> None:
    """The help's default text is a value that the loader takes for that key."""
    words = [f"{row.name}={row.default}" for row in field_help(TrainConfig)]
    given = [word for word in words if not word.endswith("=required")]
    assert load_config(TrainConfig, None, given) == load_config(TrainConfig, None)


def test_defaults_survive_writing_and_reading(tmp_path: Path) -> None:
    """The resolved file in a run folder is the configuration that ran."""
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(TrainConfig()), encoding="utf-8")
    assert load_config(TrainConfig, path) == TrainConfig()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_fits_the_schema(path: Path) -> None:
    """Every YAML under configs/ loads."""
    load_config(TrainConfig, path)


def test_shifts_can_be_left_to_the_inspection() -> None:
    """`auto` is a choice of its own, not a list of letters."""
    assert load_config(TrainConfig, None, ["data.shifts=auto"]).data.shifts == "auto"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.shift=[1]", "--set data.shift: unknown key; did you mean 'shifts'"),
        ("data.shifts=[0]", "--set data.shifts: "),
        ("data.shifts=[]", "--set data.shifts: "),
        ("data.size=[0,0]", "--set data.size: "),
        ("model.depth=resnet19", "did you mean 'resnet18'"),
        ("optimizer.learning_rate=fast", "expected a number, got fast"),
    ],
)
def test_nonsense_is_refused_by_name(override: str, message: str) -> None:
    """A value no run can use names its key."""
    with pytest.raises(ConfigError, match=".") as caught:
        load_config(TrainConfig, None, [override])
    assert message in str(caught.value)
