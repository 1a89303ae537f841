"""Files are encrypted to every key, signed, and read by GnuPG; nothing stands in the spool in clear."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ledgers import a_run
from openpgp import Person
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError
from tasks.pgp import gnupg
from tasks.publish.local import LocalPublisher

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = {"pgp": ["partner"]}
PLAIN = b"id\n1\n2\n3\n"


@pytest.fixture
def keys(workshop: Workshop, partner: Person, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalog's keys: `partner`, `archive`, `expired`, and `ours` and `bare` to sign with."""
    workshop.sqlite()
    folder = workshop.catalog_folder / "keys"
    folder.mkdir()
    for name in ("partner", "archive", "expired"):
        (folder / f"{name}.asc").write_bytes(partner.public(f"{name}@example.com"))
    monkeypatch.setenv("OUR_KEY", partner.private("ours@example.com", "open sesame"))
    monkeypatch.setenv("OUR_PASSPHRASE", "open sesame")
    monkeypatch.setenv("BARE_KEY", partner.private("bare@example.com"))
    (folder / "ours.yaml").write_text('private_key: "{{ $OUR_KEY }}"\npassphrase: "{{ $OUR_PASSPHRASE }}"\n')
    (folder / "bare.yaml").write_text('private_key: "{{ $BARE_KEY }}"\n')
    return folder


def left_over(workshop: Workshop) -> list[Path]:
    """What still stands in the spool."""
    return [path for path in (workshop.folder / "spool").glob("[!.]*/**/*") if path.is_file()]


def delivered(workshop: Workshop, **file: Any) -> dict[str, bytes]:
    file = {"name": "orders.csv.pgp", "encryption": KEYS, **file}
    run_plainly(workshop, workshop.export(columns=["id"], file=file), NOON)
    return workshop.files()


def test_every_key_reads_it_and_nobody_else(workshop: Workshop, keys: Path, partner: Person, stranger: Person) -> None:
    content = delivered(workshop, encryption={"pgp": ["partner", "archive"]})["orders.csv.pgp"]
    assert partner.decrypt(content) == PLAIN
    packets = partner.gpg("--list-packets", content=content).stdout.decode()
    assert packets.count(":pubkey enc packet:") == 2, "archive has a key to it too"
    stranger.gpg("--decrypt", content=content, fails=True)
    assert not left_over(workshop)


@pytest.mark.parametrize("name", ["ours", "bare"])
def test_it_is_signed(workshop: Workshop, keys: Path, partner: Person, name: str) -> None:
    content = delivered(workshop, encryption={**KEYS, "sign": name})["orders.csv.pgp"]
    assert partner.decrypt(content, signed_by=f"{name}@example.com") == PLAIN
    homes = [path for path in (workshop.folder / "spool").rglob("*") if path.name.startswith("gnupg-")]
    assert not homes and not left_over(workshop)
    agents = subprocess.run(["pgrep", "-af", "gpg-agent.*exports-"], capture_output=True, text=True)
    assert agents.stdout == "", "the agent has ended"


def test_a_name_of_asc_is_text(workshop: Workshop, keys: Path, partner: Person) -> None:
    content = delivered(workshop, name="orders.csv.asc")["orders.csv.asc"]
    assert content.startswith(b"-----BEGIN PGP MESSAGE-----\n") and content.isascii()
    assert partner.decrypt(content) == PLAIN


def test_compression_comes_first(workshop: Workshop, keys: Path, partner: Person) -> None:
    content = delivered(workshop, name="o.csv.gz.pgp", compression="gzip")["o.csv.gz.pgp"]
    assert gzip.decompress(partner.decrypt(content)) == PLAIN
    content = delivered(workshop, name="o.csv.zip.gpg", compression="zip")["o.csv.zip.gpg"]
    with zipfile.ZipFile(io.BytesIO(partner.decrypt(content))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"o.csv": PLAIN}


@pytest.mark.parametrize("form", ["parquet", "xlsx", "jsonl"])
def test_every_format_is_encrypted(workshop: Workshop, keys: Path, partner: Person, form: str) -> None:
    content = partner.decrypt(delivered(workshop, name=f"o.{form}.pgp", format=form)[f"o.{form}.pgp"])
    if form == "parquet":
        assert pq.read_table(io.BytesIO(content)).column("id").to_pylist() == [1, 2, 3]
    elif form == "xlsx":
        assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    else:
        assert content == b'{"id":1}\n{"id":2}\n{"id":3}\n'


def test_an_empty_file_and_parts_are_encrypted(workshop: Workshop, keys: Path, partner: Person) -> None:
    file = {"name": "none.csv.pgp", "encryption": KEYS, "empty": "zero_bytes"}
    run_plainly(workshop, workshop.export(where="id > 9", file=file), NOON)
    assert partner.decrypt(workshop.files()["none.csv.pgp"]) == b""
    found = delivered(workshop, name="o_{part}.csv.pgp", max_rows=2)
    assert [partner.decrypt(found[f"o_{part}.csv.pgp"]) for part in (1, 2)] == [b"id\n1\n2\n", b"id\n3\n"]


def test_what_goes_with_it_is_about_the_encrypted_file(workshop: Workshop, keys: Path) -> None:
    found = delivered(workshop, checksum="sha256", done=True)
    digest = hashlib.sha256(found["orders.csv.pgp"]).hexdigest()
    assert found["orders.csv.pgp.sha256"].decode() == f"{digest}  orders.csv.pgp\n"
    assert found["orders.csv.pgp.done"] == b""


