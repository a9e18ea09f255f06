"""What an examination gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..diagnosis import Diagnosis, diagnose


@dataclass(frozen=True)
class Examination:
    """Finished models, examined.

    Attributes:
        run: The run folder that was written, which `diagnose`, `write_report` and every command read.
        models: What each model is by its settings, the one that the others began as first.
    """

    run: Path
    models: tuple[dict[str, Any], ...]

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the run."""
        return diagnose(self.run)

    @property
    def exit_code(self) -> int:
        """As of the diagnosis: 0 for healthy and warning, 1 for critical and not measured."""
        return self.diagnosis.exit_code

    @property
    def summary(self) -> str:
        """The first screen."""
        return self.diagnosis.summary

    def _repr_html_(self) -> str:
        return self.diagnosis._repr_html_()

    def __str__(self) -> str:
        return self.summary
