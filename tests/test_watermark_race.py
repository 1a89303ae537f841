"""Under load from every side no row is lost or doubled by us; the naive ways lose rows, so the race can show it."""

from postgres_server import Postgres
from watermark_race import race_on_postgres, table_of


def test_no_row_is_lost_or_doubled_on_postgres(postgres: Postgres) -> None:
    committed, results = race_on_postgres(postgres, seconds=20, seed=7)
    assert committed > 500 and all(result.is_as_expected for result in results), table_of(committed, results)
