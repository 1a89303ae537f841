"""`exports check --connect`: which step of a target fails and why, and that nothing is left there."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from ftp_server import PASSWORD as FTP_PASSWORD
from ftp_server import Authority, FtpServer
from publishers import files_in
from s3_server import KEY, SECRET, S3Place
from sftp_server import PASSWORD, SftpServer
from webdav_server import WebDav
from workshop import Workshop

WELL = "target drop: resolve, connect, authenticate, write, rename, read back, delete: all well"


@pytest.fixture
def crm(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """One export, and the passwords of its target where references find them."""
    workshop.sqlite()
    workshop.export("orders")
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "hunter2")
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.setenv("SECRET", SECRET)
    return workshop


def on_sftp(crm: Workshop, server: SftpServer, **options: str) -> None:
    known = {"password": "{{ $PASSWORD }}", "known_hosts": str(server.keys.known_hosts)}
    crm.target("drop", server.url(crm.drop), options={**known, **options})


def on_ftps(crm: Workshop, server: FtpServer, **options: Any) -> None:
    assert FTP_PASSWORD == PASSWORD
    crm.target("drop", server.url(crm.drop), options={"password": "{{ $PASSWORD }}", **server.options, **options})


def on_webdav(crm: Workshop, server: WebDav) -> None:
    crm.target("drop", server.url(crm.drop), options=server.options(password="{{ $PASSWORD }}"))


def failed(crm: Workshop) -> dict[str, Any]:
    """The one finding, whose message names the target and the step; nothing of the probe is left, or of a secret."""
    result = crm.run("check", "--connect", exit_code=1)
    (problem,) = crm.json("check", "--connect", exit_code=1)
    assert problem["export"] == "orders" and problem["severity"] == "error"
    assert problem["message"].startswith(f"target drop: {problem['step']}: ")
    assert f"target drop: {problem['step']}: " in result.stdout and "all well" not in result.stdout
    assert "hunter2" not in result.stdout + str(problem) and PASSWORD not in result.stdout + str(problem)
    assert files_in(crm.drop) == {}
    found: dict[str, Any] = problem
    return found


def all_is_well(crm: Workshop, line: str = WELL) -> None:
    result = crm.run("check", "--connect")
    assert line in result.stdout.splitlines() and "0 problems" in result.stderr
    assert crm.json("check", "--connect") == [] and files_in(crm.drop) == {}


def test_a_local_folder(crm: Workshop) -> None:
    all_is_well(crm, "target drop: write, rename, read back, delete: all well")
    crm.drop.rmdir()
    problem = crm.json("check", "--connect", exit_code=1)[0]
    assert (problem["step"], problem["code"]) == ("write", "TARGET_DENIED")


def test_targets_are_left_alone_unless_that_is_asked(crm: Workshop) -> None:
    crm.drop.rmdir()
    result = crm.run("check")
    assert "target drop" not in result.stdout
    assert crm.json("check") == []


def test_a_target_of_several_exports_is_tried_once(crm: Workshop, sftp_server: SftpServer) -> None:
    on_sftp(crm, sftp_server)
    crm.export("invoices", file={"name": "invoices.csv"}, target=["drop", "archive"])
    crm.export("people", file={"name": "people.csv"})
    (crm.folder / "archive").mkdir()
    crm.target("archive", str(crm.folder / "archive"))
    lines = crm.run("check", "--connect").stdout.splitlines()
    archive = "target archive: write, rename, read back, delete: all well"
    assert sorted(line for line in lines if line.startswith("target ")) == [archive, WELL]
    assert sftp_server.logins == ["password"]
    on_sftp(crm, sftp_server, password="{{ $WRONG }}")
    assert [problem["step"] for problem in crm.json("check", "--connect", exit_code=1)] == ["authenticate"]


def test_only_the_targets_of_the_exports_that_are_named(crm: Workshop) -> None:
    crm.target("away", str(crm.folder / "away"))
    crm.export("people", file={"name": "people.csv"}, target="away")
    assert "away" not in crm.run("check", "--connect", "orders").stdout
    assert crm.json("check", "--connect", "people", exit_code=1)[0]["step"] == "write"


@pytest.mark.parametrize("server", ["sftp", "ftps", "webdav"])
def test_a_server_on_which_all_is_well(crm: Workshop, request: pytest.FixtureRequest, server: str) -> None:
    if server == "sftp":
        on_sftp(crm, request.getfixturevalue("sftp_server"))
    elif server == "ftps":
        on_ftps(crm, request.getfixturevalue("ftp_servers")())
    else:
        on_webdav(crm, request.getfixturevalue("webdav_servers")())
    all_is_well(crm)


def test_a_bucket(crm: Workshop, bucket: S3Place) -> None:
    options = {"key": "{{ $KEY }}", "secret": "{{ $SECRET }}", "endpoint_url": bucket.endpoint()}
    crm.target("drop", bucket.url(), options=options)
    all_is_well(crm)
    assert bucket.files() == {} and bucket.uploads() == []
    crm.target("drop", bucket.url(), options={**options, "secret": "{{ $WRONG }}"})
    assert failed(crm)["step"] == "authenticate"


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("sftp", {}),
        ("ftps", {}),
        ("s3", {"key": "{{ $KEY }}", "secret": "{{ $SECRET }}"}),
        ("webdav", {"auth": ["drop", "{{ $PASSWORD }}"]}),
    ],
)
@pytest.mark.parametrize(("host", "step"), [("no-such-host.invalid", "resolve"), ("127.0.0.1:1", "connect")])
def test_a_server_that_is_not_there(
    crm: Workshop, protocol: str, options: dict[str, Any], host: str, step: str
) -> None:
    (crm.folder / "known_hosts").touch()
    own = {
        "sftp": {"password": "{{ $PASSWORD }}", "known_hosts": "known_hosts"},
        "ftps": {"password": "{{ $PASSWORD }}"},
        "s3": {"endpoint_url": f"https://{host}"},
        "webdav": {"base_url": f"https://{host}"},
    }[protocol]
    url = {"s3": "s3://bucket/x", "webdav": "webdav://x"}.get(protocol, f"{protocol}://me@{host}/x")
    crm.target("drop", url, options={**options, **own})
    problem = failed(crm)
    assert (problem["step"], problem["code"]) == (step, "TARGET_UNREACHABLE") and host in problem["message"]


def test_a_wrong_password_and_an_unknown_host_key(crm: Workshop, sftp_server: SftpServer) -> None:
    on_sftp(crm, sftp_server, password="{{ $WRONG }}")
    assert failed(crm)["code"] == "TARGET_AUTH" and failed(crm)["step"] == "authenticate"
    on_sftp(crm, sftp_server)
    sftp_server.keys.known_hosts.write_text("")
    problem = failed(crm)
    assert (problem["step"], problem["code"]) == ("host key", "HOST_KEY_MISMATCH") and "SHA256:" in str(problem)


def test_a_certificate_of_somebody_else(
    crm: Workshop, ftp_servers: Callable[..., FtpServer], authority: Authority
) -> None:
    server = ftp_servers()
    on_ftps(crm, server, ca_file=str(authority.trusted))
    all_is_well(crm)
    other = Authority(crm.folder / "other")
    on_ftps(crm, server, ca_file=str(other.trusted))
    problem = failed(crm)
    assert (problem["step"], problem["code"]) == ("certificate", "CERTIFICATE_INVALID")


def test_a_server_that_may_not_be_written_on_or_has_no_room(crm: Workshop, sftp_server: SftpServer) -> None:
    on_sftp(crm, sftp_server)
    sftp_server.is_read_only = True
    assert (failed(crm)["step"], failed(crm)["code"]) == ("write", "TARGET_DENIED")
    sftp_server.is_read_only, sftp_server.room = False, 10
    assert (failed(crm)["step"], failed(crm)["code"]) == ("write", "TARGET_FULL")


def test_a_server_that_does_not_rename(crm: Workshop, sftp_server: SftpServer) -> None:
    on_sftp(crm, sftp_server)
    sftp_server.without = {"rename"}
    assert (failed(crm)["step"], failed(crm)["code"]) == ("rename", "TARGET_CANNOT_RENAME")


def test_a_rename_that_is_lost_on_the_way_leaves_nothing(crm: Workshop, webdav_servers: Callable[..., WebDav]) -> None:
    server = webdav_servers()
    on_webdav(crm, server)

    def lose() -> None:
        raise ConnectionAbortedError

    server.after["MOVE"] = lose
    assert (failed(crm)["step"], failed(crm)["code"]) == ("rename", "TARGET_UNREACHABLE")


def test_other_bytes_than_were_written(crm: Workshop, webdav_servers: Callable[..., WebDav]) -> None:
    server = webdav_servers()
    on_webdav(crm, server)

    def spoil() -> None:
        (path,) = crm.drop.glob(".exports_check_*")
        path.write_bytes(path.read_bytes()[::-1])

    server.after["MOVE"] = spoil
    assert (failed(crm)["step"], failed(crm)["code"]) == ("read back", "UPLOAD_MISMATCH")


def test_a_file_that_cannot_be_deleted(crm: Workshop, webdav_servers: Callable[..., WebDav]) -> None:
    server = webdav_servers()
    on_webdav(crm, server)
    # Only that of the final name: the first question deletes a file of its own.
    server.before["DELETE"] = lambda environ: (
        HTTPStatus.FORBIDDEN
        if ".exports_check_" in environ["PATH_INFO"] and ".part" not in environ["PATH_INFO"]
        else None
    )
    (problem,) = crm.json("check", "--connect", exit_code=1)
    assert (problem["step"], problem["code"]) == ("delete", "TARGET_DENIED")
    assert problem["message"].startswith("target drop: delete: cannot remove ")
    assert len(files_in(crm.drop)) == 1, "the message names it"


@pytest.mark.parametrize(
    ("url", "options", "code"),
    [
        ("nope://x", {}, "TARGET_UNSUPPORTED"),
        ("sftp://me@host/x", {"nonsense": 1}, "DEFINITION_INVALID"),
        ("sftp://me@host/x", {"password": "{{ $NOT_SET }}"}, "SECRET_MISSING"),
        ("webdav://x", {}, "DEFINITION_INVALID"),
    ],
)
def test_a_target_that_lets_no_step_begin(crm: Workshop, url: str, options: dict[str, Any], code: str) -> None:
    crm.target("drop", url, options=options)
    (problem,) = crm.json("check", "--connect", exit_code=1)
    assert (problem["step"], problem["code"]) == (None, code) and problem["message"].count("target drop: ") <= 1
