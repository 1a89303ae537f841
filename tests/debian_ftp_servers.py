"""Debian's own FTP servers, with the settings for TLS that they come with; `make test-servers` installs them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ftp_server import PASSWORD, USER, Authority, opened
from prefect_server import free_port

from tasks.publish.ftp import FtpPublisher

ROOT = Path(__file__).resolve().parent.parent
PROFTPD = Path("/usr/sbin/proftpd")
#: Unpacked only: Debian lets one FTP server be installed at a time.
VSFTPD = ROOT / ".exports" / "servers" / "vsftpd" / "usr" / "sbin" / "vsftpd"
_PROFTPD_SETTINGS = """
LoadModule mod_tls.c
ServerType standalone
Port {port}
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
User root
Group root
RootLogin on
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile {folder}/users
DefaultRoot ~
AllowOverwrite on
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayEngine off
WtmpLog off
TransferLog none
SystemLog {folder}/log
TLSEngine on
TLSRequired on
TLSLog {folder}/tls_log
TLSECCertificateFile {certificate}
TLSECCertificateKeyFile {certificate}
"""
# Its guests need no account on this machine, only a PAM service that lets everybody in.
_VSFTPD_SETTINGS = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=NO
local_enable=YES
local_umask=022
guest_enable=YES
guest_username=root
virtual_use_local_privs=YES
pam_service_name={pam}
local_root={root}
chroot_local_user=YES
write_enable=YES
allow_writeable_chroot=YES
secure_chroot_dir={folder}/empty
utf8_filesystem=YES
seccomp_sandbox=NO
ssl_enable=YES
ssl_tlsv1=YES
ssl_ciphers=HIGH
require_ssl_reuse=YES
rsa_cert_file={certificate}
rsa_private_key_file={certificate}
"""


class DebianServer:
    """One of them, as root, confined to one folder."""

    def __init__(self, program: Path, root: Path, folder: Path, authority: Authority) -> None:
        if not program.exists():
            pytest.fail(f"{program} is needed here: `make test-servers` installs it")
        self._root, self._authority, self.port = root, authority, free_port()
        (folder / "empty").mkdir()
        self._pam = Path("/etc/pam.d") / f"exports_test_{self.port}"
        facts = {"port": self.port, "folder": folder, "root": root, "pam": self._pam.name}
        facts["certificate"] = authority.certificate()
        settings = folder / "settings"
        if program == PROFTPD:
            command = [program, "-n", "-c", settings]
            settings.write_text(_PROFTPD_SETTINGS.format(**facts))
            hashed = ["openssl", "passwd", "-6", PASSWORD]
            password = subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip()
            (folder / "users").write_text(f"{USER}:{password}:0:0::{root}:/bin/sh\n")
            (folder / "users").chmod(0o600)
        else:
            command = [program, settings]
            self._pam.write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
            settings.write_text(_VSFTPD_SETTINGS.format(**facts).lstrip())
        log = (folder / "output").open("wb")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_for_port(folder)

    def publisher(self, path: Path) -> FtpPublisher:
        """A publisher on that folder."""
        url = f"ftps://{USER}@127.0.0.1:{self.port}/{path.relative_to(self._root)}"
        return opened(url, {"password": PASSWORD, "ca_file": str(self._authority.trusted)})

    def end(self) -> None:
        """Stop for good."""
        self._process.terminate()
        self._process.wait()
        self._pam.unlink(missing_ok=True)

    def _wait_for_port(self, folder: Path) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                is_running = self._process.poll() is None and time.monotonic() < deadline
                assert is_running, (folder / "output").read_text()
                time.sleep(0.02)


@pytest.fixture
def debian_ftp_servers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Callable[[Path], DebianServer]]:
    """Makes servers on the test's own folder, ended with the test."""
    made: list[DebianServer] = []

    def make(program: Path) -> DebianServer:
        made.append(DebianServer(program, tmp_path, tmp_path_factory.mktemp("server"), authority))
        return made[-1]

    yield make
    for server in made:
        server.end()
