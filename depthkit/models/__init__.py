# SPDX-License-Identifier: Apache-2.0
"""Networks of the papers, and the checkpoints that hold them."""
