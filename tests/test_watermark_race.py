"""Under load from every side no row is lost or doubled by us; the naive ways lose rows, so the race can show it."""

from pathlib import Path

from mariadb_server import MariaDB
from postgres_server import Postgres
from watermark_race import race_on_mariadb, race_on_postgres, table_of


def test_no_row_is_lost_or_doubled_on_postgres(postgres: Postgres, tmp_path: Path) -> None:
    outcome = race_on_postgres(postgres, tmp_path, seconds=20, seed=7)
    assert outcome.committed > 500 and outcome.is_as_expected, table_of([outcome])


def test_no_row_is_lost_or_doubled_on_mariadb(mariadb: MariaDB, tmp_path: Path) -> None:
    outcome = race_on_mariadb(mariadb, tmp_path, seconds=12, seed=7)
    assert outcome.committed > 300 and outcome.is_as_expected, table_of([outcome])
