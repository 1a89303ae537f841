"""No password, key or token appears in any log, state, artifact, parameter, report, error or process list."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ftp_server import FtpServer
from leaks import Search
from openpgp import Person
from postgres_server import Postgres
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.system import Secret
from prefect_server import free_port
from s3_server import KEY, SECRET, S3Place
from sftp_server import USER, SftpServer
from workshop import Workshop

from deployments.prefect_api import prefect_api

TABLE = "CREATE TABLE orders (id integer PRIMARY KEY, customer text); INSERT INTO orders VALUES (1, 'Ada'), (2, 'Bo')"


def planted(name: str) -> str:
    """A secret of this test alone, with what URLs, JSON and shells would write in other ways."""
    return f"pl@nted:{name}/&'{uuid.uuid4().hex}"


@dataclass
class Place:
    """The workshop with all its servers, and the secrets that are planted in it by their names."""

    workshop: Workshop
    secrets: dict[str, str]
    exports: dict[str, str]

    def search(self) -> Search:
        return Search(self.secrets, users=(USER, "exporter", KEY))


@pytest.fixture
def place(
    prefect: Workshop,
    postgres: Postgres,
    sftp_server: SftpServer,
    ftp_servers: Callable[..., FtpServer],
    bucket: S3Place,
    partner: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """A source and three targets whose logins are references; of each also one with a wrong login, and one nowhere.

    What is delivered is signed with a key of its own, and its runs are told of under an address that holds a token.
    """
    secrets = {name: planted(name) for name in ("crm", "crm-wrong", "sftp", "sftp-wrong", "ftps", "ftps-wrong")}
    secrets |= {"s3": SECRET, "s3-wrong": planted("s3-wrong")}
    monkeypatch.setattr("sftp_server.PASSWORD", secrets["sftp"])
    monkeypatch.setattr("ftp_server.PASSWORD", secrets["ftps"])
    suffix = prefect.suffix
    blocks = {f"{name}-{suffix}": secrets[name] for name in ("crm", "crm-wrong", "sftp", "sftp-wrong", "s3")}
    for name, value in blocks.items():
        Secret(value=value).save(name)
    variables = {"FTPS": secrets["ftps"], "FTPS_WRONG": secrets["ftps-wrong"], "S3_WRONG": secrets["s3-wrong"]}
    secrets |= {"pgp-passphrase": planted("pgp-passphrase"), "token": uuid.uuid4().hex}
    key = _signing_key(prefect, partner, secrets["pgp-passphrase"])
    secrets["pgp-key"] = max(key.splitlines(), key=len)
    variables |= {"PGP_PASSPHRASE": secrets["pgp-passphrase"], "PGP_KEY": key}
    variables["WEBHOOK"] = f"json://127.0.0.1:{free_port()}/{secrets['token']}"
    # The worker and its runs write everything they have to say into its log.
    variables |= {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG"}
    for name, value in {**variables, "S3_KEY": KEY}.items():
        monkeypatch.setenv(name, value)

    def block(name: str) -> str:
        return f"{{{{ prefect.blocks.secret.{name}-{suffix} }}}}"

    _databases(prefect, postgres, secrets["crm"], block)
    _targets(prefect, sftp_server, ftp_servers(), bucket, block)
    yield Place(prefect, secrets, _exports(prefect))
    with prefect_api() as client:
        for name in blocks:
            found = client.read_block_document_by_name(name, "secret")
            client.delete_block_document(found.id)


def _signing_key(prefect: Workshop, partner: Person, passphrase: str) -> str:
    """A private key of this test, which the catalog knows as `ours`; and the partner's public one."""
    name = f"{prefect.suffix}@example.com"
    partner.make_key(name, "ed25519", passphrase=passphrase)
    keys = prefect.catalog_folder / "keys"
    keys.mkdir()
    (keys / "partner.asc").write_bytes(partner.public("partner@example.com"))
    (keys / "ours.yaml").write_text('private_key: "{{ $PGP_KEY }}"\npassphrase: "{{ $PGP_PASSPHRASE }}"\n')
    return partner.private(name, passphrase)


