"""What is SFTP's own: who the server is, who logs in, what servers lack, and that no secret is ever told."""

from __future__ import annotations

import builtins
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko.common import cMSG_USERAUTH_REQUEST
from publishers import CONTENT, NAME, TEMP, content, files_in, of
from refusals import refused_without
from sftp_server import PASSPHRASE, PASSWORD, TIMEOUTS, USER, Keys, SftpServer, opened

from catalog.connections import Target
from catalog.errors import Code, Remedy
from tasks.publish import Publisher, open_publisher
from tasks.publish.sftp_login import read_login

WRONG = "hunter2"


refused = refused_without(PASSWORD, PASSPHRASE, WRONG)


@pytest.fixture
def server(sftp_server: SftpServer, drop: Path) -> SftpServer:
    return sftp_server


# Host keys.


def test_an_unknown_host_key_is_refused_and_shown(server: SftpServer, drop: Path) -> None:
    server.keys.known_hosts.write_text("")
    error = refused(server.publisher(drop).check)
    assert error.code is Code.HOST_KEY_MISMATCH and error.code.remedy is Remedy.FIX
    assert server.host_key.get_fingerprint() in error.message and str(server.keys.known_hosts) in error.message
    assert server.logins == [], "nobody logs in on a server that is not known"
    # The hint holds the line that is missing.
    server.keys.known_hosts.write_text(str(error.hint).rpartition(": ")[2])
    server.publisher(drop).check()


def test_a_known_hosts_file_that_is_not_there_knows_nobody(server: SftpServer, drop: Path) -> None:
    server.keys.known_hosts.unlink()
    assert refused(server.publisher(drop).check).code is Code.HOST_KEY_MISMATCH


def test_a_known_hosts_file_that_cannot_be_read(server: SftpServer, drop: Path) -> None:
    for spoil in (lambda path: path.write_bytes(b"\xff\xfe"), lambda path: (path.unlink(), path.mkdir())):
        spoil(server.keys.known_hosts)
        error = refused(server.publisher(drop).check)
        assert error.code is Code.HOST_KEY_MISMATCH and "cannot be read" in error.message


def test_a_changed_host_key_is_refused_and_both_are_shown(server: SftpServer, drop: Path, spool_file: Path) -> None:
    known = server.host_key.get_fingerprint()
    publisher = server.publisher(drop)
    publisher.put(spool_file, "", TEMP)
    # What matters is a new connection; the old one may not know yet that it is dead.
    publisher.close()
    server.change_host_key()
    error = refused(lambda: publisher.publish("", TEMP, NAME, replace=False))
    assert error.code is Code.HOST_KEY_MISMATCH
    assert known in error.message and server.host_key.get_fingerprint() in error.message
    assert server.logins == ["key"] and set(files_in(drop)) == {TEMP}


def test_the_key_of_another_port_or_a_marked_line_does_not_count(server: SftpServer, drop: Path) -> None:
    line = server.keys.known_hosts.read_text()
    for other in (line.replace(f":{server.port}", ""), f"@revoked {line}", f"@cert-authority {line}", f"#{line}"):
        server.keys.known_hosts.write_text(other)
        assert refused(server.publisher(drop).check).code is Code.HOST_KEY_MISMATCH, other


def test_every_form_of_a_known_hosts_line(server: SftpServer, drop: Path) -> None:
    from paramiko.hostkeys import HostKeys

    line = server.keys.known_hosts.read_text()
    host = line.split()[0]
    old = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    for form in (
        line.replace(host, HostKeys.hash_host(host)),
        line.replace(host, f"elsewhere,{host}"),
        f"# a comment\n\n{host} ssh-ed25519 damaged\n{host} of-no-known-kind AAAA\n{line}",
        f"{host} {old}{line}",
    ):
        server.keys.known_hosts.write_text(form)
        with closing(server.publisher(drop)) as publisher:
            publisher.check()


