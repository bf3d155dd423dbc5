# SPDX-License-Identifier: Apache-2.0
"""Optical flow of a stream of frames, and which pixels move by themselves."""
