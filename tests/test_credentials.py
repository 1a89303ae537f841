"""Secrets are found where they are referred to, fit the URL they stand in, and are never shown."""

import pytest
from sqlalchemy.engine import make_url

from catalog.errors import Code, ExportError
from tasks.credentials import resolve

BLOCKS = {"crm-password": "p@ss/w%rd"}


def test_references_in_lists_and_mappings_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROP_USER", "me")
    options = {"user": "{{ $DROP_USER }}", "keys": ["{{prefect.blocks.secret.crm-password}}", 22], "plain": None}
    assert resolve(options, BLOCKS.__getitem__) == {"user": "me", "keys": ["p@ss/w%rd", 22], "plain": None}


def test_a_password_stays_one_inside_a_url() -> None:
    template = "postgresql://me:{{ prefect.blocks.secret.crm-password }}@db:5432/crm"
    url = make_url(resolve(template, BLOCKS.__getitem__))
    assert (url.password, url.host, url.database) == ("p@ss/w%rd", "db", "crm")


@pytest.mark.parametrize(
    ("template", "value", "resolved"),
    [
        ("{{ $IT }}", "postgresql://u:p%40@db/crm", "postgresql://u:p%40@db/crm"),
        ("sqlite:///{{ $IT }}/crm.sqlite", "/data/my files", "sqlite:////data/my files/crm.sqlite"),
        ("postgresql://u@{{ $IT }}/crm", "db:5433", "postgresql://u@db:5433/crm"),
        ("postgresql://u@db/crm?sslpassword={{ $IT }}", "a&b", "postgresql://u@db/crm?sslpassword=a%26b"),
        ("{{ $IT }}-{{ $IT }}", "a/b", "a/b-a/b"),
    ],
    ids=["a whole URL", "a path", "a host", "an option", "no URL"],
)
def test_where_a_value_stands_decides_whether_it_is_quoted(
    monkeypatch: pytest.MonkeyPatch, template: str, value: str, resolved: str
) -> None:
    monkeypatch.setenv("IT", value)
    assert resolve(template, BLOCKS.__getitem__) == resolved


def test_a_secret_that_looks_like_a_reference_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IT", "{{ $OTHER }}")
    assert resolve("x{{ $IT }}", BLOCKS.__getitem__) == "x{{ $OTHER }}"


@pytest.mark.parametrize("template", ["{{ $NO_SUCH_VARIABLE }}", "postgresql://u:{{ $NO_SUCH_VARIABLE }}@db/x"])
def test_a_missing_variable_is_named(template: str) -> None:
    with pytest.raises(ExportError, match="the environment variable NO_SUCH_VARIABLE is not set") as caught:
        resolve(template, BLOCKS.__getitem__)
    assert caught.value.code is Code.SECRET_MISSING


@pytest.mark.parametrize(
    "template", ["{{ CRM_URL }}", "a {{ env.X }} b", "{{ prefect.blocks.json.x }}", "{{\n$X }} {{x}}"]
)
def test_what_is_no_reference_is_refused(template: str) -> None:
    with pytest.raises(ExportError, match="is no reference to a secret") as caught:
        resolve(template, BLOCKS.__getitem__)
    assert caught.value.code is Code.SECRET_MISSING
