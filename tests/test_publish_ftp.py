"""What is FTP's own: TLS and whose certificate, its data connections, what servers lack and say, and no secret told."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ftp_server import PASSWORD, USER, Authority, FtpServer, Kind, opened
from plain_run import run_plainly
from publishers import CONTENT, NAME, TEMP, content, files_in, of
from refusals import refused_without
from workshop import Workshop

from catalog.connections import Target
from catalog.errors import Code, Remedy
from tasks.publish import open_publisher
from tasks.publish.ftp_login import read_login

WRONG = "hunter2"


refused = refused_without(PASSWORD, WRONG)


@pytest.fixture
def server(ftp_servers: Callable[..., FtpServer], drop: Path) -> FtpServer:
    return ftp_servers()


# TLS.


def test_another_authority_is_not_trusted(server: FtpServer, drop: Path, tmp_path: Path) -> None:
    for ca_file in (Authority(tmp_path / "another").trusted, None):
        options = {**server.options, "password": PASSWORD, "ca_file": str(ca_file)}
        if ca_file is None:
            # Then the system's authorities count, who do not know the test's.
            del options["ca_file"]
        error = refused(opened(server.url(drop), options).check)
        assert error.code is Code.CERTIFICATE_INVALID and error.code.remedy is Remedy.FIX
        assert "certificate" in error.message and server.url(drop) in error.message and "ca_file" in str(error.hint)
    assert [command for command, _ in server.heard] == ["AUTH", "AUTH"], "nobody logs in on a server that is not known"


def test_an_expired_certificate(server: FtpServer, authority: Authority, drop: Path) -> None:
    server.certificate = authority.certificate(not_after=datetime(2020, 1, 1, tzinfo=UTC))
    server.restart()
    error = refused(server.publisher(drop).check)
    assert error.code is Code.CERTIFICATE_INVALID and "expired" in error.message


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_a_certificate_of_another_host(
    ftp_servers: Callable[..., FtpServer], authority: Authority, drop: Path, kind: Kind
) -> None:
    server = ftp_servers(kind)
    server.certificate = authority.certificate("ftp.partner.example")
    server.restart()
    error = refused(server.publisher(drop).check)
    assert error.code is Code.CERTIFICATE_INVALID and "127.0.0.1" in error.message
    assert not {"USER", "PASS"} & {command for command, _ in server.heard}


@pytest.mark.parametrize("spoil", [lambda path: None, lambda path: path.write_text("no certificate"), Path.mkdir])
def test_a_ca_file_that_cannot_be_used(
    server: FtpServer, drop: Path, tmp_path: Path, spoil: Callable[[Path], Any]
) -> None:
    path = tmp_path / "spoilt.pem"
    spoil(path)
    error = refused(server.publisher(drop, ca_file=str(path)).check)
    assert error.code is Code.CERTIFICATE_INVALID and str(path) in error.message and server.heard == []


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_every_connection_is_protected_and_in_one_session(
    ftp_servers: Callable[..., FtpServer], drop: Path, spool_file: Path, kind: Kind
) -> None:
    server = ftp_servers(kind)
    with closing(server.publisher(drop)) as publisher:
        publisher.check()
        publisher.put(spool_file, "", TEMP)
        assert content(publisher, "", TEMP) == of(CONTENT)
        publisher.publish("", TEMP, NAME, replace=False)
        assert publisher.warning is None
    assert server.sessions == [True] * len(server.sessions) and len(server.sessions) >= 3 and server.unprotected == 0
    assert {command for command, in_tls in server.heard if not in_tls} <= {"AUTH"}
    assert ("AUTH" in dict(server.heard)) == (kind == "explicit") and server.heard[-1] == ("QUIT", True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_session_goes_on_in_both_versions_of_tls(
    server: FtpServer, drop: Path, spool_file: Path, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = ssl.create_default_context

    def of_one_version(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = make(*arguments, **options)
        context.minimum_version = context.maximum_version = version
        return context

    monkeypatch.setattr(ssl, "create_default_context", of_one_version)
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
    assert server.sessions == [True]


def test_a_server_that_cannot_go_on_in_the_session(server: FtpServer, drop: Path, spool_file: Path) -> None:
    server.says = lambda answer: "522 SSL connection failed: session reuse required" if answer[:3] == "226" else answer
    error = refused(lambda: server.publisher(drop).put(spool_file, "", TEMP))
    assert error.code is Code.CERTIFICATE_INVALID and "session reuse" in error.message


@pytest.mark.parametrize("refusal", ["AUTH", "PBSZ", "PROT"])
def test_a_server_that_refuses_protection(server: FtpServer, drop: Path, refusal: str) -> None:
    server.lacks(refusal)
    error = refused(server.publisher(drop).check)
    assert error.code is Code.CERTIFICATE_INVALID and "500" in error.message and server.url(drop) in error.message
    assert ("PASS" in dict(server.heard)) == (refusal != "AUTH")


def test_a_server_without_tls_gets_no_password(ftp_servers: Callable[..., FtpServer], drop: Path) -> None:
    plain = ftp_servers("plain")
    url = plain.url(drop).replace("ftp:", "ftps:")
    assert refused(opened(url, {"password": PASSWORD}).check).code is Code.CERTIFICATE_INVALID
    assert refused(opened(url, {"password": PASSWORD, "implicit": True}).check).code is Code.TARGET_UNREACHABLE
    assert not {"USER", "PASS"} & {command for command, _ in plain.heard}


@pytest.mark.parametrize("after", [0, 40_000])
def test_a_file_that_is_cut_while_it_is_read_is_not_taken_for_whole(server: FtpServer, drop: Path, after: int) -> None:
    """The server says 226, and TLS did not say that this was the end."""
    (drop / NAME).write_bytes(CONTENT)
    server.cuts_after = after
    server.says = lambda answer: "226 Transfer complete." if answer[:3] == "426" else answer
    with closing(server.publisher(drop)) as publisher:
        found = publisher.stat("", NAME)
        assert found is not None
        assert refused(found.sha256).code is Code.TARGET_UNREACHABLE
        server.cuts_after = None
        assert found.sha256() == of(CONTENT)[1]


def test_a_list_that_is_cut_is_not_taken_for_whole(server: FtpServer, drop: Path, spool_file: Path) -> None:
    server.lacks("MLST", "MLSD")
    (drop / NAME).symlink_to("nowhere")
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        server.cuts_after = 1
        server.says = lambda answer: "226 Transfer complete." if answer[:3] == "426" else answer
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=False))
        assert error.code is Code.TARGET_UNREACHABLE and (drop / NAME).is_symlink()


# Without TLS.


def test_plain_ftp_is_used_when_that_is_said_and_every_run_warns(
    ftp_servers: Callable[..., FtpServer], workshop: Workshop
) -> None:
    server = ftp_servers("plain")
    workshop.sqlite()
    export_id = workshop.export()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FTP_PASSWORD", PASSWORD)
        options = {"password": "{{ $FTP_PASSWORD }}"}
        workshop.target("drop", server.url(workshop.drop), options=options)
        error = refused(lambda: run_plainly(workshop, export_id, datetime.now(UTC)))
        assert error.code is Code.DEFINITION_INVALID and error.key == "options.allow_plain"
        assert "in clear" in error.message and server.heard == []
        workshop.target("drop", server.url(workshop.drop), options={**options, "allow_plain": True})
        for _ in range(2):
            told = run_plainly(workshop, export_id, datetime.now(UTC)).told
            assert [warning for warning in told.warnings if "in clear" in warning and "drop" in warning]
    assert set(workshop.files()) == {"orders.csv"}


# From a definition to a file.


def test_a_run_over_ftps(
    ftp_servers: Callable[..., FtpServer], workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ftp_servers()
    monkeypatch.setenv("FTP_PASSWORD", PASSWORD)
    options = {"password": "{{ $FTP_PASSWORD }}", "ca_file": str(server.authority.trusted)}
    workshop.target("drop", server.url(workshop.drop), options=options)
    workshop.sqlite()
    export_id = workshop.export(file={"name": "orders.csv", "manifest": True})
    told = run_plainly(workshop, export_id, datetime.now(UTC)).told
    assert told.warnings == [] and {"orders.csv"} < set(workshop.files())
    assert "Anaïs" in workshop.text("orders.csv") and workshop.text("orders.csv").count("\n") == 4
    # A full export replaces its own file of the same name.
    workshop.sqlite(script="DELETE FROM orders WHERE id = 2")
    run_plainly(workshop, export_id, datetime.now(UTC))
    assert workshop.text("orders.csv").count("\n") == 3 and not [name for name in workshop.files() if "part" in name]


# What a target says.


def test_a_target_of_the_catalog(server: FtpServer, drop: Path, spool_file: Path, tmp_path: Path) -> None:
    """Paths start beside the catalog; secrets are references, in the URL and in the options."""
    trusted = tmp_path / "keys" / "ca.pem"
    trusted.parent.mkdir()
    trusted.write_bytes(server.authority.trusted.read_bytes())
    url = server.url(drop)
    with pytest.MonkeyPatch.context() as environment:
        (tmp_path / "catalog").mkdir()
        environment.setenv("EXPORTS_CATALOG", str(tmp_path / "catalog"))
        environment.setenv("FTP_PASSWORD", PASSWORD)
        ca = {"ca_file": "keys/ca.pem"}
        by_block = {"password": "{{ prefect.blocks.secret.partner }}", "username": USER}
        for target in (
            Target(url=url.replace(USER, f"{USER}:pa%40s%3As%2Fword", 1), options=ca),
            Target(url=url, options={**ca, "password": "{{ $FTP_PASSWORD }}", "implicit": False}),
            Target(url=url.replace(f"{USER}@", ""), options={**ca, **by_block}),
        ):
            with closing(open_publisher("partner", target, lambda block: {"partner": PASSWORD}[block])) as publisher:
                publisher.put(spool_file, "", TEMP)
                assert publisher.identity == url and publisher.address("in", NAME) == f"{url}/in/{NAME}"


@pytest.mark.parametrize(
    ("url", "options", "key"),
    [
        ("ftps://host/drop", {}, "url"),
        (f"ftps://me:{WRONG}@host:many/drop", {}, "url"),
        (f"ftps://me:{WRONG}@/drop", {}, "url"),
        (f"ftps://me:{WRONG}@host?x=y", {}, "url"),
        (f"ftps://me:{WRONG}%0D%0ADELE%20x@host/drop", {}, "url"),
        ("ftps://me@host/drop", {"passwort": WRONG}, "options.passwort"),
        ("ftps://me@host/drop", {"password": 12}, "options.password"),
        ("ftps://me@host/drop", {"implicit": "yes"}, "options.implicit"),
        ("ftps://me@host/drop", {"ca_file": None}, "options.ca_file"),
        ("ftps://me@host/drop", {"ca_file": "~nobody_here/ca.pem"}, "options.ca_file"),
        ("ftps://me@host/drop", {"allow_plain": True}, "options.allow_plain"),
        ("ftp://me@host/drop", {"allow_plain": True, "ca_file": "x"}, "options.ca_file"),
        (f"ftp://me:{WRONG}@host/drop", {}, "options.allow_plain"),
        (f"ftp://me:{WRONG}@host/drop", {"allow_plain": False}, "options.allow_plain"),
    ],
)
def test_a_target_that_says_something_wrong(url: str, options: dict[str, Any], key: str) -> None:
    error = refused(lambda: open_publisher("partner", Target(url=url, options=options), str))
    assert (error.code, error.file, error.key) == (Code.DEFINITION_INVALID, "targets/partner.yaml", key)


@pytest.mark.parametrize(
    ("url", "options", "port", "implicit"),
    [
        ("ftps://me@host/a", {}, 21, False),
        ("ftps://me@host/a", {"implicit": True}, 990, True),
        ("ftps://me@host:990/a", {}, 990, True),
        ("ftps://me@host:990/a", {"implicit": False}, 990, False),
        ("ftps://me@host:2121/a", {"implicit": True}, 2121, True),
        ("ftp://me@host/a", {"allow_plain": True}, 21, False),
    ],
)
def test_ports_and_when_tls_begins(url: str, options: dict[str, Any], port: int, implicit: bool) -> None:
    login = read_login("partner", url, options)
    assert (login.port, login.implicit) == (port, implicit)


def test_a_login_is_shown_without_its_secrets() -> None:
    login = read_login("partner", f"ftps://me:{WRONG}@[::1]/a//b/", {})
    assert login.identity == "ftps://me@[::1]:21/a/b" and login.password == WRONG and WRONG not in repr(login)


# Logging in, and what servers lack, refuse and do.


@pytest.mark.parametrize("options", [{"password": WRONG}, {"username": "another"}])
def test_a_login_that_is_refused(server: FtpServer, drop: Path, options: dict[str, Any]) -> None:
    error = refused(server.publisher(drop, **options).check)
    assert error.code is Code.TARGET_AUTH and "530 Authentication failed" in error.message
    assert options.get("username", USER) in error.message and not error.code.tried_again


def test_a_secret_that_a_server_repeats_is_blotted_out(server: FtpServer, drop: Path) -> None:
    server.says = lambda answer: answer.replace("530 Auth", f"530 {WRONG}: auth")
    error = refused(server.publisher(drop, password=WRONG).check)
    assert error.code is Code.TARGET_AUTH and "530 ***: auth" in error.message


def test_a_server_without_the_commands_that_are_not_needed(server: FtpServer, drop: Path, spool_file: Path) -> None:
    server.lacks("FEAT", "OPTS", "MLST", "MLSD", "MDTM", "QUIT")
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        publisher.publish("", TEMP, NAME, replace=False)
        publisher.put(spool_file, "", TEMP)
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=False))
    assert error.code is Code.FILE_EXISTS and "of an unknown time" in error.message


def test_a_server_that_cannot_tell_how_long_a_file_is(server: FtpServer, drop: Path, spool_file: Path) -> None:
    server.lacks("MLST", "MLSD", "SIZE")
    error = refused(lambda: server.publisher(drop).put(spool_file, "", TEMP))
    assert error.code is Code.TARGET_UNSUPPORTED and "SIZE" in error.message


@pytest.mark.parametrize("replace", [False, True], ids=["new", "replacing"])
def test_a_server_that_cannot_rename(server: FtpServer, drop: Path, spool_file: Path, replace: bool) -> None:
    server.lacks("RNFR")
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=replace))
    assert error.code is Code.TARGET_CANNOT_RENAME and files_in(drop) == {TEMP: CONTENT}


def test_a_server_whose_rename_refuses(server: FtpServer, drop: Path, spool_file: Path) -> None:
    """A name that is taken at the last moment is kept, and replacing is said to be impossible."""
    server.keeps_files = True
    server.on_rename = lambda: (drop / NAME).write_bytes(b"faster")
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=False))
        assert error.code is Code.FILE_EXISTS and "6 bytes" in error.message
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=True))
        assert error.code is Code.TARGET_CANNOT_RENAME and "File exists" in error.message
    assert files_in(drop) == {NAME: b"faster", TEMP: CONTENT}


def test_a_server_that_refuses_writing(server: FtpServer, drop: Path, spool_file: Path) -> None:
    server.is_read_only = True
    with closing(server.publisher(drop)) as publisher:
        for use in (publisher.check, lambda: publisher.put(spool_file, "", TEMP)):
            error = refused(use)
            assert error.code is Code.TARGET_DENIED and "550 Permission denied" in error.message
            assert publisher.address("", "") in error.message and USER in str(error.hint)
    assert files_in(drop) == {}


def test_a_lack_of_rights_is_not_taken_for_a_file_that_is_gone(server: FtpServer, drop: Path) -> None:
    (drop / NAME).write_bytes(CONTENT)
    server.lacks("MLST", "MLSD")
    server.says = lambda answer: "550 Permission denied." if answer.startswith("213") else answer
    with closing(server.publisher(drop)) as publisher:
        for use in (lambda: publisher.stat("", NAME), lambda: publisher.publish("", TEMP, NAME, replace=False)):
            assert refused(use).code is Code.TARGET_DENIED


@pytest.mark.parametrize(
    "answer",
    [
        "552 Requested file action aborted. Exceeded storage allocation",
        "452 Transfer aborted. No space left on device",
        "451 Failure writing to local file.",
        "426 No space left on device; transfer aborted.",
        "550 Disk quota exceeded",
    ],
)
def test_a_server_that_is_full(server: FtpServer, drop: Path, spool_file: Path, answer: str) -> None:
    server.room = 40_000
    server.says = lambda said: answer if said.startswith("426") else said
    with closing(server.publisher(drop)) as publisher:
        error = refused(lambda: publisher.put(spool_file, "", TEMP))
        assert error.code is Code.TARGET_FULL and publisher.address("", TEMP) in error.message
        assert answer in error.message and files_in(drop) == {}
        server.room = None
        publisher.put(spool_file, "", TEMP)
        assert content(publisher, "", TEMP) == of(CONTENT)


@pytest.mark.parametrize("lacks", [(), ("MLST", "MLSD")], ids=["by MLST", "by SIZE"])
def test_a_file_that_arrives_short_is_found_out_and_removed(
    server: FtpServer, drop: Path, spool_file: Path, lacks: tuple[str, ...]
) -> None:
    server.is_forgetful = True
    server.lacks(*lacks)
    with closing(server.publisher(drop)) as publisher:
        error = refused(lambda: publisher.put(spool_file, "", TEMP))
    assert error.code is Code.UPLOAD_MISMATCH
    assert str(len(CONTENT)) in error.message and str(len(CONTENT) - 1) in error.message
    assert files_in(drop) == {}


def test_a_file_that_shrinks_while_it_is_read(server: FtpServer, drop: Path) -> None:
    (drop / NAME).write_bytes(CONTENT)
    with closing(server.publisher(drop)) as publisher:
        found = publisher.stat("", NAME)
        (drop / NAME).write_bytes(CONTENT[:40_000])
        assert found is not None and refused(found.sha256).code is Code.TARGET_UNREACHABLE


def test_another_host_that_the_server_names_for_data_is_not_gone_to(
    server: FtpServer, drop: Path, spool_file: Path
) -> None:
    server.says = lambda answer: answer.replace("(127,0,0,1", "(192,0,2,1") if answer[:3] == "227" else answer
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
    assert files_in(drop) == {TEMP: CONTENT}


def test_a_data_port_that_nobody_can_reach_is_named(server: FtpServer, drop: Path, spool_file: Path) -> None:
    server.says = lambda answer: "227 Entering passive mode (127,0,0,1,0,1)." if answer[:3] == "227" else answer
    error = refused(lambda: server.publisher(drop).put(spool_file, "", TEMP))
    assert error.code is Code.TARGET_UNREACHABLE and "data connection to 127.0.0.1, port 1" in error.message
    assert "passive" in str(error.hint)


def test_words_in_another_encoding_are_no_obstacle(server: FtpServer, drop: Path) -> None:
    server.speaks("latin-1")
    server.says = lambda answer: answer.replace("No such file or directory", "Dossier supprimé")
    error = refused(lambda: server.publisher(drop).check("nowhere"))
    assert error.code is Code.TARGET_DENIED and "550 Dossier supprim\ufffd" in error.message


def test_a_server_that_takes_no_more_users_is_tried_again(server: FtpServer, drop: Path) -> None:
    server.says = lambda answer: "421 Too many users" if answer[:3] == "220" else answer
    error = refused(server.publisher(drop).check)
    assert error.code is Code.TARGET_UNREACHABLE and error.code.tried_again and "421 Too many" in error.message


def test_a_connection_that_died_is_made_anew(server: FtpServer, drop: Path, spool_file: Path) -> None:
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        server.restart()
        assert content(publisher, "", TEMP) == of(CONTENT)
        server.stop()
        assert refused(lambda: publisher.stat("", TEMP)).code is Code.TARGET_UNREACHABLE
        server.start()
        assert content(publisher, "", TEMP) == of(CONTENT)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_server_that_is_not_there(host: str) -> None:
    error = refused(opened(f"ftps://{USER}:{WRONG}@{host}/drop", {}).check)
    assert error.code is Code.TARGET_UNREACHABLE and error.code.tried_again and host in error.message
