# SPDX-License-Identifier: Apache-2.0
"""What a node hears: images with their calibration, motion, frames of the robot, stamps."""
