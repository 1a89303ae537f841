"""Peers that are Python libraries, each in the shortest way its own documentation shows, streamed where it can.

Run by whichever interpreter has them: `python peer_libraries.py` prints which of them it has, and
`python peer_libraries.py NAME FORMAT URI TABLE FILE` lets one write the table into the file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Work = Callable[[str, str, str], None]


def pandas_csv(uri: str, table: str, file: str) -> None:
    import pandas
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect().execution_options(stream_results=True) as connection, Path(file).open("w") as sink:
        for number, chunk in enumerate(pandas.read_sql(f"SELECT * FROM {table}", connection, chunksize=50_000)):
            chunk.to_csv(sink, index=False, header=number == 0)


def duckdb_csv(uri: str, table: str, file: str) -> None:
    _duckdb(uri, table, f"'{file}' (FORMAT csv, HEADER)")


def duckdb_parquet(uri: str, table: str, file: str) -> None:
    _duckdb(uri, table, f"'{file}' (FORMAT parquet, COMPRESSION zstd)")


def _duckdb(uri: str, table: str, to: str) -> None:
    import duckdb
    import duckdb_extension_postgres_scanner as scanner

    (extension,) = Path(scanner.__file__).parent.rglob("postgres_scanner.duckdb_extension")
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(f"ATTACH '{uri}' AS source (TYPE postgres, READ_ONLY)")
        connection.execute(f"COPY (SELECT * FROM source.{table}) TO {to}")


def adbc_csv(uri: str, table: str, file: str) -> None:
    from pyarrow import csv

    # The driver gives a UUID as 16 bytes, for which that writer has no text.
    cells = "id, uid::text, note, updated_at, amount, ratio, active, code, day, payload, qty, city"
    _adbc(uri, f"SELECT {cells} FROM {table}", lambda schema: csv.CSVWriter(file, schema))


def adbc_parquet(uri: str, table: str, file: str) -> None:
    from pyarrow import parquet

    _adbc(uri, f"SELECT * FROM {table}", lambda schema: parquet.ParquetWriter(file, schema, compression="zstd"))


def _adbc(uri: str, query: str, open_writer: Callable[[Any], Any]) -> None:
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        plain = pa.schema([(field.name, getattr(field.type, "storage_type", field.type)) for field in reader.schema])
        with open_writer(plain) as writer:
            for batch in reader:
                columns = [getattr(column, "storage", column) for column in batch.columns]
                writer.write_batch(pa.record_batch(columns, schema=plain))


def connectorx_csv(uri: str, table: str, file: str) -> None:
    from pyarrow import csv

    csv.write_csv(_connectorx(uri, table), file)


def connectorx_parquet(uri: str, table: str, file: str) -> None:
    from pyarrow import parquet

    parquet.write_table(_connectorx(uri, table), file, compression="zstd")


def _connectorx(uri: str, table: str) -> Any:
    import connectorx

    return connectorx.read_sql(uri, f"SELECT * FROM {table}", return_type="arrow")


def polars_csv(uri: str, table: str, file: str) -> None:
    _polars(uri, table).write_csv(file)


def polars_parquet(uri: str, table: str, file: str) -> None:
    _polars(uri, table).write_parquet(file, compression="zstd")


def _polars(uri: str, table: str) -> Any:
    import polars

    return polars.read_database_uri(f"SELECT * FROM {table}", uri, engine="connectorx")


#: Each peer's imports and its work for each format.
PEERS: dict[str, tuple[tuple[str, ...], dict[str, Work]]] = {
    "DuckDB": (
        ("duckdb", "duckdb_extension_postgres_scanner"),
        {"csv": duckdb_csv, "parquet": duckdb_parquet},
    ),
    "ADBC": (("adbc_driver_postgresql", "pyarrow"), {"csv": adbc_csv, "parquet": adbc_parquet}),
    "Polars": (("polars", "connectorx"), {"csv": polars_csv, "parquet": polars_parquet}),
    "ConnectorX": (("connectorx", "pyarrow"), {"csv": connectorx_csv, "parquet": connectorx_parquet}),
    "pandas": (("pandas", "sqlalchemy", "psycopg"), {"csv": pandas_csv}),
}


def main(arguments: list[str]) -> None:
    """Print what is installed, or do the work and print its seconds, without those of the imports."""
    if not arguments:
        print(json.dumps([name for name, (modules, _) in PEERS.items() if all(map(find_spec, modules))]))
        return
    name, form, uri, table, file = arguments
    modules, works = PEERS[name]
    for module in modules:
        __import__(module)
    began = time.perf_counter()
    works[form](uri, table, file)
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1:])
