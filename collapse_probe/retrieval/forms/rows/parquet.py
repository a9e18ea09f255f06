"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, shortened, stream
from ._arrow_rows import batch_rows, in_words, refuse_twins


def _read(peek: Peek, how: How) -> Table:
    import pyarrow.parquet as pq

    def rows() -> Iterator[Row]:
        try:
            with stream(peek) as file:
                number = 0
                parts = pq.ParquetFile(file)
                refuse_twins(parts.schema_arrow.names, peek.shown)
                for batch in parts.iter_batches():
                    for values in batch_rows(batch):
                        number += 1
                        yield Row(f"{peek.shown} row {number}", values)
        except InputError:
            raise
        except Exception as error:
            # Whatever a damaged file makes the library raise.
            raise InputError(
                f"{peek.shown}: a Parquet file that cannot be read ({in_words(error)}); make it again"
            ) from None

    first = next(rows(), None)
    return Table(FORM.name, peek.shown, True, rows, "" if first is None else shortened(str(first.values)))


FORM = Form(
    name="Parquet",
    holds="rows",
    looks="a file that begins with `PAR1`, as the Hugging Face hub keeps data sets",
    recognise=lambda peek: peek.head.startswith(b"PAR1"),
    read=_read,
)
