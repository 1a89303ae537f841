"""Targets of any other fsspec protocol: who may be one, what is said of it, and that no final name is truncated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations, register_implementation
from ftp_server import Authority
from ledgers import a_run, incremental
from one_run import run_once
from plain_run import run_plainly
from publishers import CONTENT, NAME, TEMP, content, files_in, of, uploaded
from refusals import refused_without
from tcp_proxy import Proxies
from webdav_server import PASSWORD, USER, WebDav, opened
from workshop import Workshop

from catalog.connections import Target
from catalog.errors import Code
from catalog.windows import State
from tasks.ledger import Ledger
from tasks.publish import open_publisher
from tasks.publish.plain import PlainPublisher
from tasks.publish.plain_place import Place, how_to_install, read_place

WRONG = "hunter2"
refused = refused_without(PASSWORD, WRONG)


@pytest.fixture
def server(webdav_servers: Callable[..., WebDav], drop: Path) -> WebDav:
    return webdav_servers()


def a_place(protocol: str, file_system: type[Any], root: str) -> Place:
    return Place("partner", protocol, root, file_system, {}, f"{protocol}://{root}", None)


# Which protocols.


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory://x", "gone with the process"),
        ("ssh://me@host/x", "host keys are not checked"),
        ("https://host/x", "nothing can be written"),
        ("simplecache://x", "a view of other places"),
        ("simplecache::webdav://x", "is not served"),
        ("nope://x", "is not served"),
    ],
)
def test_what_can_be_no_target(url: str, why: str) -> None:
    error = refused(lambda: open_publisher("partner", Target(url=url), str))
    assert error.code is Code.TARGET_UNSUPPORTED and why in error.message and "sftp" in str(error.hint)


@pytest.mark.parametrize(
    ("protocol", "line"),
    [
        ("gs", "pip install gcsfs"),
        ("smb", "pip install smbprotocol"),
        ("dropbox", "pip install dropboxdrivefs"),
        ("gdrive", "pip install gdrive_fs"),
        ("lakefs", "pip install lakefs-spec"),
        ("webdav", "pip install webdav4"),
        ("arrow_hdfs", "pyarrow and local java libraries required for HDFS"),
    ],
)
def test_what_to_install_for_a_protocol(protocol: str, line: str) -> None:
    assert how_to_install(protocol) == line


@pytest.mark.parametrize("protocol", known_implementations)
def test_every_protocol_that_fsspec_knows_has_a_hint(protocol: str) -> None:
    assert how_to_install(protocol).split()[-1] not in ("", "install", "the", "to")


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed on this machine."""
    missing = {"class": "no_such_package.FileSystem", "err": "Please install no-such-package to access it"}
    monkeypatch.setitem(known_implementations, "missing", missing)
    error = refused(lambda: open_publisher("partner", Target(url=f"missing://me:{WRONG}@x"), str))
    assert error.code is Code.DRIVER_MISSING and error.hint == "pip install no-such-package"
    assert "partner" in error.message and "missing" in error.message


# What is said of them, and what is not.


@pytest.mark.parametrize(
    ("options", "identity"),
    [
        ({"base_url": "https://h/dav/", "auth": ["me", WRONG]}, "webdav://me@h/dav/out/in"),
        ({"base_url": f"https://me:{WRONG}@h:8443/dav?key={WRONG}"}, "webdav://h:8443/dav/out/in"),
        ({"base_url": f"https://h/public/{WRONG}"}, "webdav://h/public/***/out/in"),
    ],
)
def test_an_identity_tells_the_place_and_no_secret(options: dict[str, Any], identity: str) -> None:
    place = read_place("partner", "webdav://out/in/", options, [WRONG])
    assert place.identity == identity and WRONG not in repr(place)


def test_an_address_that_is_a_secret_as_a_whole_shows_its_host_only() -> None:
    address = f"https://h/public/{WRONG}"
    assert read_place("partner", "webdav://out", {"base_url": address}, [address]).identity == "webdav://h/out"


def test_an_address_that_is_none_is_refused() -> None:
    error = refused(lambda: read_place("partner", "webdav://out", {"base_url": f"https://[{WRONG}"}, [WRONG]))
    assert error.code is Code.DEFINITION_INVALID and error.key == "options" and WRONG not in error.message
    assert read_place("partner", "webdav://out", {"base_url": "https://h", "auth": []}, []).identity == "webdav://h/out"