def _databases(prefect: Workshop, postgres: Postgres, password: str, block: Callable[[str], str]) -> None:
    role = f"exporter_{prefect.suffix}"
    quoted = password.replace("'", "''")
    rights = (f"CREATE ROLE {role} LOGIN PASSWORD '{quoted}'", f"GRANT SELECT ON orders TO {role}")
    database = postgres.fresh_database(*TABLE.split("; "), *rights)
    at = f"127.0.0.1:{postgres.port}/{database}"
    prefect.database("crm", f"postgresql+psycopg://{role}:{block('crm')}@{at}")
    prefect.database("crm_wrong", f"postgresql+psycopg://{role}:{block('crm-wrong')}@{at}")
    prefect.database("crm_gone", f"postgresql+psycopg://{role}:{block('crm')}@127.0.0.1:{free_port()}/{database}")


def _targets(
    prefect: Workshop, sftp: SftpServer, ftps: FtpServer, bucket: S3Place, block: Callable[[str], str]
) -> None:
    nowhere, known = free_port(), {"known_hosts": str(sftp.keys.known_hosts)}
    ca = {"ca_file": str(ftps.authority.trusted)}
    prefect.target("sftp", sftp.url(prefect.drop), options={"password": block("sftp"), **known})
    prefect.target("sftp_wrong", sftp.url(prefect.drop), options={"password": block("sftp-wrong"), **known})
    # Its secret is a part of the URL.
    gone = f"sftp://{USER}:{block('sftp')}@127.0.0.1:{nowhere}/drop"
    prefect.target("sftp_gone", gone, options=known)
    (prefect.folder / "ftps").mkdir()
    there = ftps.url(prefect.folder / "ftps")
    prefect.target("ftps", there, options={"password": "{{ $FTPS }}", **ca})
    prefect.target("ftps_wrong", there, options={"password": "{{ $FTPS_WRONG }}", **ca})
    prefect.target("ftps_gone", f"ftps://{USER}:{{{{ $FTPS }}}}@127.0.0.1:{nowhere}/ftps", options=ca)
    keys = {"key": "{{ $S3_KEY }}", "secret": block("s3"), "endpoint_url": bucket.endpoint()}
    prefect.target("s3", bucket.url(), options=keys)
    prefect.target("s3_wrong", bucket.url(), options={**keys, "secret": "{{ $S3_WRONG }}"})
    prefect.target("s3_gone", bucket.url(), options={**keys, "endpoint_url": bucket.endpoint(nowhere)})


def _exports(prefect: Workshop) -> dict[str, str]:
    """Their ids, by how a run ends."""
    bad = [f"{protocol}_{how}" for how in ("wrong", "gone") for protocol in ("sftp", "ftps", "s3")]
    signed = {"pgp": ["partner"], "sign": "ours"}
    keys: dict[str, dict[str, Any]] = {
        "well": {"target": ["sftp", "ftps", "s3"], "file": {"name": "well.csv.pgp", "encryption": signed}},
        "bad_targets": {"target": bad},
        "bad_login": {"target": "sftp", "database": "crm_wrong"},
        "no_database": {"target": "sftp", "database": "crm_gone"},
    }
    for stem, own in keys.items():
        common = {"file": {"name": f"{stem}.csv"}, "retries": 0, "report": {"to": ["{{ $WEBHOOK }}"]}}
        prefect.export(prefect.id(stem), **{**common, **own})
    return {stem: prefect.id(stem) for stem in keys}


