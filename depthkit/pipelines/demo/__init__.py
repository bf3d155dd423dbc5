# SPDX-License-Identifier: Apache-2.0
"""The two demonstrations: shipped networks on fresh flights, and a training from nothing."""