def test_of_several_host_keys_the_known_one_is_asked_for(tmp_path: Path, ssh_keys: Keys, drop: Path) -> None:
    server = SftpServer(tmp_path, ssh_keys)
    server.more_host_keys = [asyncssh.generate_private_key(kind) for kind in ("ecdsa-sha2-nistp256", "ssh-rsa")]
    server.start()
    try:
        for key in server.host_keys:
            ssh_keys.know(server.port, key)
            with closing(server.publisher(drop)) as publisher:
                publisher.check()
    finally:
        server.end()


# Logging in.


def logins(keys: Keys) -> dict[str, dict[str, Any]]:
    return {
        "key": {"key_filename": str(keys.plain)},
        "encrypted key": {"key_filename": str(keys.encrypted), "passphrase": PASSPHRASE},
        "password": {"password": PASSWORD},
        "key, then password": {"key_filename": str(strangers_key(keys)), "password": PASSWORD},
    }


def strangers_key(keys: Keys) -> Path:
    path = keys.plain.with_name("strangers")
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    return path


@pytest.mark.parametrize("way", ["key", "encrypted key", "password", "key, then password"])
def test_every_way_to_log_in(server: SftpServer, drop: Path, way: str) -> None:
    with closing(server.publisher(drop, **logins(server.keys)[way])) as publisher:
        publisher.check()
    assert server.logins[-1] == way.split()[-1]


