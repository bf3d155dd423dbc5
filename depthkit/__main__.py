# SPDX-License-Identifier: Apache-2.0
"""`python -m depthkit` is the `depthkit` program."""

from depthkit.cli import main

if __name__ == "__main__":  # a spawned worker imports this file again and must not run it
    raise SystemExit(main())
