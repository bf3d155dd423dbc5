# SPDX-License-Identifier: Apache-2.0
"""The errors' family and the check of shapes at a function's door."""

import numpy as np
import pytest

from depthkit import errors
from depthkit.errors import DepthkitError, ShapeError, check_shape


@pytest.mark.parametrize(
    "name", ["ConfigError", "DataError", "CheckpointError", "EngineError", "TrainingError"]
)
def test_known_errors_are_one_family(name):
    """The command line catches one base class and prints one line."""
    assert issubclass(getattr(errors, name), DepthkitError)


def test_wrong_shape_is_the_callers_bug():
    """A shape error keeps its traceback: it is no DepthkitError."""
    assert issubclass(ShapeError, ValueError) and not issubclass(ShapeError, DepthkitError)


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [
        ((2, 3, 4, 5), "B 3 H W"),
        ((2, 1, 4, 5), "B 1 H W"),
        ((7,), "N"),
        ((3, 3), "N N"),
        ((4, 4), "... 4 4"),
        ((9, 8, 4, 4), "... 4 4"),
        ((3,), "... 3"),
        ((2, 5, 6), "... N 6"),
        ((0, 3), "B 3"),
    ],
)
def test_fitting_shapes_pass(shape, pattern):
    """Numbers match themselves, letters anything, three dots any number of leading axes."""
    assert check_shape("f: x", np.zeros(shape), pattern) is None


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [
        ((2, 4, 4, 5), "B 3 H W"),
        ((3, 4, 5), "B 3 H W"),
        ((1, 2, 3, 4, 5), "B 3 H W"),
        ((), "N"),
        ((3, 4), "N N"),
        ((4,), "... 4 4"),
        ((), "... 3"),
        ((4, 3), "... 4 4"),
        ((2,), "... 2 2 2"),
        ((2, 2), "... 2 2 2"),
    ],
)
def test_other_shapes_are_refused(shape, pattern):
    """Too few, too many, another size, or two sizes under one letter."""
    with pytest.raises(ShapeError):
        check_shape("f: x", np.zeros(shape), pattern)


def test_message_says_where_what_was_expected_and_what_came():
    """The template of the style guide, word for word."""
    with pytest.raises(ShapeError) as caught:
        check_shape("warp_to_target: depth", np.zeros((4, 128, 416)), "B 1 H W")
    assert str(caught.value) == "warp_to_target: depth must be (B, 1, H, W), got (4, 128, 416)"


def test_a_number_without_axes_can_be_asked_for():
    """An empty pattern is the shape of a single number."""
    check_shape("f: x", np.zeros(()), "")
    with pytest.raises(ShapeError):
        check_shape("f: x", np.zeros(3), "")
