# SPDX-License-Identifier: Apache-2.0
"""The schema of `depthkit train`: documented, loadable, and every shipped file fits it."""

from pathlib import Path

import pytest

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import field_help, load_config, to_yaml
from depthkit.errors import ConfigError
from depthkit.multiview.plane_sweep import NEAREST

CHECKOUT = Path(__file__).resolve().parent.parent
# Those of ROS hold parameters of nodes: tests/ros/test_launch_files.py reads them.
SHIPPED = sorted(set((CHECKOUT / "configs").rglob("*.yaml")) - set(CHECKOUT.glob("configs/ros/*")))


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
    """Every YAML under configs/ that trains loads."""
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
        ("data.random_shift=-1", "--set data.random_shift: 0 or more"),
        ("data.random_shift=6", "random_shift: varies one nominal shift"),
        ("model.width=0", "--set model.width: above 0"),
        ("coop.least_share=0", "least_share: above 0, below 0.15, got 0"),
        ("coop.least_share=0.15", "least_share: above 0, below 0.15, got 0.15"),
        ("supervised.loss=l3", "--set supervised.loss: expected one of 'l1'"),
        ("supervised.scale_weights=[]", "--set supervised.scale_weights: "),
        ("supervised.scale_weights=[0,1]", "the finest above 0"),
        ("supervised.nominal_baseline=0", "--set supervised.nominal_baseline: above 0"),
        ("supervised.edge_weight=-1", "--set supervised.edge_weight: 0 or more"),
    ],
)
def test_nonsense_is_refused_by_name(override: str, message: str) -> None:
    """A value no run can use names its key."""
    with pytest.raises(ConfigError, match=".") as caught:
        load_config(TrainConfig, None, [override])
    assert message in str(caught.value)


PAIR = ["task=supervised_pair", "model.depth=depthnet", "data.shifts=[-3]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=supervised_pair"], "set model.depth: depthnet"),
        (["task=shading"], "set model.depth: shading"),
        (["model.depth=depthnet"], "does not fit task view_synthesis; set model.depth: resnet18"),
        ([*PAIR, "data.shifts=[-3,3]"], "data.shifts: a pair has one source"),
        ([*PAIR, "data.shifts=auto"], "data.shifts: a pair has one source"),
        ([*PAIR, "optimizer.batch_size=1"], "two pairs a process at least"),
        (["data.shifts=[-3]", "data.random_shift=6"], "for task supervised_pair only"),
        (
            [*PAIR, "model.depth=sweepnet", f"supervised.nominal_baseline={NEAREST}"],
            "supervised.nominal_baseline: below 1 m for a sweepnet",
        ),
    ],
)
def test_tasks_and_networks_that_do_not_fit_are_refused(words: list[str], message: str) -> None:
    """What belongs together is checked together."""
    with pytest.raises(ConfigError, match=".") as caught:
        load_config(TrainConfig, None, words)
    assert message in str(caught.value)


def test_ground_contact_needs_a_mask() -> None:
    """Without one nothing is said to move; with one, or without the term, all is well."""
    words = ["task=coop", "coop.contact_weight=0.5"]
    with pytest.raises(ConfigError, match="contact_weight: needs a mask"):
        load_config(TrainConfig, None, [*words, "coop.mask=none"])
    assert load_config(TrainConfig, None, words).coop.contact_weight == 0.5
    assert load_config(TrainConfig, None, ["task=coop", "coop.mask=none"]).coop.mask == "none"
    assert load_config(TrainConfig, None, ["coop.least_share=0.14"]).coop.least_share == 0.14


def test_stages_survive_writing_and_reading(tmp_path: Path) -> None:
    """Words with brackets and commas come back from YAML as they were."""
    stages = "stages=[['data.size=[64, 64]', optimizer.steps=10], ['data.train=[a_*]']]"
    config = load_config(TrainConfig, None, [stages])
    assert config.stages == (("data.size=[64, 64]", "optimizer.steps=10"), ("data.train=[a_*]",))
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(TrainConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_stages_of_shipped_files_fit(path: Path) -> None:
    """Every stage of every YAML under configs/ loads."""
    from depthkit.training.curriculum import stage_configs

    assert stage_configs(load_config(TrainConfig, path))
