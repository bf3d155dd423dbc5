# SPDX-License-Identifier: Apache-2.0
"""The two demonstrations: films reconstructed and shipped networks, and a training from nothing."""
