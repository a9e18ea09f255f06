"""What a run of the founding system is made of: opened, encoded, trained, saved, and read again. Imports no torch."""

from ...retrieval import resolve_device
from ._evaluate import evaluate_run
from ._face import train, with_fields
from ._inputs import Inputs
from ._listener import Audience, Quiet
from ._material import open_material
from ._prepare import Preparation, prepare
from ._record import SessionRecord, recipe_config
from ._request import Request, default_cache, is_main_process
from ._train import Session, begin, resume, run_session

__all__ = [
    "Audience",
    "Inputs",
    "Preparation",
    "Quiet",
    "Request",
    "Session",
    "SessionRecord",
    "begin",
    "default_cache",
    "evaluate_run",
    "is_main_process",
    "open_material",
    "prepare",
    "recipe_config",
    "resolve_device",
    "resume",
    "run_session",
    "train",
    "with_fields",
]
