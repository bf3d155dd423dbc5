# SPDX-License-Identifier: Apache-2.0
"""Loss terms: functions of tensors, each with its paper and equation."""
