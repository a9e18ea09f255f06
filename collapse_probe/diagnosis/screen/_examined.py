"""Which finished models a run was made of, for the first screen."""

from __future__ import annotations

from ...journal import RunConfig
from ._words import clean

_NAMED = 3


def examined(config: RunConfig) -> str:
    """Return the models, how the judged one differs from the first, and what was left out; empty for a training.

    >>> from collapse_probe.journal import ExaminedInfo
    >>> models = (ExaminedInfo(name="MiniLM", step=0), ExaminedInfo(name="mine", step=1))
    >>> examined(RunConfig(name="x", examined=models))
    'mine against MiniLM'
    """
    if not config.examined:
        return ""
    first, *others = config.examined
    if not others:
        return clean(first.name)
    last = others[-1]
    step = f" (step {last.step:,})" if last.counted else ""
    said = [f"{clean(last.name)}{step} against {clean(first.name)}"]
    if len(others) > 1:
        between = ", ".join(clean(one.name) for one in others[:-1][:_NAMED])
        more = f" and {len(others) - 1 - _NAMED} more" if len(others) - 1 > _NAMED else ""
        said.append(f"between them {between}{more}")
    if last.differs:
        said.append(f"other than there: {', '.join(clean(one, length=60) for one in last.differs[:_NAMED])}")
    said += [clean(one, length=150) for one in config.remarks]
    return "; ".join(said)
