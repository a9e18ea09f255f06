"""One process that has imported what a training needs, for all programs that are run here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running.serving import Server, serving


@pytest.fixture(scope="session")
def trains() -> Iterator[Server]:
    """Runs programs that train."""
    with serving("trains") as found:
        yield found
