"""SQL that people write: one statement that reads, and a filter that stays one filter.

This finds mistakes early and says them well; what keeps a source unharmed is the read-only transaction.
"""

from __future__ import annotations

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from catalog.errors import Code, ExportError

_DIALECTS = {"postgresql": "postgres", "mssql": "tsql", "mariadb": "mysql"}
_READS = {"SELECT", "WITH", "VALUES", "TABLE", "FROM", "("}
_WRITES = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Alter,
    exp.TruncateTable,
    exp.Into,
    exp.Lock,
    exp.Copy,
    exp.Command,
)


def refuse_query(query: str, dialect: str) -> None:
    """Raises ExportError QUERY_INVALID unless `query` is one statement that only reads."""
    tokens = _tokens(query, dialect, "query")
    if any(token.token_type is TokenType.SEMICOLON for token in tokens[:-1]) or not tokens:
        raise _invalid("query", "it holds more than one statement" if tokens else "it is empty")
    if tokens[-1].token_type is TokenType.SEMICOLON:
        raise _invalid("query", "it ends with a semicolon, and stands inside another statement")
    if tokens[0].text.upper() not in _READS:
        raise _invalid("query", f"it begins with {tokens[0].text.upper()}, not SELECT")
    try:
        parsed = sqlglot.parse_one(query, dialect=_DIALECTS.get(dialect, dialect))
    except (SqlglotError, ValueError):
        # The database knows its own language better: it says what is wrong, in a read-only transaction.
        return
    if written := parsed.find(*_WRITES):
        raise _invalid("query", f"it would write ({written.key.upper()})")


def refuse_where(where: str, dialect: str) -> None:
    """Raises ExportError QUERY_INVALID unless `where` stays inside the parentheses it is put into."""
    depth = 0
    for token in _tokens(where, dialect, "where"):
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth < 0:
            raise _invalid("where", "it closes a parenthesis that it did not open")
        if token.token_type is TokenType.SEMICOLON:
            raise _invalid("where", "it holds a second statement")
        if token.text.upper() in ("INSERT", "UPDATE", "DELETE", "DROP", "MERGE", "TRUNCATE", "ALTER", "CREATE") and (
            token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER)
        ):
            raise _invalid("where", f"it would write ({token.text.upper()})")
    if depth:
        raise _invalid("where", "a parenthesis is left open")


def _tokens(sql: str, dialect: str, key: str) -> list[sqlglot.Token]:
    try:
        return sqlglot.tokenize(sql, read=_DIALECTS.get(dialect, dialect))
    except ValueError:
        return sqlglot.tokenize(sql)
    except SqlglotError as error:
        raise _invalid(key, f"it cannot be read: {str(error).splitlines()[0]}") from None


def _invalid(key: str, reason: str) -> ExportError:
    return ExportError(
        Code.QUERY_INVALID,
        f"the {key} cannot be used: {reason}",
        "write one SELECT that only reads" if key == "query" else "write one condition, as it would stand after WHERE",
        key=key,
    )
