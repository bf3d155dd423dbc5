# SPDX-License-Identifier: Apache-2.0
"""Synthetic worlds with exact truth. `boxes` needs numpy alone and is what demo and tests use."""
