"""The contract between what records and what reads: record kinds, one writer, a run to read."""

from ._config import (
    CollectionInfo,
    ExaminedInfo,
    ModuleInfo,
    ReferenceInfo,
    RunConfig,
    StreamInfo,
    is_plain_name,
)
from ._course import SCHEMA, Artifact, Clock, End, Event, Raised, Start
from ._fields import FieldError, decode_number, encode_number
from ._files import atomic_write_text, fresh_folder, write_beside
from ._kinds import KINDS, Record
from ._rankings import LOST, RANKS, TOP, Rankings, drop_rankings, read_file, read_rankings, write_rankings
from ._read import JournalError
from ._readings import Coverage, Force, Histogram, Readings, Spectrum, Summary, Terms
from ._run import LiveRun, Run
from ._scored import Counterfactual, Evaluation
from ._store import Series, Store
from ._versions import versions_of
from ._writer import CONFIG, JOURNAL, JournalWriter, now, write_config

__all__ = [
    "CONFIG",
    "JOURNAL",
    "KINDS",
    "LOST",
    "RANKS",
    "SCHEMA",
    "TOP",
    "Artifact",
    "Clock",
    "CollectionInfo",
    "Counterfactual",
    "Coverage",
    "End",
    "Evaluation",
    "Event",
    "ExaminedInfo",
    "FieldError",
    "Force",
    "Histogram",
    "JournalError",
    "JournalWriter",
    "LiveRun",
    "ModuleInfo",
    "Raised",
    "Rankings",
    "Readings",
    "Record",
    "ReferenceInfo",
    "Run",
    "RunConfig",
    "Series",
    "Spectrum",
    "Start",
    "Store",
    "StreamInfo",
    "Summary",
    "Terms",
    "atomic_write_text",
    "decode_number",
    "drop_rankings",
    "encode_number",
    "fresh_folder",
    "is_plain_name",
    "now",
    "read_file",
    "read_rankings",
    "versions_of",
    "write_beside",
    "write_config",
    "write_rankings",
]
