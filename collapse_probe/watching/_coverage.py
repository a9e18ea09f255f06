"""What was heard of the streams, and why others were not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..journal.vocabulary import Role
from ..recording import Recorder
from ._calls import CallListener
from ._declared import BY_HAND
from ._finder import Finder
from ._overheard import compiled_frames

HEARD_BY = 20
"""The step by which queries and documents should have been heard."""


_WANTED = {Role.query, Role.document, Role.view, Role.class_, Role.left, Role.right}
"""Roles of what a model of embeddings is trained by: a gate or a hidden layer alone says nothing of them."""


_NO_CALL = "nothing that was called could be it"

_CURE = (
    "Give query= and document=, paths of modules, or in the script: w = collapse_probe.watch(model, "
    "optimizer=optimizer), w.observe('query', q), w.observe('document', d)"
)


def one_matrix(said: str) -> str:
    """Return what is to be said where one matrix a step was heard, and no other."""
    pairs = "or reference=lambda: (model(a), model(b))"
    return f"one matrix a step was heard, {said}: nothing tells which of its rows belong together. {_CURE}; {pairs}"


_GRADED = "the loss moves some rows' query and document together and others apart, as labels would"

_GIVE = "give reference pairs that belong together"


class Coverage:
    """Explains which streams are heard.

    Args:
        recorder: What holds the streams.
        calls: What hears the calls of modules.
        finder: What looks for streams; None where the user named them.
        say: Warns the user, once for a key.
        asked: Streams that probes ask for, with the probes' names.
        read: Returns the names of the readings that there are.
    """

    def __init__(
        self,
        recorder: Recorder,
        calls: CallListener,
        finder: Finder | None,
        *,
        say: Callable[[str, str], None],
        asked: Mapping[str, str],
        read: Callable[[], Iterable[str]],
    ) -> None:
        self._asked, self._read = asked, read
        self._recorder = recorder
        self._calls = calls
        self._finder = finder
        self._say = say
        self._looking = False
        self._frames = compiled_frames()

    def looked_with(self, finder: Finder) -> None:
        """Take a finder that looks only for what could be meant by streams that are silent."""
        self._finder, self._looking = finder, True

    def silent(self) -> list[str]:
        """Return the queries and documents that should have been heard by now and were not."""
        streams = self._recorder.streams.values()
        if self._finder is not None and not self._looking:
            heard = any(stream.steps for stream in streams if stream.role in _WANTED or stream.stream == "embedding")
            return [] if heard else ["query", "document"]
        sides = [stream for stream in streams if stream.role in (Role.query, Role.document)]
        heard = any(stream.steps for stream in sides)
        return [stream.stream for stream in sides if not stream.steps and (stream.declared or not heard)]

    def cover(self) -> None:
        """Write what is heard after the first step."""
        if self._recorder.layout.unfit is not None or self._recorder.layout.graded.found:
            self.explain()
        self._recorder.cover()

    def warn_unheard(self) -> None:
        """Write what is heard, and warn of queries and documents that are not."""
        silent = self.silent()
        heard = self._finder.candidates() if self._finder is not None else []
        for stream in silent:
            side = None if stream in self._recorder.streams else Role(stream)
            self._recorder.declare(stream, role=side, candidates=heard[:10])
        self.explain()
        if silent:
            whys = dict.fromkeys(self._recorder.streams[stream].why for stream in silent)
            what = f"heard instead: {', '.join(heard[:6])}" if heard else self._nothing()
            known = "; ".join([*(why for why in whys if why != _NO_CALL), what])
            self._say("unheard", f"no {' and no '.join(silent)} was heard in {HEARD_BY} steps: {known}. {_CURE}")
        self._recorder.cover()

    def _nothing(self) -> str:
        if not self._compiled():
            return "nothing was heard that could be meant"
        return (
            "compiled code ran, inside of which nothing is heard: compile the model alone before watch(), not the step "
            "around it, or return the vectors from the step"
        )

    def _compiled(self) -> bool:
        """Return whether anything was compiled since the watch began."""
        return compiled_frames() > self._frames

    def explain(self) -> None:
        """Say of each stream that was not heard why it was not, and of pairs which document is whose."""
        self._explain_order()
        self._explain_asked()
        for stream in self._recorder.streams.values():
            if not stream.steps and not stream.why:
                stream.why = self._why_unheard(stream.stream, stream.where)
        self._explain_rows()
        if self._recorder.layout.graded.settle():
            self._recorder.declare("pairs", where="rows of a batch", rule="by the gradients", why=_GRADED)
            self._say("pairs", f"batches are not read as pairs: {_GRADED}; {_GIVE}")

    def _explain_rows(self) -> None:
        layout = self._recorder.layout
        layout.settle()
        if layout.unfit is not None:
            rows, many = layout.unfit
            why = f"{many} documents are no multiple of {rows} queries"
            if rows % many == 0:
                why += ", but the other way round they are: is the document called first?"
            self._recorder.declare("pairs", where=f"{rows} queries and {many} documents", rule="rows", why=why)
            if not layout.undecided:
                self._say("pairs", f"batches are not read as pairs: {why}")
        elif layout.shared:
            known = self._recorder.declare("pairs", where="queries, and more documents that are no multiple of them")
            known.rule, known.why = "by the gradients: row i, and negatives of all behind these", ""

    def _explain_asked(self) -> None:
        read = {name.rpartition("/")[0] for name in self._read()}
        for stream, probes in self._asked.items():
            if stream not in read and stream not in self._recorder.streams:
                self._recorder.declare(stream, where=f"probe {probes}", rule="asked for", why="asked for, never heard")

    def _explain_order(self) -> None:
        layout = self._recorder.layout
        if layout.rows is None:
            return
        told = layout.told()
        known = self._recorder.declare("pairs", where="{} queries and {} documents".format(*layout.rows))
        if told is not None:
            known.steps, known.rule, known.why = layout.batches, f"by the gradients: {told}", ""
        elif not known.why:
            known.rule = "assumed"
            known.why = f"nothing tells which document is whose: taken is {layout.assumed}"
            self._say("order of pairs", f"batches of {known.where}: {known.why}")

    def _why_unheard(self, stream: str, where: str) -> str:
        calls = self._calls.called[stream]
        if calls:
            return f"no backward came through any of its {calls} calls"
        if where == BY_HAND:
            return "observe() was never called with it"
        if not where:
            return _NO_CALL
        return "no call of it was heard (a model that is compiled after watch() is not: compile it before)"
