"""The contract between what records and what reads: record kinds, an append-only writer, a read-only run."""

from ._files import atomic_write_text, fresh_folder
from ._records import KINDS, SCHEMA, decode_number, encode_number
from ._run import JournalError, Run
from ._writer import JournalWriter, write_run_json

__all__ = [
    "KINDS",
    "SCHEMA",
    "JournalError",
    "JournalWriter",
    "Run",
    "atomic_write_text",
    "decode_number",
    "encode_number",
    "fresh_folder",
    "write_run_json",
]
