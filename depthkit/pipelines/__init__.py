# SPDX-License-Identifier: Apache-2.0
"""Whole jobs as functions of typed options that return records: what a Python user imports.

The command line only parses and prints. Importing this package loads neither torch nor OpenCV.
"""
