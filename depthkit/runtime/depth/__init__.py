# SPDX-License-Identifier: Apache-2.0
"""Depth of a stream of frames: engine, choice of earlier frames, fusion, confidence."""
