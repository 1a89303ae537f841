"""A secret in the catalog is a reference; one that is written out is refused, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.errors import Code
from catalog.load import load_catalog
from catalog.problem import Problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("exports", "databases", "targets"):
        (tmp_path / kind).mkdir()
    return tmp_path


def written(folder: Path, name: str, text: str) -> list[Problem]:
    (folder / name).write_text(text)
    return list(load_catalog(folder).problems)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("url: postgresql://me:hunter2@h/d", "url"),
        ("url: postgresql://me:hun/ter2@h/d", "url"),
        ("url: postgresql://:hunter2@h/d", "url"),
        ("url: postgresql://h/d?user=me&password=hunter2", "url"),
        ("url: mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dhunter2", "url"),
        ("url: x\noptions: {password: hunter2}", "options.password"),
        ("url: x\noptions: {passphrase: hunter2}", "options.passphrase"),
        ("url: x\noptions: {account_key: hunter2}", "options.account_key"),
        ("url: x\noptions: {secret: hunter2}", "options.secret"),
        ("url: x\noptions: {sas_token: 12345678}", "options.sas_token"),
        ("url: x\noptions: {auth: [me, hunter2]}", "options.auth.1"),
        ("url: x\noptions:\n  client_kwargs: {aws_secret_access_key: hunter2}", "options.client_kwargs.aws_secret_acc"),
        ("url: x\noptions: {proxies: ['http://me:hunter2@proxy']}", "options.proxies.0"),
    ],
)
def test_a_secret_written_out(folder: Path, text: str, key: str) -> None:
    (problem,) = written(folder, "targets/drop.yaml", text)
    assert problem.code is Code.SECRET_LITERAL and (problem.key or "").startswith(key)
    assert problem.line == text.count("\n") + 1
    assert "hun" not in str(problem.to_json()) and "12345678" not in str(problem.to_json())


@pytest.mark.parametrize(
    "text",
    [
        'url: "{{ $URL }}"',
        "url: postgresql://me:{{ $P }}@h/d?sslmode=require",
        "url: postgresql://h:5432/d@x",
        "url: postgresql://h/d?password={{ prefect.blocks.secret.crm }}",
        'url: x\noptions: {password: "{{ $P }}", key_filename: ~/.ssh/id, known_hosts: known_hosts, passive: true}',
        "url: x\noptions: {token: null, secret: ''}",
        'url: x\noptions: {auth: [me, "{{ $P }}"]}',
    ],
)
def test_what_is_no_secret(folder: Path, text: str) -> None:
    assert written(folder, "targets/drop.yaml", text) == []


@pytest.mark.parametrize(
    "text",
    [
        'url: "postgresql://me:hunter2@h/d',
        "url: x\noptions: {password: hunter2, password: hunter2}",
        "url: x\noptions: {password: *hunter2}",
        "url: x\noptions: {password: !hunter2 x}",
        "url: x\noptions: {password: hunter2: 3}",
        "url: x\noptions: {password: &hunter2 1, b: &hunter2 2}",
        "url: {password: hunter2}",
        "hunter2",
        "url: x\ntimezone: [hunter2]",
    ],
)
def test_a_mistake_beside_a_secret_does_not_show_it(folder: Path, text: str) -> None:
    problems = written(folder, "databases/crm.yaml", text)
    assert problems and "hunter2" not in str([problem.to_json() for problem in problems])
