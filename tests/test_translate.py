"""What a real server and a real file refuse, as errors of ours: the code, what is named, and what is never shown."""

import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres
from prefect_server import free_port
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from catalog.connections import Database
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.connect import Source, open_source
from tasks.source.read import begin_reading, open_rows, verify
from tasks.translate import translate

NO_SECRETS = str
TABLE = "CREATE TABLE people (id int, name text); INSERT INTO people VALUES (1, 'Hunter'), (2, 'Zoë')"


def failure(url: str, work: Callable[[Source], Any] = lambda source: source) -> ExportError:
    with pytest.raises(ExportError) as caught, open_source("crm", Database(url=url), NO_SECRETS) as source:
        work(source)
    return caught.value


def logged(error: ExportError) -> str:
    """All that Prefect would show of it: it logs the whole traceback, with every error it came from."""
    return "".join(traceback.format_exception(error)) + str(error.hint)


def reading(**keys: Any) -> Callable[[Source], Any]:
    export = an_export(**keys)
    return lambda source: list(open_rows(source, export, begin_reading(source, export, Bounds()), "text").batches)


def an_export(**keys: Any) -> Export:
    content = {"id": "people", "name": "People", "type": "periodic_full", "database": "crm", "target": "drop"}
    subject = {} if "query" in keys else {"table": "people"}
    return Export.model_validate({**content, "file": {"name": "people.csv"}, **subject, **keys})


@pytest.fixture(scope="module")
def crm(postgres: Postgres) -> str:
    return postgres.fresh_database(*TABLE.split("; "), "CREATE ROLE stranger LOGIN PASSWORD 'secret'")


def test_a_wrong_password(postgres: Postgres) -> None:
    error = failure(postgres.url(password="wr%40ng"))
    assert error.code is Code.SOURCE_AUTH and f"test@127.0.0.1:{postgres.port}/postgres" in error.message
    assert "wr@ng" not in logged(error) and "wr%40ng" not in logged(error)


def test_an_unknown_user_and_an_unknown_database(postgres: Postgres) -> None:
    assert failure(postgres.url(user="nobody_here")).code is Code.SOURCE_AUTH
    error = failure(postgres.url("no_such_database"))
    assert error.code is Code.SOURCE_AUTH and 'database "no_such_database" does not exist' in error.message


def test_a_closed_port_and_an_unknown_host() -> None:
    port = free_port()
    error = failure(f"postgresql://me:hunter2@127.0.0.1:{port}/x")
    assert error.code is Code.SOURCE_UNREACHABLE and f"127.0.0.1:{port}" in error.message
    assert "hunter2" not in logged(error) and error.code.tried_again
    assert failure("postgresql://me@no-such-host.invalid/x").code is Code.SOURCE_UNREACHABLE


def test_a_server_that_takes_no_more_and_one_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2")
    assert error.code is Code.SOURCE_UNREACHABLE


@pytest.mark.parametrize(
    ("keys", "code", "says", "hint"),
    [
        ({"table": "peple"}, Code.COLUMN_MISSING, "no table 'peple'; did you mean 'people'?", "schema.table"),
        ({"where": "nam = 'x'"}, Code.COLUMN_MISSING, 'column "nam" does not exist', 'the column "people.name"'),
        ({"query": "SELECT * FROM gone"}, Code.COLUMN_MISSING, 'relation "gone" does not exist', "definition"),
        ({"where": "id = = 1"}, Code.SQL_ERROR, 'syntax error at or near "="', "where"),
        ({"where": "nope(id)"}, Code.SQL_ERROR, "function nope(integer) does not exist", "where"),
        ({"where": "1 / (id - id) = 1"}, Code.SQL_ERROR, "division by zero", "where"),
        ({"query": "SELECT nextval('numbers')"}, Code.QUERY_INVALID, "read-only transaction", "only reads"),
    ],
)
def test_what_is_wrong_with_the_definition(
    postgres: Postgres, keys: dict[str, Any], code: Code, says: str, hint: str
) -> None:
    database = postgres.fresh_database(*TABLE.split("; "), "CREATE SEQUENCE numbers")
    error = failure(postgres.url(database), reading(**keys))
    assert error.code is code and says in error.message and hint in str(error.hint)


@pytest.mark.parametrize(
    "expression", ["name::int", "name::date", "name::json", "('{' || name)::int[]", "('1' || id || '99999999999')::int"]
)
def test_a_data_error_keeps_the_value_to_itself(postgres: Postgres, crm: str, expression: str) -> None:
    error = failure(postgres.url(crm), reading(query=f"SELECT {expression} FROM people"))
    assert error.code is Code.SQL_ERROR and "SQLSTATE 22" in error.message
    assert not any(value in logged(error) for value in ("Hunter", "Zoë", "1199999999999"))


