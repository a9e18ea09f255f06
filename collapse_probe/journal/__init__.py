"""The contract between what records and what reads: record kinds, one writer, a run to read."""

from ._config import (
    CollectionInfo,
    ModuleInfo,
    ReferenceInfo,
    RunConfig,
    StreamInfo,
    is_plain_name,
)
from ._files import atomic_write_text, fresh_folder, write_beside
from ._founding import write_run_json
from ._kinds import (
    KINDS,
    SCHEMA,
    Artifact,
    Counterfactual,
    Coverage,
    End,
    Evaluation,
    Event,
    FieldError,
    Force,
    Histogram,
    Raised,
    Readings,
    Record,
    Spectrum,
    Start,
    Summary,
    Terms,
    decode_number,
    encode_number,
)
from ._read import JournalError
from ._run import LiveRun, Run
from ._store import Series, Store
from ._writer import JournalWriter, now, write_config

__all__ = [
    "KINDS",
    "SCHEMA",
    "Artifact",
    "CollectionInfo",
    "Counterfactual",
    "Coverage",
    "End",
    "Evaluation",
    "Event",
    "FieldError",
    "Force",
    "Histogram",
    "JournalError",
    "JournalWriter",
    "LiveRun",
    "ModuleInfo",
    "Raised",
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
    "encode_number",
    "fresh_folder",
    "is_plain_name",
    "now",
    "write_beside",
    "write_config",
    "write_run_json",
]
