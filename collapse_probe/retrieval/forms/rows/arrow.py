"""Arrow files, and data sets that `datasets` saved to disk."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, shortened, stream
from ._arrow_rows import batch_rows, in_words, refuse_twins
from .data_files import only_split

_MARKS = (b"ARROW1", b"\xff\xff\xff\xff")


def _read_file(peek: Peek, how: How) -> Table:
    import pyarrow as pa

    def rows() -> Iterator[Row]:
        try:
            with stream(peek) as file:
                kind = pa.ipc.open_file if peek.head.startswith(b"ARROW1") else pa.ipc.open_stream
                table = kind(file).read_all()
                refuse_twins(table.schema.names, peek.shown)
                # Reading a damaged one without this can end the process.
                table.validate(full=True)
                values = (row for batch in table.to_batches() for row in batch_rows(batch))
                for number, row in enumerate(values, start=1):
                    yield Row(f"{peek.shown} row {number}", row)
        except InputError:
            raise
        except Exception as error:
            # Whatever a damaged file makes the library raise.
            raise InputError(
                f"{peek.shown}: an Arrow file that cannot be read ({in_words(error)}); save it again"
            ) from None

    return _table("Arrow file", peek, rows)


def _read_saved(peek: Peek, how: How) -> Table:
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(str(peek.path))
    except Exception as error:
        raise InputError(
            f"{peek.shown}: a saved data set that cannot be read ({in_words(error)}); save it again"
        ) from None
    name = peek.shown
    if isinstance(saved, DatasetDict):
        chosen = how.split if how.split in saved else only_split(list(saved))
        if chosen is None:
            raise InputError(
                f"{peek.shown}: a saved data set without split {how.split!r}; it has {', '.join(saved)}: "
                f"give {peek.shown.rstrip('/')}/{next(iter(saved))}"
            )
        saved, name = saved[chosen], f"{peek.shown} ({chosen})"

    def rows() -> Iterator[Row]:
        for number, values in enumerate(saved.with_format(None), start=1):
            yield Row(f"{name} row {number}", dict(values))

    return _table("Arrow data set", peek, rows)


def _table(form: str, peek: Peek, rows) -> Table:
    first = next(rows(), None)
    return Table(form, peek.shown, True, rows, "" if first is None else shortened(str(first.values)))


FILE = Form(
    name="Arrow file",
    holds="rows",
    looks="one `.arrow` file, of the file or the stream kind",
    recognise=lambda peek: peek.head.startswith(_MARKS),
    read=_read_file,
)
SAVED = Form(
    name="Arrow data set",
    holds="rows",
    looks="a folder that `Dataset.save_to_disk` made; of several splits `train` is read as pairs",
    recognise=lambda peek: (
        peek.is_folder
        and ("dataset_dict.json" in peek.members or {"dataset_info.json", "state.json"} <= set(peek.members))
    ),
    read=_read_saved,
)
