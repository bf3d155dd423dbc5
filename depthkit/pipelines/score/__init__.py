# SPDX-License-Identifier: Apache-2.0
"""Scores of a model on sequences with known depth: single frames, pairs, streams."""