def test_user_and_password_of_a_url_are_unquoted() -> None:
    class Shared(MemoryFileSystem):
        protocol = "shared"

        @staticmethod
        def _get_kwargs_from_urls(url: str) -> dict[str, Any]:
            return {"host": "h", "port": 445, "username": "d%20p", "password": "pa%40s"}

    register_implementation("shared", Shared, clobber=True)
    place = read_place("partner", "shared://d%20p:pa%40s@h:445/out", {}, [])
    assert (place.arguments["username"], place.arguments["password"]) == ("d p", "pa@s")
    assert place.identity.startswith("shared://d p@h:445/")


@pytest.mark.parametrize("options", [{}, {"base_url": "https://h", "auth": {"password": WRONG}}])
def test_options_that_the_file_system_does_not_take(options: dict[str, Any]) -> None:
    error = refused(opened("webdav://out", options, WRONG).check)
    assert error.code is Code.DEFINITION_INVALID and error.key == "options" and error.file == "targets/partner.yaml"


def test_what_is_not_protected_is_warned_of() -> None:
    def warning(**options: Any) -> str | None:
        return opened("webdav://out", options).warning

    assert "in clear" in str(warning(base_url="http://h"))
    assert "certificate is not checked" in str(warning(base_url="https://h", verify=False))
    assert warning(base_url="https://h") is None


# What goes wrong.


def test_a_wrong_password(server: WebDav, drop: Path) -> None:
    error = refused(opened(server.url(drop), server.options(password=WRONG)).check)
    assert error.code is Code.TARGET_AUTH and "401 Unauthorized" in error.message
    assert f"webdav://{USER}@127.0.0.1:{server.port}/dav/drop" in error.message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (HTTPStatus.FORBIDDEN, Code.TARGET_DENIED),
        (HTTPStatus.CONFLICT, Code.TARGET_DENIED),
        (HTTPStatus.LOCKED, Code.TARGET_UNREACHABLE),
        (HTTPStatus.SERVICE_UNAVAILABLE, Code.TARGET_UNREACHABLE),
        (HTTPStatus.BAD_GATEWAY, Code.TARGET_UNREACHABLE),
        (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Code.TARGET_FULL),
        (HTTPStatus.INSUFFICIENT_STORAGE, Code.TARGET_FULL),
    ],
)
def test_an_upload_that_is_refused_leaves_nothing(
    server: WebDav, drop: Path, spool_file: Path, status: HTTPStatus, code: Code
) -> None:
    server.before["PUT"] = lambda _: status
    with closing(server.publisher(drop)) as publisher:
        error = refused(lambda: uploaded(publisher, spool_file, "in"))
    assert error.code is code and NAME in error.message and files_in(drop) == {}


def test_a_certificate_that_nobody_knows(
    webdav_servers: Callable[..., WebDav], authority: Authority, drop: Path
) -> None:
    server = webdav_servers(authority.certificate())
    error = refused(server.publisher(drop).check)
    assert error.code is Code.CERTIFICATE_INVALID and "certificate" in error.message
    assert server.heard == [], "nobody logs in on a server that is not known"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_server_that_is_not_there(host: str) -> None:
    options = {"base_url": f"https://{host}/dav", "auth": [USER, WRONG]}
    error = refused(opened("webdav://drop", options).check)
    assert error.code is Code.TARGET_UNREACHABLE and error.code.tried_again and host in error.message


def test_a_file_that_arrives_short_is_found_out_and_removed(server: WebDav, drop: Path, spool_file: Path) -> None:
    server.after["PUT"] = lambda: (drop / TEMP).write_bytes(CONTENT[:-1])
    with closing(server.publisher(drop)) as publisher:
        error = refused(lambda: uploaded(publisher, spool_file))
    assert error.code is Code.UPLOAD_MISMATCH and str(len(CONTENT) - 1) in error.message
    assert files_in(drop) == {}


def test_an_upload_that_is_cut_shows_nothing_under_the_final_name(
    server: WebDav, proxies: Proxies, drop: Path, spool_file: Path
) -> None:
    proxy = proxies(server.port)
    with closing(server.publisher(drop, proxy.port)) as publisher:
        proxy.fail("reset", "to server", 100_000)
        assert refused(lambda: uploaded(publisher, spool_file)).code is Code.TARGET_UNREACHABLE
        assert NAME not in files_in(drop)
        proxy.heal()
        publisher.publish("", uploaded(publisher, spool_file, upload="u2"), NAME, replace=False)
        assert content(publisher, "", NAME) == of(CONTENT)


def test_a_file_that_appears_between_the_look_and_the_move_stays(server: WebDav, drop: Path, spool_file: Path) -> None:
    def appear(_: object) -> None:
        (drop / NAME).write_bytes(b"other")

    server.before["MOVE"] = appear
    with closing(server.publisher(drop)) as publisher:
        temp = uploaded(publisher, spool_file)
        error = refused(lambda: publisher.publish("", temp, NAME, replace=False))
    assert error.code is Code.FILE_EXISTS and files_in(drop) == {NAME: b"other", temp: CONTENT}


