"""Files encrypted as they are written: to every key of the definition, in bounded memory, never in clear on a disk."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Thread
from typing import IO, Any, BinaryIO, cast

from catalog.encryption import Encryption
from catalog.errors import Code, ExportError
from catalog.load import key_file, load_signing_key
from tasks.credentials import Lookup, resolve
from tasks.pgp.gnupg import Answer, GnuPG, gnupg, reason_of

#: As much as gpg gives at once.
_BLOCK = 1 << 16
#: Data is compressed by `file.compression`, on every core. Who a key belongs to is a matter of who put it there.
_ENCRYPT = ("--encrypt", "--compress-algo", "none", "--trust-model", "always", "--output", "-")


class Encryptor:
    """Encrypts to the keys of one definition; each of them has been tried."""

    def __init__(self, own: GnuPG, recipients: list[Path], signer: str | None, passphrase: str | None) -> None:
        self._own, self._passphrase = own, passphrase
        self._arguments = list(_ENCRYPT)
        for path in recipients:
            self._arguments += ["--recipient-file", str(path)]
        if signer is not None:
            self._arguments += ["--sign", "--local-user", signer]

    @contextmanager
    def into(self, sink: BinaryIO, *, armored: bool) -> Iterator[BinaryIO]:
        """What is written to this goes into the sink encrypted, as text when `armored`; all of it when it is left.

        Raises what the sink raises, and ExportError KEY_INVALID when gpg refuses to go on, STOPPED when it was killed.
        """
        arguments = (*self._arguments, *(("--armor",) if armored else ()))
        with TemporaryFile(dir=self._own.home) as errors:
            process = self._own.start(*arguments, passphrase=self._passphrase, errors=errors)
            stream = _Encrypting(process, sink, errors)
            try:
                yield cast(BinaryIO, stream)
            except BaseException:
                stream.give_up()
                raise
            stream.finish()


class _Encrypting(io.RawIOBase):
    """Bytes into gpg; a thread brings what it gives into the sink, so that neither waits for the other."""

    def __init__(self, process: subprocess.Popen[bytes], sink: BinaryIO, errors: IO[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        self._process, self._into, self._out = process, process.stdin, process.stdout
        self._sink, self._errors = sink, errors
        self._failure: BaseException | None = None
        self._size = 0
        self._carrier = Thread(target=self._carry, name="gpg", daemon=True)
        self._carrier.start()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        """Add bytes. Raises as `finish` does."""
        try:
            self._into.write(data)
        except BrokenPipeError:
            self._end()
            raise self._error() from None
        size = len(data)
        self._size += size
        return size

    def finish(self) -> None:
        """The end of the file, and wait until it is in the sink."""
        self._end()
        if self._process.returncode != 0 or self._failure is not None:
            raise self._error()

    def give_up(self) -> None:
        """Nothing more comes; returns when nobody writes to the sink any more."""
        self._process.kill()
        self._end()

    def _end(self) -> None:
        # A gpg that is gone is told of by its exit code.
        with suppress(BrokenPipeError):
            self._into.close()
        self._carrier.join()
        self._process.wait()

    def _carry(self) -> None:
        with self._out as out:
            try:
                while block := out.read(_BLOCK):
                    self._sink.write(block)
            except BaseException as error:
                self._failure = error
                self._process.kill()

    def _error(self) -> BaseException:
        if self._failure is not None:
            return self._failure
        code = self._process.returncode
        self._errors.seek(0)
        reason = reason_of(self._errors.read())
        if code < 0:
            return ExportError(Code.STOPPED, f"gpg was ended by signal {-code} while it encrypted", "relaunch")
        return ExportError(
            Code.KEY_INVALID, f"gpg could not encrypt: {reason}", "see the keys of `file.encryption`, then relaunch"
        )


@contextmanager
def _opened(encryption: Encryption, folder: Path, lookup: Lookup, catalog: Path | None = None) -> Iterator[Encryptor]:
    recipients = [key_file(name, catalog) for name in encryption.pgp]
    with gnupg(folder) as own:
        for name, path in zip(encryption.pgp, recipients, strict=True):
            tried = own.run(*_ENCRYPT, "--recipient-file", str(path))
            if tried.code != 0:
                raise _unusable(f"keys/{name}.asc cannot be encrypted to", tried, "file.encryption.pgp")
        if encryption.sign is None:
            yield Encryptor(own, recipients, None, None)
            return
        key = load_signing_key(encryption.sign, catalog)
        # An empty one for a key without: gpg asks for nothing then.
        passphrase = resolve(key.passphrase, lookup) if key.passphrase is not None else ""
        signer = _import(own, encryption.sign, resolve(key.private_key, lookup), passphrase)
        yield Encryptor(own, recipients, signer, passphrase)


def _import(own: GnuPG, name: str, private_key: str, passphrase: str) -> str:
    """The fingerprint of the private key, which signs with that passphrase."""
    imported = own.run("--import", content=private_key.encode(), passphrase=passphrase)
    listed = own.run("--with-colons", "--list-secret-keys").output.decode(errors="replace")
    prints = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]
    if not prints:
        raise _unusable(f"the secret of keys/{name}.yaml is no private key", imported, "file.encryption.sign")
    tried = own.run("--sign", "--local-user", prints[0], "--output", "-", passphrase=passphrase)
    if tried.code != 0:
        raise _unusable(f"nothing can be signed with the key of keys/{name}.yaml", tried, "file.encryption.sign")
    return prints[0]


def _unusable(what: str, tried: Answer, key: str) -> ExportError:
    return ExportError(
        Code.KEY_INVALID,
        f"{what}: {tried.reason}",
        "ask its owner for one that has not expired; `gpg --show-keys` shows what a file holds",
        key=key,
    )


@contextmanager
def encrypting(encryption: Encryption | None, folder: Path, lookup: Lookup) -> Iterator[Encryptor | None]:
    """What encrypts as the definition asks, or None when it does not; `folder` is where gpg works meanwhile.

    Raises ExportError KEY_INVALID for a key that is missing, expired, revoked or of the wrong kind, DRIVER_MISSING
    without gpg, and SECRET_MISSING.
    """
    with _opened(encryption, folder, lookup) if encryption else nullcontext() as encryptor:
        yield encryptor


def verify_keys(encryption: Encryption, lookup: Lookup, catalog: Path) -> None:
    """Try every key. Raises ExportError as `encrypting` does."""
    with TemporaryDirectory() as folder, _opened(encryption, Path(folder), lookup, catalog):
        pass
