"""The environment of the command line, set before torch is loaded."""

from __future__ import annotations

import os

OUR_POLICY = "OMP_WAIT_POLICY" not in os.environ
"""Whether the policy is ours: a program that is run has its own environment."""

# Read by OpenMP when torch is loaded, here and in the processes that are started from here: threads that spin while
# they wait take the core that a busy neighbour needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