def test_an_answer_that_comes_at_once_is_not_missed(
    server: SftpServer, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine, where the thread that asked goes on only after the answer was read."""
    send = paramiko.Transport._send_message
    waited: list[bool] = []

    def answered(transport: paramiko.Transport, message: paramiko.Message) -> None:
        send(transport, message)
        if message.asbytes()[:1] == cMSG_USERAUTH_REQUEST:
            deadline = time.monotonic() + TIMEOUTS.login / 2
            while not transport.is_authenticated() and time.monotonic() < deadline:
                time.sleep(0.01)
            waited.append(transport.is_authenticated())

    monkeypatch.setattr(paramiko.Transport, "_send_message", answered)
    with closing(server.publisher(drop)) as publisher:
        publisher.check()
    assert waited == [True]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_user_keys(server: SftpServer, drop: Path, kind: str) -> None:
    # Written by cryptography: asyncssh writes every other ECDSA key in a way that paramiko does not read.
    made = rsa.generate_private_key(65537, 3072) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    written = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    Path(server.keys.plain).write_bytes(written)
    server.keys.user = asyncssh.import_private_key(written)
    with closing(server.publisher(drop)) as publisher:
        publisher.check()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"password": WRONG}, "Authentication failed"),
        ({"username": "another", "password": PASSWORD}, "Authentication failed"),
        ({"key_filename": "strangers"}, "Authentication failed"),
        ({"key_filename": "encrypted_key"}, "encrypted_key"),
        ({"key_filename": "encrypted_key", "passphrase": WRONG}, "encrypted_key"),
        ({"key_filename": "known_hosts"}, "known_hosts"),
        ({"key_filename": "nowhere"}, "No such file"),
    ],
)
def test_a_login_that_is_refused(server: SftpServer, drop: Path, options: dict[str, Any], told: str) -> None:
    strangers_key(server.keys)
    if "key_filename" in options:
        options = {**options, "key_filename": str(server.keys.plain.with_name(options["key_filename"]))}
    error = refused(server.publisher(drop, **options).check)
    assert error.code is Code.TARGET_AUTH and told in error.message and not error.code.tried_again
    assert options.get("username", USER) in error.message


def test_the_users_own_keys_are_tried_only_when_nothing_is_given(
    server: SftpServer, drop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".ssh").mkdir()
    server.keys.plain.rename(tmp_path / ".ssh" / "id_ed25519")
    server.keys.known_hosts.rename(tmp_path / ".ssh" / "known_hosts")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with closing(opened(server.url(drop), {})) as publisher:
        publisher.check()
    assert refused(opened(server.url(drop), {"password": WRONG}).check).code is Code.TARGET_AUTH
    (tmp_path / ".ssh" / "id_ed25519").unlink()
    assert refused(opened(server.url(drop), {}).check).code is Code.TARGET_AUTH


# What a target says.


def test_a_target_of_the_catalog(
    server: SftpServer, drop: Path, spool_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths start beside the catalog; secrets are references, in the URL and in the options."""
    (tmp_path / "catalog").mkdir()
    monkeypatch.setenv("EXPORTS_CATALOG", str(tmp_path / "catalog"))
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    url = server.url(drop)
    known = {"known_hosts": "keys/known_hosts"}
    by_block = {"password": "{{ prefect.blocks.secret.partner }}", "username": USER}
    for target in (
        Target(url=url.replace(USER, f"{USER}:{{{{ $SFTP_PASSWORD }}}}", 1), options=known),
        Target(url=url, options={**known, "password": "{{ $SFTP_PASSWORD }}"}),
        Target(url=url.replace(f"{USER}@", ""), options={**known, **by_block}),
        Target(url=url, options={**known, "key_filename": "keys/key"}),
    ):
        with closing(open_publisher("partner", target, lambda block: {"partner": PASSWORD}[block])) as publisher:
            publisher.put(spool_file, "", TEMP)
            assert publisher.identity == url and publisher.address("in", NAME) == f"{url}/in/{NAME}"
    assert server.logins == ["password", "password", "password", "key"]


@pytest.mark.parametrize(
    ("url", "options", "key"),
    [
        ("sftp://host/drop", {}, "url"),
        (f"sftp://me:{WRONG}@host:many/drop", {}, "url"),
        (f"sftp://me:{WRONG}@/drop", {}, "url"),
        (f"sftp://me:{WRONG}@host?x=y", {}, "url"),
        ("sftp://me@host/drop", {"passwort": WRONG}, "options.passwort"),
        ("sftp://me@host/drop", {"password": 12}, "options.password"),
        ("sftp://me@host/drop", {"known_hosts": None}, "options.known_hosts"),
        ("sftp://me@host/drop", {"key_filename": "~nobody_here/key"}, "options.key_filename"),
    ],
)
def test_a_target_that_says_something_wrong(url: str, options: dict[str, Any], key: str) -> None:
    error = refused(lambda: open_publisher("partner", Target(url=url, options=options), str))
    assert (error.code, error.file, error.key) == (Code.DEFINITION_INVALID, "targets/partner.yaml", key)


def test_a_login_is_shown_without_its_secrets() -> None:
    login = read_login("partner", f"sftp://me:{WRONG}@[::1]/a//b/", {"passphrase": PASSPHRASE})
    assert login.identity == "sftp://me@[::1]:22/a/b" and (login.host, login.host_name) == ("::1", "::1")
    assert login.password == WRONG and WRONG not in repr(login) and PASSPHRASE not in repr(login)


def test_without_its_package_the_target_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("paramiko", "tasks.publish.sftp"))]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without_paramiko(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == "paramiko":
            raise ModuleNotFoundError("No module named 'paramiko'", name="paramiko")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_paramiko)
    error = refused(lambda: open_publisher("partner", Target(url="sftp://me@host/drop"), str))
    assert error.code is Code.DRIVER_MISSING and error.hint == "pip install paramiko" and "partner" in error.message


# What servers lack, refuse and do.


@pytest.mark.parametrize("replace", [False, True], ids=["new", "replacing"])
def test_a_server_that_cannot_rename(server: SftpServer, drop: Path, spool_file: Path, replace: bool) -> None:
    server.without = {"posix_rename" if replace else "rename"}
    (drop / NAME).write_bytes(b"kept")
    if not replace:
        (drop / NAME).unlink()
    before = files_in(drop)
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=replace))
        assert error.code is Code.TARGET_CANNOT_RENAME and error.code.remedy is Remedy.EDIT
        assert files_in(drop) == {**before, TEMP: CONTENT}
        publisher.publish("", TEMP, f"other {NAME}", replace=not replace)


