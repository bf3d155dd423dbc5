# SPDX-License-Identifier: Apache-2.0
"""The gate all streams share: which frame goes on from the last one, and why another does not."""

import numpy as np
import pytest

from depthkit.runtime.frame_gate import FrameGate, steady_intrinsics

SIZE = (48, 64)
K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])


def entered(stamp: float = 1.0, K: np.ndarray | None = K) -> FrameGate:
    """A gate that one frame has passed; pauses of up to half a second are no gap."""
    gate = FrameGate(0.5)
    assert gate.break_before(stamp, gate.steady(SIZE, K)) == "", "a first frame breaks nothing"
    gate.enter(stamp, gate.steady(SIZE, K))
    return gate


@pytest.mark.parametrize(
    ("stamp", "size", "factor", "reason"),
    [
        (1.5, SIZE, 1.0, ""),
        (1.1, SIZE, 1.0005, ""),
        (1.1, SIZE, 1.01, "the intrinsics changed"),
        (1.1, (24, 32), 0.5, "frames of another size: 64x48 before, 32x24 now"),
        (1.51, SIZE, 1.0, "no frame for 0.51 s, over 0.5"),
        (0.9, SIZE, 1.0, "time ran back by 0.100 s"),
        (1.0, SIZE, 1.0, "stamp 1.000000 s came before"),
    ],
)
def test_what_does_not_go_on_says_why(
    stamp: float, size: tuple[int, int], factor: float, reason: str
) -> None:
    """Time first, then size, then intrinsics; each bound by hand."""
    gate = entered()
    camera = gate.steady(size, K * [[factor], [factor], [1]])
    assert gate.break_before(stamp, camera) == reason
    assert gate.repeats(stamp) == (stamp == 1.0)


def test_a_faulty_frame_leaves_the_gate_as_it_was() -> None:
    """Only `enter` makes a frame the last one."""
    gate = entered()
    assert gate.fault_of(np.zeros((4, 4), np.uint8), 1.1).startswith("frame must be RGB")
    assert gate.fault_of(np.zeros((4, 4, 3), np.uint8), np.nan) == "stamp must be finite, got nan"
    assert gate.fault_of(np.zeros((4, 4, 3), np.uint8), 1.1) == ""
    assert gate.last_stamp == 1.0
    with pytest.raises(TypeError, match="numpy array, got list"):
        gate.fault_of([[0]], 1.1)  # type: ignore[arg-type]


def test_without_intrinsics_the_size_alone_counts() -> None:
    """A stream that is never told K sees no change of it; one that is told it suddenly does."""
    gate = entered(K=None)
    assert gate.break_before(1.1, gate.steady(SIZE, None)) == ""
    assert gate.break_before(1.1, gate.steady(SIZE, K)) == "the intrinsics changed"


def test_noise_is_steadied_and_drift_is_not() -> None:
    """The first camera is kept while the others stay within a thousandth of it."""
    first = steady_intrinsics(None, (SIZE, K))
    assert steady_intrinsics(first, (SIZE, K * [[1.0009], [1], [1]])) is first
    assert steady_intrinsics(first, (SIZE, K * [[1.0021], [1], [1]])) is not first
