# SPDX-License-Identifier: Apache-2.0
"""Scores of depth and odometry, in numpy: predictions are passed in, no network runs here."""
