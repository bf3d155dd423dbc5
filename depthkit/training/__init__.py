# SPDX-License-Identifier: Apache-2.0
"""The training loop, its log, and trained networks at work."""
