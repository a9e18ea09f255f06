"""Schedules as objects."""

from __future__ import annotations

import pytest

from collapse_probe.recording import Schedule


def test_step_zero_is_always_due():
    assert Schedule()(0) and Schedule(interval=7)(0) and Schedule(base=3)(0)


def test_an_empty_schedule_has_nothing_else_due():
    assert not any(Schedule()(step) for step in range(1, 200))


def test_powers_are_exactly_the_powers():
    assert [s for s in range(1, 100) if Schedule(base=3)(s)] == [1, 3, 9, 27, 81]


@pytest.mark.parametrize(("arguments", "message"), [({"interval": 0}, "every = 0"), ({"base": 1}, "powers_of = 1")])
def test_schedules_without_meaning_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**arguments)
