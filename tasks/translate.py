"""What database drivers raise, as errors of ours: one table, by SQLSTATE or by the driver's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from catalog.errors import Code, ExportError

#: PostgreSQL's SQLSTATE (some are MySQL's too), or its class of two characters, and what it means here.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: dict[str, Code] = {
    "28": Code.SOURCE_AUTH,
    "3D": Code.SOURCE_AUTH,
    "42501": Code.SOURCE_DENIED,
    "42P01": Code.COLUMN_MISSING,
    "42703": Code.COLUMN_MISSING,
    "42S02": Code.COLUMN_MISSING,
    "42S22": Code.COLUMN_MISSING,
    "3F": Code.COLUMN_MISSING,
    "25006": Code.QUERY_INVALID,
    "22021": Code.VALUE_UNENCODABLE,
    "22P05": Code.VALUE_UNENCODABLE,
    "57014": Code.SOURCE_TIMEOUT,
    "25P03": Code.SOURCE_TIMEOUT,
    "25P04": Code.SOURCE_TIMEOUT,
    "55P03": Code.SOURCE_TIMEOUT,
    "70100": Code.SOURCE_TIMEOUT,
    "57P": Code.SOURCE_LOST,
    "08": Code.SOURCE_LOST,
    "40": Code.SOURCE_CONFLICT,
    "53": Code.SOURCE_UNREACHABLE,
    "58": Code.SOURCE_LOST,
    "XX": Code.SOURCE_LOST,
}

#: What ODBC and MySQL say of many things: their words say more.
_VAGUE = {"HY000", "42000"}

#: Words of drivers that give no SQLSTATE, or none while connecting; the first that is found counts.
_BY_WORDS: list[tuple[str, Code]] = [
    (r"syntax error|error in your sql syntax|near \"", Code.SQL_ERROR),
    (r"could not decode to utf-8", Code.VALUE_UNENCODABLE),
    (r"password authentication failed|access denied|no password supplied|authentication|pg_hba", Code.SOURCE_AUTH),
    # So SQLite calls what stands before the dot of a table's name; MySQL's has other quotes.
    (r"unknown database [^']", Code.COLUMN_MISSING),
    (r'role ".*" does not exist|database ".*" does not exist|unknown database', Code.SOURCE_AUTH),
    (r"attempt to write a readonly|readonly database|read-only", Code.QUERY_INVALID),
    (r"only execute one statement", Code.QUERY_INVALID),
    (r"no such (table|column)|doesn't exist|unknown column|unknown table", Code.COLUMN_MISSING),
    (r"permission denied|not authorized|command denied", Code.SOURCE_DENIED),
    (r"database is locked|database table is locked", Code.SOURCE_CONFLICT),
    (r"interrupted|timeout expired while|statement timeout|lock wait timeout", Code.SOURCE_TIMEOUT),
    (
        r"not a database|unable to open|could not translate|connection refused|failed to resolve",
        Code.SOURCE_UNREACHABLE,
    ),
    (r"can't connect|connection timeout|timeout expired|name or service", Code.SOURCE_UNREACHABLE),
    (r"server closed the connection|terminating connection|lost connection|gone away|connection", Code.SOURCE_LOST),
]

_HINTS: dict[Code, str] = {
    Code.SOURCE_AUTH: "see user, password and database name in databases/{name}.yaml and its secrets",
    Code.SOURCE_DENIED: "GRANT SELECT on it to {user}",
    Code.COLUMN_MISSING: "see the table's columns in the database, and mend the definition",
    Code.QUERY_INVALID: "an export only reads: one SELECT",
    Code.SQL_ERROR: "mend `query` or `where`; the database's own client shows where the mistake lies",
    Code.SOURCE_TIMEOUT: "relaunch when the database is less busy, or raise its statement timeout",
    Code.SOURCE_LOST: "relaunch: the window stays the same",
    Code.SOURCE_CONFLICT: "relaunch: the window stays the same",
    Code.SOURCE_UNREACHABLE: "see that it runs and that this machine may reach it",
    Code.VALUE_UNENCODABLE: "it holds text that is no UTF-8; take the column as bytes in a query, as CAST(... AS BLOB)",
}


@contextmanager
def source_errors(name: str, url: URL, *, connected: bool = False) -> Iterator[None]:
    """Database errors of the block become ExportError; `connected` is False while a connection is being made."""
    try:
        yield
    except DBAPIError as error:
        # Not chained: the driver's own text holds parameters and values, and Prefect logs whole tracebacks.
        raise translate(error, name, url, connected=connected) from None
    except SQLAlchemyError as error:
        raise ExportError(
            Code.SQL_ERROR,
            f"database {name}: SQLAlchemy refused the statement ({type(error).__name__})",
            _HINTS[Code.SQL_ERROR],
        ) from None


def translate(error: DBAPIError, name: str, url: URL, *, connected: bool) -> ExportError:
    """One driver error as ours. Its text is cut to the first line; it holds neither the URL's password nor a value."""
    text = _safe_line(error, url)
    code = _code(error, text, connected=connected)
    place = f"{url.host or 'local'}{f':{url.port}' if url.port else ''}"
    who = f"{url.username or '-'}@{place}/{url.database or ''}"
    messages: dict[Code, Callable[[], str]] = {
        Code.SOURCE_AUTH: lambda: f"database {name} refused {who}: {text}",
        Code.SOURCE_UNREACHABLE: lambda: f"database {name} at {place} cannot be reached: {text}",
        Code.SOURCE_LOST: lambda: f"the connection to database {name} at {place} was lost: {text}",
    }
    message = messages.get(code, lambda: f"database {name}: {text}")()
    if sqlstate := _sqlstate(error):
        message += f" (SQLSTATE {sqlstate})"
    # PostgreSQL knows the nearest column itself.
    nearest = getattr(getattr(error.orig, "diag", None), "message_hint", None) if code is Code.COLUMN_MISSING else None
    return ExportError(code, message, nearest or _HINTS[code].format(name=name, user=url.username or "the user"))


def _code(error: DBAPIError, text: str, *, connected: bool) -> Code:
    sqlstate = _sqlstate(error)
    if sqlstate and sqlstate not in _VAGUE:
        known = (_BY_SQLSTATE.get(sqlstate[:length]) for length in (5, 3, 2))
        return next((code for code in known if code is not None), Code.SQL_ERROR)
    for words, code in _BY_WORDS:
        if re.search(words, text, re.IGNORECASE):
            return code if connected or code is not Code.SOURCE_LOST else Code.SOURCE_UNREACHABLE
    if error.connection_invalidated:
        return Code.SOURCE_LOST
    return Code.SQL_ERROR if connected else Code.SOURCE_UNREACHABLE


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _safe_line(error: DBAPIError, url: URL) -> str:
    # Later lines quote the statement or a row; the first says what is wrong.
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    text = lines[0] if lines else type(error.orig).__name__
    # A data error ends with the value that could not be taken, and so does SQLite's.
    value = r': ("|0x).*| "[^"]*" is out of range.*' if _sqlstate(error).startswith("22") else r" with text '.*"
    text = re.sub(value, "", text, flags=re.DOTALL)
    for secret in (str(url.password), quote(str(url.password), safe="")) if url.password else ():
        text = text.replace(secret, "***")
    return text
