"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, shortened, stream


def _read(peek: Peek, how: How) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def rows() -> Iterator[Row]:
        try:
            with stream(peek) as file:
                number = 0
                for batch in pq.ParquetFile(file).iter_batches():
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(f"{peek.shown} row {number}", values)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{peek.shown}: a Parquet file that cannot be read ({_line(error)}); make it again"
            ) from None

    first = next(rows(), None)
    return Table(FORM.name, peek.shown, True, rows, "" if first is None else shortened(str(first.values)))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


FORM = Form(
    name="Parquet",
    holds="rows",
    looks="a file that begins with `PAR1`, as the Hugging Face hub keeps data sets",
    recognise=lambda peek: peek.head.startswith(b"PAR1"),
    read=_read,
)
