# SPDX-License-Identifier: Apache-2.0
"""Multiple-view geometry in numpy and OpenCV, never torch: tracks, two views, triangulation, warps.

Its torch half is `geometry`; functions that exist in both have one name and one test.
"""
