"""Somebody with GnuPG: makes keys, reads what was encrypted to them, and says who signed it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


class Person:
    """One home of gpg; keys are named by an address."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def gpg(self, *arguments: str, content: bytes = b"", fails: bool = False) -> subprocess.CompletedProcess[bytes]:
        options = ("--batch", "--no-tty", "--pinentry-mode", "loopback")
        own = {**os.environ, "GNUPGHOME": str(self._home), "LC_ALL": "C"}
        done = subprocess.run(["gpg", *options, *arguments], input=content, env=own, capture_output=True)
        assert (done.returncode != 0) is fails, done.stderr.decode()
        return done

    def make_key(self, name: str, algorithm: str = "future-default", *, passphrase: str = "", at: str = "") -> None:
        """A key that expires after a year, made now or at another time."""
        then = ("--faked-system-time", at) if at else ()
        usage = "sign" if algorithm == "ed25519" else "default"
        self.gpg("--passphrase", passphrase, *then, "--quick-gen-key", name, algorithm, usage, "1y")

    def public(self, name: str) -> bytes:
        return self.gpg("--armor", "--export", name).stdout

    def private(self, name: str, passphrase: str = "") -> str:
        return self.gpg("--armor", "--passphrase", passphrase, "--export-secret-keys", name).stdout.decode()

    def decrypt(self, content: bytes, *, signed_by: str | None = None) -> bytes:
        """What stands in it; asserts that it is signed by that key, or by nobody."""
        done = self.gpg("--decrypt", "--status-fd", "2", content=content)
        said = done.stderr.decode()
        assert ("GOODSIG" in said) is (signed_by is not None), said
        assert signed_by is None or any(signed_by in line for line in said.splitlines() if "GOODSIG" in line), said
        return done.stdout

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=False)


@pytest.fixture(scope="session")
def partner() -> Iterator[Person]:
    """With the keys `partner`, `archive`, one that has expired, and two of ours to sign with."""
    # Not below pytest's own folders: the agent's socket needs a short path.
    with TemporaryDirectory(prefix="partner-", ignore_cleanup_errors=True) as home:
        person = Person(Path(home))
        person.make_key("partner@example.com")
        person.make_key("archive@example.com", "default")
        person.make_key("expired@example.com", at="20200101T000000")
        person.make_key("ours@example.com", "ed25519", passphrase="open sesame")
        person.make_key("bare@example.com", "ed25519")
        yield person
        person.end()


@pytest.fixture
def stranger() -> Iterator[Person]:
    """Nobody's key."""
    with TemporaryDirectory(prefix="stranger-", ignore_cleanup_errors=True) as home:
        person = Person(Path(home))
        person.make_key("stranger@example.com")
        yield person
        person.end()
