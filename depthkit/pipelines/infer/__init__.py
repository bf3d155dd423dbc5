# SPDX-License-Identifier: Apache-2.0
"""Depth, motion and flow of a source of frames, frame by frame, into one folder."""
