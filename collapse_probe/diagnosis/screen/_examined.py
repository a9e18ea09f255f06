"""Which finished models a run was made of, for the first screen."""

from __future__ import annotations

from ...journal import RunConfig
from ._words import clean

_NAMED = 3

_OF_ANOTHER = ("architecture ", "weights unlike ")
_NOT_PUT_BACK = (*_OF_ANOTHER, "dimensions ", "type of weights ")
"""What a model is rather than how it is used."""


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
    said = [clean(first.name)]
    if others:
        last = others[-1]
        step = f" (step {last.step:,})" if last.counted else ""
        said = [f"{clean(last.name)}{step} against {clean(first.name)}"]
    if len(others) > 1:
        between = ", ".join(clean(one.name) for one in others[:-1][:_NAMED])
        more = f" and {len(others) - 1 - _NAMED} more" if len(others) - 1 > _NAMED else ""
        said.append(f"between them {between}{more}")
    if others and last.differs:
        said.append(f"other than there: {', '.join(clean(one, length=60) for one in last.differs[:_NAMED])}")
    said += [clean(one, length=150) for one in config.remarks]
    return "; ".join(said)


def settings_to_put_back(config: RunConfig) -> str:
    """Return what the judged model is used with that the first is not: that alone may be what fell, and no training.

    >>> from collapse_probe.journal import ExaminedInfo
    >>> mine = ExaminedInfo(name="mine", step=1, differs=["pooling cls (mean)", "dimensions 32 (64)"])
    >>> settings_to_put_back(RunConfig(name="x", examined=(ExaminedInfo(name="MiniLM", step=0), mine)))
    "pooling cls (mean): put the base's back and examine again, before the training is blamed"
    """
    differs = config.examined[-1].differs if config.examined else []
    if any(one.startswith("architecture ") for one in differs):
        # All of its settings are of another model, which did not begin as the first.
        return ""
    found = [one for one in differs if not one.startswith(_NOT_PUT_BACK)]
    if not any(one.startswith("similarity ") for one in found):
        # Under a cosine the length of a vector changes nothing.
        found = [one for one in found if not one.startswith("unit length ")]
    if not found:
        return ""
    named = ", ".join(clean(one, length=60) for one in found[:_NAMED])
    return f"{named}: put the base's back and examine again, before the training is blamed"


def another_origin(config: RunConfig) -> str:
    """Return why the judged model did not begin as the first, so that a fall between them is no training's; else empty.

    >>> from collapse_probe.journal import ExaminedInfo
    >>> mine = ExaminedInfo(name="mine", step=1, differs=["architecture qwen2 (bert)"])
    >>> another_origin(RunConfig(name="x", examined=(ExaminedInfo(name="MiniLM", step=0), mine)))
    'mine did not begin as MiniLM (architecture qwen2 (bert)): give what it began as'
    """
    if not config.examined:
        return ""
    first, last = config.examined[0], config.examined[-1]
    told = next((one for one in last.differs if one.startswith(_OF_ANOTHER)), "")
    named = f"{clean(last.name)} did not begin as {clean(first.name)} ({clean(told, length=60)})"
    return f"{named}: give what it began as" if told else ""


def weights_are_the_first_ones(config: RunConfig) -> bool:
    """Return whether the judged model has the weights of the first, bit for bit, so that none was trained."""
    models = config.session.get("models")
    last = models[-1] if isinstance(models, list) and models else None
    return isinstance(last, dict) and last.get("equal") is True