def test_a_table_one_may_not_read(postgres: Postgres, crm: str) -> None:
    error = failure(postgres.url(crm, user="stranger"), reading())
    assert error.code is Code.SOURCE_DENIED and "permission denied for table people" in error.message
    assert "GRANT SELECT" in str(error.hint) and "stranger" in str(error.hint)


def test_a_statement_timeout(postgres: Postgres, crm: str) -> None:
    def slow(source: Source) -> None:
        source.connection.execute(text("SELECT set_config('statement_timeout', '20', true)")).close()
        reading(where="pg_sleep(20) IS NULL")(source)

    error = failure(postgres.url(crm), slow)
    assert error.code is Code.SOURCE_TIMEOUT and "statement timeout" in error.message


def test_a_connection_that_is_cut_while_rows_are_read(postgres: Postgres, crm: str) -> None:
    def cut(source: Source) -> None:
        pid = source.connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        export = an_export(query="SELECT generate_series(1, 100000) AS n")
        rows = open_rows(source, export, begin_reading(source, export, Bounds()), "text")
        next(rows.batches)
        with postgres.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        list(rows.batches)

    error = failure(postgres.url(crm), cut)
    assert error.code is Code.SOURCE_LOST and error.code.tried_again and str(postgres.port) in error.message


def test_rows_that_another_encoding_wrote(postgres: Postgres) -> None:
    name = "latin_" + postgres.fresh_database()
    with postgres.connect() as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    with postgres.connect(name) as connection:
        connection.execute("CREATE TABLE people AS SELECT convert_from('\\x636166e9', 'SQL_ASCII') AS name")
    error = failure(postgres.url(name), reading())
    assert error.code is Code.VALUE_UNENCODABLE and "caf" not in logged(error) and "0xe9" not in logged(error)


def test_a_table_that_is_dropped_between_check_and_run(postgres: Postgres) -> None:
    database = postgres.fresh_database(*TABLE.split("; "))
    with open_source("crm", Database(url=postgres.url(database)), NO_SECRETS) as source:
        verify(source, an_export())
    with postgres.connect(database) as connection:
        connection.execute("DROP TABLE people")
    assert failure(postgres.url(database), reading()).code is Code.COLUMN_MISSING


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    error = failure(f"sqlite:///{tmp_path / 'gone.sqlite'}")
    assert error.code is Code.SOURCE_UNREACHABLE and str(tmp_path / "gone.sqlite") in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, " * 100)
    assert failure(f"sqlite:///{path}", reading()).code is Code.SOURCE_UNREACHABLE


@pytest.mark.parametrize(
    ("url", "code", "hint"),
    [
        ("oracle+oracledb://u:hunter2@db/x", Code.DRIVER_MISSING, "pip install oracledb"),
        ("mysql://u:hunter2@db/x", Code.DRIVER_MISSING, "pip install mysqlclient"),
        ("nosuch://u:hunter2@db/x", Code.DRIVER_MISSING, "its dialect"),
        ("postgresql://u:hunter2@db:hunter2/x", Code.DEFINITION_INVALID, "postgresql://user"),
        ("hunter2", Code.DEFINITION_INVALID, "postgresql://user"),
    ],
)
def test_a_url_that_cannot_be_used_names_no_password(url: str, code: Code, hint: str) -> None:
    error = failure(url)
    assert error.code is code and hint in str(error.hint)
    assert "hunter2" not in logged(error)


class _Told(Exception):
    """What a driver raises: some echo the whole connection string, some the values."""

    def __init__(self, text: str, sqlstate: str | None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "words", "code"),
    [
        (None, "[ODBC] Login failed, authentication: PWD=hunter@2;UID=me", Code.SOURCE_AUTH),
        (None, "cannot open postgresql://me:hunter%402@db", Code.SQL_ERROR),
        ("42S22", "(1054, \"Unknown column 'nope' in 'SELECT'\")", Code.COLUMN_MISSING),
        ("42000", "(1142, \"SELECT command denied to user 'e' for table 't'\")", Code.SOURCE_DENIED),
        ("42000", "(1064, \"You have an error in your SQL syntax near 'connection'\")", Code.SQL_ERROR),
        ("HY000", "(2013, 'Lost connection to MySQL server during query')", Code.SOURCE_LOST),
        ("70100", "(1969, 'Query execution was interrupted (max_statement_time exceeded)')", Code.SOURCE_TIMEOUT),
        ("40001", "(1213, 'Deadlock found when trying to get lock')", Code.SOURCE_CONFLICT),
        ("P0001", "the connection of things", Code.SQL_ERROR),
    ],
)
def test_what_other_drivers_say(sqlstate: str | None, words: str, code: Code) -> None:
    url = make_url("mysql+pymysql://me:hunter%402@db/crm")
    error = translate(DBAPIError("SELECT", {}, _Told(words, sqlstate)), "crm", url, connected=True)
    assert error.code is code and "hunter" not in str(error)
