# SPDX-License-Identifier: Apache-2.0
"""Inputs of a node: images with their calibration, motion, frames of the robot, stamps."""