@pytest.mark.timeout(600)
def test_in_good_runs_and_in_failing_ones(place: Place, request: pytest.FixtureRequest, prefect_home: Path) -> None:
    prefect, search = place.workshop, place.search()
    said: list[tuple[str, str]] = []

    def command(*arguments: str) -> None:
        for form in ((), ("--json",)):
            result = prefect.run(*arguments, *form, exit_code=None)
            assert result.exit_code in (0, 1) and (result.stdout or result.stderr), (arguments, result.exception)
            said.append((" ".join(arguments), result.stdout + result.stderr))

    with search.watching_processes():
        request.getfixturevalue("prefect_worker")
        runs = {stem: prefect.json("run", export_id, "--detach")["run_id"] for stem, export_id in place.exports.items()}
        command("check", "--connect", *place.exports.values())
        reports = {
            stem: prefect.wait_for(lambda stem=stem: prefect.ended(place.exports[stem], runs[stem]), 240)
            for stem in runs
        }
        prefect.wait_for(lambda: _have_told_their_end(prefect_home / "prefect.db", list(runs.values())))
        for stem, export_id in place.exports.items():
            for name in ("show", "runs", "report", "ledger", "preview"):
                command(name, export_id)
            command("report", export_id, "--run", runs[stem])
        command("list")
        command("plan")

    # What was looked for has happened: else there was nothing to leak.
    codes = {stem: report["error_code"] for stem, report in reports.items()}
    gone_or_wrong = codes.pop("bad_targets")
    assert codes == {"well": None, "bad_login": "SOURCE_AUTH", "no_database": "SOURCE_UNREACHABLE"}
    assert len(reports["well"]["files"]) == 3
    for target in ("sftp_wrong", "ftps_wrong", "s3_wrong", "sftp_gone", "ftps_gone", "s3_gone"):
        assert any(f"target {target}: " in text for _, text in said), target
    # The code of the first stands alone, those of the others in the message.
    message = f"{gone_or_wrong}: {reports['bad_targets']['error_message']}"
    assert message.count("TARGET_UNREACHABLE") == 3 and message.count("TARGET_AUTH") == 3, message
    log = (prefect_home / "worker.log").read_text()
    assert all(run in log for run in runs.values()) and "TARGET_AUTH" in log and "SOURCE_AUTH" in log
    assert "the report was not sent to {{ $WEBHOOK }}" in log

    for arguments, text in said:
        search.look(f"exports {arguments}", text)
    search.look_in_folder(prefect_home)
    search.look_in_folder(prefect.folder)
    assert search.found == set()


def _have_told_their_end(database: Path, run_ids: list[str]) -> bool:
    """Whether the last line of each run's log, which is sent behind its state, has reached the server."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        lines = connection.execute("SELECT flow_run_id FROM log WHERE message LIKE 'Finished in state%'")
        return {uuid.UUID(run_id) for (run_id,) in lines} >= {uuid.UUID(run_id) for run_id in run_ids}


# The search would find one: in each place, a leak that was put there by hand.


def _in_a_process_list(secret: str, search: Search, folder: Path) -> None:
    with search.watching_processes(), subprocess.Popen([sys.executable, "-c", "input()", secret], stdin=-1) as child:
        assert child.stdin is not None
        while not search.found and child.poll() is None:
            pass
        child.stdin.close()


def _in_a_file(secret: str, search: Search, folder: Path) -> None:
    (folder / "worker.log").write_text(f"cannot connect to sftp://me:{secret}@host\n")
    search.look_in_folder(folder)


def _in_the_name_of_a_spool_file(secret: str, search: Search, folder: Path) -> None:
    (folder / f"{secret.replace('/', '')}.csv").touch()
    search.look_in_folder(folder)


def _in_a_login_of_http(secret: str, search: Search, folder: Path) -> None:
    search.look("a header", "Authorization: Basic " + base64.b64encode(f"drop:{secret}".encode()).decode())


def _in_a_long_cell_of_a_ledger(secret: str, search: Search, folder: Path) -> None:
    """Longer than a page, which SQLite keeps in pieces."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE t (text)")
        for shift in range(4_200, 4_300):
            connection.execute("INSERT INTO t VALUES (?)", ["x" * shift + secret + "x" * 9_000])
    search.look_in_folder(folder)


@pytest.mark.parametrize(
    "leak",
    [
        _in_a_process_list,
        _in_a_file,
        _in_the_name_of_a_spool_file,
        _in_a_login_of_http,
        _in_a_long_cell_of_a_ledger,
    ],
)
def test_a_leak_is_found(tmp_path: Path, leak: Callable[[str, Search, Path], None]) -> None:
    secret = planted("x").replace("/", "") if leak is _in_the_name_of_a_spool_file else planted("x")
    search = Search({"password": secret}, users=["drop"])
    (tmp_path / "looked").mkdir()
    leak(secret, search, tmp_path / "looked")
    assert search.found and all(where.startswith("password in ") for where in search.found)
    assert secret not in str(search.found)


@pytest.mark.parametrize("encode", [str, json.dumps], ids=["as it is", "as JSON"])
def test_a_leak_into_prefect_is_found(prefect: Workshop, prefect_home: Path, encode: Callable[[str], str]) -> None:
    secret = planted("x")
    search = Search({"password": secret})
    search.look_in_folder(prefect_home)
    assert search.found == set()
    create_markdown_artifact(encode(f"cannot log in with {secret}"), key="leak")
    search.look_in_folder(prefect_home)
    assert any("table artifact" in where for where in search.found), search.found
