"""What was heard of the streams, and why others were not."""

from __future__ import annotations

from collections.abc import Callable

from ..journal.vocabulary import Role
from ..recording import Recorder
from ._calls import CallListener
from ._finder import Finder

HEARD_BY = 20
"""The step by which queries and documents should have been heard."""

_UNHEARD = (
    "no call of it had a backward come through it (nothing is heard of a model that is compiled after watch(): compile "
    "it before)"
)


class Coverage:
    """Explains which streams are heard.

    Args:
        recorder: What holds the streams.
        calls: What hears the calls of modules.
        finder: What looks for streams; None where the user named them.
        say: Warns the user, once for a key.
    """

    def __init__(
        self, recorder: Recorder, calls: CallListener, finder: Finder | None, *, say: Callable[[str, str], None]
    ) -> None:
        self._recorder = recorder
        self._calls = calls
        self._finder = finder
        self._say = say

    def warn_unheard(self) -> None:
        """Write what is heard, and warn where neither query nor document is."""
        self.explain()
        if self._finder is None and not any(stream.declared for stream in self._recorder.streams.values()):
            return  # nobody asked for streams: the founding system without its probes
        roles = {stream.role for stream in self._recorder.streams.values() if stream.steps}
        if not roles & {Role.query, Role.document, Role.view, Role.left, Role.class_} and not any(
            stream.steps for stream in self._recorder.streams.values()
        ):
            heard = self._finder.candidates() if self._finder is not None else self._unheard()
            what = "; heard instead: " + ", ".join(heard[:6]) if heard else ""
            for side in ("query", "document"):
                self._recorder.declare(side, role=Role(side), candidates=heard[:10])
            self.explain()
            self._say(
                "unheard",
                f"no query and no document was heard in {HEARD_BY} steps{what}. Give query= and document= (module "
                "paths), or hand them over: w.observe('query', q)",
            )
        self._recorder.cover()

    def explain(self) -> None:
        """Say of each stream that was not heard why it was not."""
        for stream in self._recorder.streams.values():
            if not stream.steps and not stream.why:
                stream.why = self._calls.unread.get(stream.stream, _UNHEARD)
        if self._recorder.layout.unfit is not None:
            rows, many = self._recorder.layout.unfit
            self._recorder.declare("pairs", where=f"{rows} queries and {many} documents", rule="rows")
            self._recorder.streams["pairs"].why = f"{many} documents are no multiple of {rows} queries"

    def _unheard(self) -> list[str]:
        return [f"{s.stream}: {s.why}" for s in self._recorder.streams.values() if s.why]