def test_a_name_that_is_taken_at_the_last_moment_is_not_replaced(
    server: SftpServer, drop: Path, spool_file: Path
) -> None:
    server.on_rename = lambda: (drop / NAME).write_bytes(b"faster")
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=False))
    assert error.code is Code.FILE_EXISTS and "6 bytes" in error.message
    assert files_in(drop) == {NAME: b"faster", TEMP: CONTENT}


def test_a_server_that_refuses_writing(server: SftpServer, drop: Path, spool_file: Path) -> None:
    server.is_read_only = True
    with closing(server.publisher(drop)) as publisher:
        for use in (publisher.check, lambda: publisher.put(spool_file, "", TEMP)):
            error = refused(use)
            assert error.code is Code.TARGET_DENIED and "Permission denied" in error.message
            assert publisher.address("", "") in error.message and USER in str(error.hint)
    assert files_in(drop) == {}


@pytest.mark.parametrize("room", [0, 40_000, len(CONTENT) - 1])
def test_a_server_that_is_full(server: SftpServer, drop: Path, spool_file: Path, room: int) -> None:
    server.room = room
    with closing(server.publisher(drop)) as publisher:
        error = refused(lambda: publisher.put(spool_file, "", TEMP))
        assert error.code is Code.TARGET_FULL and publisher.address("", TEMP) in error.message
        assert files_in(drop) == {}
        server.room = None
        publisher.put(spool_file, "", TEMP)
        assert content(publisher, "", TEMP) == of(CONTENT)


def test_a_file_that_arrives_short_is_found_out_and_removed(server: SftpServer, drop: Path, spool_file: Path) -> None:
    server.is_forgetful = True
    with closing(server.publisher(drop)) as publisher:
        error = refused(lambda: publisher.put(spool_file, "", TEMP))
    assert error.code is Code.UPLOAD_MISMATCH
    assert str(len(CONTENT)) in error.message and str(len(CONTENT) - 1) in error.message
    assert files_in(drop) == {}


def test_a_file_that_shrinks_while_it_is_read(server: SftpServer, drop: Path) -> None:
    (drop / NAME).write_bytes(CONTENT)
    with closing(server.publisher(drop)) as publisher:
        found = publisher.stat("", NAME)
        (drop / NAME).write_bytes(CONTENT[:40_000])
        assert found is not None and refused(found.sha256).code is Code.TARGET_UNREACHABLE


def test_a_connection_that_died_is_made_anew(server: SftpServer, drop: Path, spool_file: Path) -> None:
    with closing(server.publisher(drop)) as publisher:
        publisher.put(spool_file, "", TEMP)
        server.stop()
        assert refused(lambda: publisher.stat("", TEMP)).code is Code.TARGET_UNREACHABLE
        server.start()
        assert content(publisher, "", TEMP) == of(CONTENT)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_server_that_is_not_there(host: str, tmp_path: Path) -> None:
    error = refused(opened(f"sftp://{USER}:{WRONG}@{host}/drop", {}).check)
    assert error.code is Code.TARGET_UNREACHABLE and error.code.tried_again and host in error.message


def test_a_secret_that_a_server_repeats_is_blotted_out(server: SftpServer, drop: Path, spool_file: Path) -> None:
    def repeat() -> None:
        raise asyncssh.SFTPFailure(f"user {USER} with {PASSWORD} may not")

    server.on_rename = repeat
    publisher: Publisher = server.publisher(drop, password=PASSWORD)
    with closing(publisher):
        publisher.put(spool_file, "", TEMP)
        error = refused(lambda: publisher.publish("", TEMP, NAME, replace=False))
    assert error.code is Code.TARGET_DENIED and "*** may not" in error.message
