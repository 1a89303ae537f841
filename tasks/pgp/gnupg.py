"""The program gpg, with a home of its own: nothing of the user's keys and options is seen or changed.

https://www.gnupg.org/documentation/manuals/gnupg/GPG-Esoteric-Options.html
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from catalog.errors import Code, ExportError

_ALWAYS = ("--no-options", "--batch", "--no-tty", "--no-auto-key-locate", "--pinentry-mode", "loopback")


@dataclass(frozen=True, slots=True)
class GnuPG:
    """gpg, and the folder that it takes for its user's own."""

    program: str
    home: Path

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [self.program, *_ALWAYS, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """With which it runs: messages are in English, since they are read here."""
        return {**os.environ, "GNUPGHOME": str(self.home), "LC_ALL": "C"}

    def run(self, *arguments: str, content: bytes = b"", passphrase: str | None = None) -> Answer:
        """Run it to its end, with `content` as its input."""
        with self.start(*arguments, passphrase=passphrase, errors=subprocess.PIPE) as process:
            output, errors = process.communicate(content)
        return Answer(process.returncode, output, errors)

    def start(self, *arguments: str, passphrase: str | None, errors: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Begin it, with pipes for what it reads and writes. The passphrase is in no argument and no file."""
        if passphrase is None:
            return self._popen(arguments, (), errors)
        reading, writing = os.pipe()
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(passphrase.encode() + b"\n")
            return self._popen(("--passphrase-fd", str(reading), *arguments), (reading,), errors)
        finally:
            os.close(reading)

    def _popen(
        self, arguments: Sequence[str], inherited: Sequence[int], errors: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=self.environment,
            pass_fds=inherited,
            # A Ctrl-C at the terminal is the run's to answer.
            start_new_session=True,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What gpg left: its exit code and what it wrote."""

    code: int
    output: bytes
    errors: bytes

    @property
    def reason(self) -> str:
        """What it says went wrong, without the names of files."""
        return reason_of(self.errors)


def reason_of(errors: bytes) -> str:
    """The first of gpg's complaints that says why, without what it is about."""
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.startswith("gpg: ")]
    skipped = [line for line in lines if ": skipped: " in line or "failed: " in line]
    found = (skipped or lines or ["it gave no reason"])[0]
    return found.rpartition(": ")[2]


@contextmanager
def gnupg(folder: Path) -> Iterator[GnuPG]:
    """gpg with an empty home (0700) in the folder, which is removed afterwards, its agent ended.

    Raises ExportError DRIVER_MISSING when the machine has no gpg.
    """
    program = shutil.which("gpg")
    if program is None:
        raise ExportError(
            Code.DRIVER_MISSING,
            "`file.encryption` needs the program gpg, which is not installed here",
            "install GnuPG 2.2 or newer, as with `apt-get install gnupg`",
        )
    with ExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory(prefix="gnupg-", dir=folder, ignore_cleanup_errors=True))
        # The agent's socket lies in the home, and the paths of sockets must be short.
        short = Path(stack.enter_context(TemporaryDirectory(prefix="exports-"))) / "home"
        short.symlink_to(home)
        own = GnuPG(program, short)
        stack.callback(_end_agent, own)
        yield own


def _end_agent(own: GnuPG) -> None:
    if any(own.home.glob("private-keys-v1.d/*")) and (program := shutil.which("gpgconf")):
        subprocess.run([program, "--kill", "gpg-agent"], env=own.environment, capture_output=True, check=False)
