# SPDX-License-Identifier: Apache-2.0
"""Camera motion of a source of frames without any network: trajectory, points, report."""
