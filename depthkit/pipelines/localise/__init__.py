# SPDX-License-Identifier: Apache-2.0
"""`localise`: frames of a camera that looks down, found in a georeferenced orthophoto."""
