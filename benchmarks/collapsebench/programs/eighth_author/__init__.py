"""Programs of an eighth author, who had read what the kinds mean and what users report, not how anything is judged.

Every program trains its clean twin with ``planted=False``. Kinds and causes were written down before any program ran.
"""

from . import (  # noqa: F401
    collapses,
    corrections,
    geometry,
    healthy_losses,
    healthy_rates,
    healthy_vectors,
    learning,
    losses,
    paths,
)
