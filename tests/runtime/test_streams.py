# SPDX-License-Identifier: Apache-2.0
"""The protocols hold: what pipelines and nodes call is what each stream offers."""

import inspect

import pytest

from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.odometry.odometry_engine import OdometryEngine
from depthkit.runtime.streams import DepthSource, Odometry


@pytest.mark.parametrize(
    ("protocol", "stream"), [(DepthSource, DepthStream), (Odometry, OdometryEngine)]
)
def test_streams_offer_what_their_protocol_says(protocol: type, stream: type) -> None:
    """Each method has the protocol's parameters, by the same names and of the same kinds."""
    methods = [name for name in vars(protocol) if inspect.isfunction(vars(protocol)[name])]
    wanted = [name for name in methods if not name.startswith("_")]
    assert sorted(wanted) == ["process", "reset"]
    for name in wanted:
        asked = inspect.signature(vars(protocol)[name]).parameters
        offered = inspect.signature(getattr(stream, name)).parameters
        for parameter in asked.values():
            assert offered[parameter.name].kind == parameter.kind
        extra = [one for key, one in offered.items() if key not in asked]
        assert all(one.default is not inspect.Parameter.empty for one in extra)