def test_a_move_that_is_not_done_and_not_refused(server: WebDav, drop: Path, spool_file: Path) -> None:
    """A server that says that all went well."""
    server.before["MOVE"] = lambda _: HTTPStatus.CREATED
    with closing(server.publisher(drop)) as publisher:
        temp = uploaded(publisher, spool_file)
        error = refused(lambda: publisher.publish("", temp, NAME, replace=False))
        assert error.code is Code.TARGET_CANNOT_RENAME and "nobody says why" in error.message
        (drop / NAME).write_bytes(b"earlier")
        error = refused(lambda: publisher.publish("", temp, NAME, replace=True))
        assert error.code is Code.TARGET_CANNOT_RENAME and "not replaced in one step" in error.message
    assert files_in(drop) == {NAME: b"earlier", temp: CONTENT}


# Those that have no rename.


def test_a_copy_that_would_grow_under_the_final_name_is_no_rename(spool_file: Path) -> None:
    publisher = PlainPublisher(a_place("other", MemoryFileSystem, "/drop"))
    error = refused(lambda: uploaded(publisher, spool_file))
    assert error.code is Code.TARGET_CANNOT_RENAME and "other" in error.message


def test_an_object_store_copies_and_deletes(spool_file: Path, tmp_path: Path) -> None:
    class Bucket(MemoryFileSystem):
        store: dict[str, Any] = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

    publisher = PlainPublisher(a_place("gs", Bucket, "/bucket/drop"))
    publisher.check()
    temp = uploaded(publisher, spool_file, "in")
    publisher.publish("in", temp, NAME, replace=False)
    assert content(publisher, "in", NAME) == of(CONTENT) and publisher.stat("in", temp) is None
    temp = uploaded(publisher, spool_file, "in")
    assert refused(lambda: publisher.publish("in", temp, NAME, replace=False)).code is Code.FILE_EXISTS
    publisher.publish("in", temp, NAME, replace=True)
    assert list(Bucket.store) == [f"/bucket/drop/in/{NAME}"]


def test_a_copy_that_is_short_keeps_the_temp(spool_file: Path) -> None:
    class Forgetful(MemoryFileSystem):
        store: dict[str, Any] = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

        def cp_file(self, path1: str, path2: str, **keys: Any) -> None:
            self.pipe_file(path2, self.cat_file(path1)[:-1])

    publisher = PlainPublisher(a_place("gs", Forgetful, "/bucket/drop"))
    temp = uploaded(publisher, spool_file)
    assert refused(lambda: publisher.publish("", temp, NAME, replace=True)).code is Code.UPLOAD_MISMATCH
    assert content(publisher, "", temp) == of(CONTENT) and list(Forgetful.store) == [f"/bucket/drop/{temp}"]


# From the definition to the file, and what nobody can know.


def test_from_the_definition_to_the_file(
    workshop: Workshop, webdav_servers: Callable[..., WebDav], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = webdav_servers()
    monkeypatch.setenv("PARTNER", PASSWORD)
    workshop.sqlite()
    options = {"base_url": server.base_url(), "auth": [USER, "{{ $PARTNER }}"]}
    workshop.target("drop", server.url(workshop.drop), options=options)
    told = run_plainly(workshop, workshop.export(folder="in"), datetime.now(UTC)).told
    assert list(workshop.files()) == ["in/orders.csv"] and "in clear" in str(told.warnings)
    assert PASSWORD not in str(told)


@pytest.mark.parametrize("taken", [False, True], ids=["kept", "taken at once"])
def test_the_answer_to_the_move_is_lost(server: WebDav, drop: Path, tmp_path: Path, taken: bool) -> None:
    """The server has published and nobody knows: a file that stands there tells, and of one that was taken a person."""
    ledger_url, export, run_id = f"sqlite:///{tmp_path / 'ledger.sqlite'}", incremental(file={"name": NAME}), a_run()

    def run() -> None:
        with closing(server.publisher(drop)) as publisher:
            run_once(ledger_url, export, run_id, tmp_path, CONTENT, publisher)

    def lose() -> None:
        if taken:
            (drop / NAME).unlink()
        raise ConnectionAbortedError

    server.after["MOVE"] = lose
    assert refused(run).code is Code.TARGET_UNREACHABLE
    server.after.clear()
    if taken:
        assert refused(run).code is Code.PUBLICATION_UNKNOWN
        return
    run()
    found = Ledger(ledger_url).window_of_run(run_id)
    assert found is not None and found.state is State.COMMITTED and files_in(drop) == {NAME: CONTENT}
