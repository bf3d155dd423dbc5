# SPDX-License-Identifier: Apache-2.0
"""What this machine is, what is installed on it, and which verbs can run. Loads nothing heavy."""
