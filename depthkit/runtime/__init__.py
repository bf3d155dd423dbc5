# SPDX-License-Identifier: Apache-2.0
"""What runs on the robot: numpy and OpenCV, never torch."""