def test_lines_that_the_server_writes_are_encrypted(
    workshop: Workshop, keys: Path, partner: Person, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger than pipes and buffers, through every partition."""
    database = postgres.fresh_database(
        "CREATE TABLE orders AS SELECT i AS id, repeat(md5(i::text), 4) AS word FROM generate_series(1, 60000) i"
    )
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    run_plainly(workshop, workshop.export(workshop.id("plain"), file={"name": "o.csv"}), NOON)
    whole = workshop.files()["o.csv"]
    file = {"name": "o.csv.pgp", "encryption": KEYS}
    run_plainly(workshop, workshop.export(workshop.id("one"), file=file), NOON)
    assert partner.decrypt(workshop.files()["o.csv.pgp"]) == whole
    signed = {"name": "o_{part}.csv.pgp", "encryption": {**KEYS, "sign": "ours"}, "partitions": 3}
    run_plainly(workshop, workshop.export(workshop.id("parts"), file=signed), NOON)
    parts = [partner.decrypt(workshop.files()[f"o_{n}.csv.pgp"], signed_by="ours") for n in (1, 2, 3)]
    lines = [line for part in parts for line in part.splitlines(keepends=True)[1:]]
    assert lines == whole.splitlines(keepends=True)[1:]


def broken(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    "encryption, name, content, says",
    [
        (KEYS, "partner.asc", None, "there is no keys/partner.asc"),
        (KEYS, "partner.asc", b"hello", "holds no public key in ASCII"),
        ({"pgp": ["partner", "expired"]}, "other.asc", b"", "keys/expired.asc cannot be encrypted to"),
        ({"pgp": ["partner", "bare"]}, "bare.asc", b"PUBLIC", "keys/bare.asc cannot be encrypted to: Unusable public"),
        ({"pgp": ["partner", "bare"]}, "bare.asc", b"PRIVATE", "or more than that"),
        ({**KEYS, "sign": "ours"}, "ours.yaml", b'private_key: "{{ $OUR_PASSPHRASE }}"', "is no private key"),
        ({**KEYS, "sign": "ours"}, "ours.yaml", b'private_key: "{{ $OUR_KEY }}"', "nothing can be signed"),
    ],
)
def test_keys_that_cannot_be_used(
    workshop: Workshop, keys: Path, partner: Person, encryption: Any, name: str, content: bytes | None, says: str
) -> None:
    """`check` says it, and a run before it has read a row."""
    content = {
        b"PUBLIC": partner.public("bare@example.com"),
        b"PRIVATE": partner.private("bare@example.com").encode(),
    }.get(content or b"", content)
    broken(keys, name, content)
    export_id = workshop.export(columns=["id"], file={"name": "o.pgp", "encryption": encryption})
    (problem,) = workshop.json("check", export_id, exit_code=1)
    assert problem["code"] == "KEY_INVALID" and says in problem["message"], problem
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON)
    assert caught.value.code is Code.KEY_INVALID and says in caught.value.message
    assert "sesame" not in str(caught.value) and not workshop.files() and not left_over(workshop)


def test_a_private_key_written_out_is_refused(workshop: Workshop, keys: Path) -> None:
    (keys / "ours.yaml").write_text("private_key: hunter2\n")
    export_id = workshop.export(file={"name": "o.pgp", "encryption": {**KEYS, "sign": "ours"}})
    (problem,) = workshop.json("check", export_id, exit_code=1)
    assert problem["code"] == "SECRET_LITERAL" and "hunter2" not in str(problem)


def test_a_machine_without_gpg(workshop: Workshop, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = workshop.export(file={"name": "o.pgp", "encryption": KEYS})
    monkeypatch.setattr(gnupg.shutil, "which", lambda _: None)
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON)
    assert caught.value.code is Code.DRIVER_MISSING and "gnupg" in (caught.value.hint or "")


def test_gpg_is_killed_at_its_work(workshop: Workshop, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = gnupg.GnuPG.start

    def killed(self: gnupg.GnuPG, *arguments: str, **keys: Any) -> Any:
        process = start(self, *arguments, **keys)
        if keys["errors"] != subprocess.PIPE:
            process.kill()
        return process

    monkeypatch.setattr(gnupg.GnuPG, "start", killed)
    export_id = workshop.export(file={"name": "o.pgp", "encryption": KEYS})
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON)
    assert caught.value.code is Code.STOPPED and not left_over(workshop)


def test_a_full_spool_is_said_to_be_full(
    workshop: Workshop, keys: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORTS_SPOOL", str(small_disk))
    script = """DROP TABLE orders; CREATE TABLE orders (id TEXT);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
      INSERT INTO orders SELECT hex(randomblob(64)) FROM n;"""
    workshop.sqlite(script=script)
    export_id = workshop.export(file={"name": "o.pgp", "encryption": KEYS})
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON)
    assert caught.value.code is Code.SPOOL_FULL, caught.value


def test_the_rest_of_a_half_delivered_window_cannot_be_made_again(
    workshop: Workshop, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = {"name": "o_{part}.pgp", "max_rows": 2, "encryption": KEYS}
    workshop.target("other", str(workshop.folder))
    export_id, run_id = workshop.export(columns=["id"], file=file, target=["drop", "other"]), a_run()
    put = LocalPublisher.put

    def not_to_the_other(self: LocalPublisher, local: Path, folder: str, temp_name: str) -> None:
        if self.identity == workshop.folder.as_uri():
            raise ExportError(Code.TARGET_FULL, "no room", "make room")
        put(self, local, folder, temp_name)

    with monkeypatch.context() as patched, pytest.raises(ExportError, match="TARGET_FULL"):
        patched.setattr(LocalPublisher, "put", not_to_the_other)
        run_plainly(workshop, export_id, NOON, run_id)
    for path in left_over(workshop):
        path.unlink()
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON, run_id)
    assert caught.value.code is Code.PUBLICATION_UNKNOWN
