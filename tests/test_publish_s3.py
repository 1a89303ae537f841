"""What is S3's own: who writes, what a target says, what servers answer, and who else is there."""

from __future__ import annotations

import base64
import builtins
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from publishers import CONTENT, NAME, uploaded
from refusals import refused_without
from s3_meddler import Meddler, answer
from s3_server import BUCKET, KEY, READER, SECRET, TIMEOUTS, S3Place

from catalog.connections import Target
from catalog.errors import Code
from tasks.publish import open_publisher
from tasks.publish.s3 import S3Publisher
from tasks.publish.s3_bucket import read_bucket

WRONG = "hunter2/hunter2"
refused = refused_without(SECRET, WRONG, KEY)
#: Two parts and a bit.
LARGE = b"0123456789abcdef" * (1 << 20) + b"the rest"


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.fixture
def publisher(bucket: S3Place) -> Iterator[S3Publisher]:
    with closing(bucket.publisher()) as opened:
        yield opened


# Who writes.


@pytest.mark.parametrize("keys", [{"secret": WRONG}, {"key": "AKIANOBODY0000000001", "secret": WRONG}])
def test_a_key_that_is_refused(bucket: S3Place, spool_file: Path, keys: dict[str, str]) -> None:
    for use in (lambda: bucket.publisher(**keys).check(), lambda: uploaded(bucket.publisher(**keys), spool_file)):
        error = refused(use)
        assert error.code is Code.TARGET_AUTH and not error.code.tried_again
        assert f"{BUCKET}/{bucket.folder}/drop" in error.message
        assert "SignatureDoesNotMatch" in error.message or "InvalidAccessKeyId" in error.message


def test_a_user_who_may_only_read(bucket: S3Place, spool_file: Path) -> None:
    publisher = bucket.publisher(key=READER)
    for use in (publisher.check, lambda: uploaded(publisher, spool_file, "in")):
        error = refused(use)
        assert error.code is Code.TARGET_DENIED and "AccessDenied" in error.message and BUCKET in str(error.hint)
    assert bucket.files() == {} and bucket.uploads() == []


def test_without_a_key_the_client_librarys_own_ways_are_tried(
    bucket: S3Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def opened(**options: str) -> S3Publisher:
        return S3Publisher(read_bucket("partner", bucket.url(), {"endpoint_url": bucket.endpoint(), **options}))

    error = refused(opened().check)
    assert error.code is Code.TARGET_AUTH and "credentials" in error.message
    assert refused(opened(profile="partner").check).code is Code.TARGET_AUTH
    lines = f"[partner]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(lines)
    opened(profile="partner").check()
    assert refused(opened().check).code is Code.TARGET_AUTH
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    opened().check()


# What a target says.


@pytest.mark.parametrize(
    ("url", "options", "key"),
    [
        ("s3://", {}, "url"),
        ("s3:///folder", {}, "url"),
        (f"s3://me:{WRONG}@bucket/folder", {}, "url"),
        (f"s3://bucket/folder?secret={WRONG}", {}, "url"),
        ("s3://bucket", {"secret_key": WRONG}, "options.secret_key"),
        ("s3://bucket", {"secret": WRONG}, "options.key"),
        ("s3://bucket", {"key": "k", "secret": 12}, "options.secret"),
        ("s3://bucket", {"endpoint_url": f"https://me:{WRONG}@host"}, "options.endpoint_url"),
        ("s3://bucket", {"endpoint_url": "host:9000"}, "options.endpoint_url"),
        ("s3://bucket", {"endpoint_url": "https://host:many"}, "options.endpoint_url"),
    ],
)
def test_a_target_that_says_something_wrong(url: str, options: dict[str, Any], key: str) -> None:
    error = refused(lambda: open_publisher("partner", Target(url=url, options=options), str))
    assert (error.code, error.file, error.key) == (Code.DEFINITION_INVALID, "targets/partner.yaml", key)


def test_where_a_target_is_has_no_secret_in_it() -> None:
    def identity(url: str, **options: str) -> str:
        return open_publisher("partner", Target(url=url, options=options), str).identity

    assert identity("s3://bucket//a/b/", key=KEY, secret=SECRET) == "s3://bucket/a/b" == identity("s3a://bucket/a/b")
    assert identity("s3://bucket/a", endpoint_url="https://h:9000/") == "https://h:9000/bucket/a"
    assert SECRET not in repr(read_bucket("partner", "s3://bucket", {"key": KEY, "secret": SECRET}))


@pytest.mark.parametrize(
    ("url", "package", "line"),
    [("s3://b12/x", "botocore", "botocore"), ("az://c12/x", "azure", "azure-storage-blob")],
)
def test_without_its_package_the_target_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, line: str
) -> None:
    for name in [name for name in sys.modules if name.startswith((package, "tasks.publish.s3", "tasks.publish.abfs"))]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{package}'", name=package)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    error = refused(lambda: open_publisher("partner", Target(url=url), str))
    assert error.code is Code.DRIVER_MISSING and error.hint == f"pip install {line}" and "partner" in error.message


def test_nobody_else_pays_for_these_libraries() -> None:
    script = "import sys, manage.cli; print({'botocore', 'azure'} & {name.partition('.')[0] for name in sys.modules})"
    root = Path(__file__).resolve().parent.parent
    found = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# What servers answer.


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchBucket", 404, Code.TARGET_DENIED),
        ("ExpiredToken", 400, Code.TARGET_AUTH),
        ("XMinioStorageFull", 507, Code.TARGET_FULL),
        ("NoRoomOfAnyKind", 507, Code.TARGET_FULL),
        ("BadDigest", 400, Code.UPLOAD_MISMATCH),
        ("SlowDown", 503, Code.TARGET_UNREACHABLE),
        ("SomethingNew", 500, Code.TARGET_UNREACHABLE),
        ("SomethingNew", 400, Code.TARGET_DENIED),
        ("400", 400, Code.TARGET_UNREACHABLE),
    ],
)
def test_what_a_server_answers(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path, meddler: Meddler, code: str, status: int, expected: Code
) -> None:
    meddler.before["UploadPart"] = answer(code, status, f"nothing for {KEY} with {SECRET} here")
    error = refused(lambda: uploaded(publisher, spool_file))
    assert error.code is expected and f"{code}: nothing for *** with *** here" in error.message
    assert error.hint and bucket.uploads() == [], "what a server refuses is given up at once"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_server_that_is_not_there(host: str) -> None:
    options = {"key": KEY, "secret": WRONG, "endpoint_url": f"http://{host}"}
    error = refused(S3Publisher(read_bucket("partner", "s3://bucket/folder", options), TIMEOUTS).check)
    assert error.code is Code.TARGET_UNREACHABLE and error.code.tried_again and host in error.message


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection, pytest.raises(OSError):
                    context.wrap_socket(connection, server_side=True).recv(1)

        threading.Thread(target=greet, daemon=True).start()
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        options = {"key": KEY, "secret": WRONG, "endpoint_url": endpoint}
        error = refused(S3Publisher(read_bucket("partner", "s3://bucket/folder", options), TIMEOUTS).check)
        listener.shutdown(socket.SHUT_RDWR)
    assert error.code is Code.CERTIFICATE_INVALID and not error.code.tried_again and endpoint in error.message


# Who else is there.


def test_nothing_can_be_seen_before_it_is_published(publisher: S3Publisher, bucket: S3Place, spool_file: Path) -> None:
    temp = uploaded(publisher, spool_file, "in")
    found = publisher.stat("in", temp)
    assert bucket.files() == {} and bucket.uploads() == [f"in/{NAME}"]
    assert found is not None and refused(found.sha256).code is Code.TARGET_DENIED
    publisher.publish("in", temp, NAME, replace=False)
    assert bucket.files() == {f"in/{NAME}": CONTENT} and bucket.uploads() == []


def test_a_name_that_is_taken_at_the_last_moment_is_not_replaced(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path, meddler: Meddler
) -> None:
    meddler.before["CompleteMultipartUpload"] = lambda _: bucket.write(NAME, b"faster")
    temp = uploaded(publisher, spool_file)
    error = refused(lambda: publisher.publish("", temp, NAME, replace=False))
    assert error.code is Code.FILE_EXISTS and "6 bytes" in error.message
    assert bucket.files() == {NAME: b"faster"} and publisher.stat("", temp) is not None


def test_a_server_that_does_not_know_the_condition_is_asked_first(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path, meddler: Meddler
) -> None:
    def refuse(parameters: dict[str, Any]) -> None:
        if "IfNoneMatch" in parameters:
            answer("NotImplemented", 501)(parameters)

    meddler.before["CompleteMultipartUpload"] = refuse
    publisher.publish("", uploaded(publisher, spool_file), NAME, replace=False)
    assert bucket.files() == {NAME: CONTENT}
    again = uploaded(publisher, spool_file)
    assert refused(lambda: publisher.publish("", again, NAME, replace=False)).code is Code.FILE_EXISTS


def test_a_part_that_nobody_sent_is_found_out(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path, meddler: Meddler
) -> None:
    stranger = {
        "PartNumber": 2,
        "Body": b"more",
        "ContentMD5": base64.b64encode(hashlib.md5(b"more").digest()).decode(),
    }
    meddler.after["UploadPart"] = lambda parameters: bucket.client.upload_part(**{**parameters, **stranger})
    error = refused(lambda: uploaded(publisher, spool_file))
    assert error.code is Code.UPLOAD_MISMATCH and error.code.tried_again
    assert f"has {len(CONTENT) + 4} bytes in 2 parts" in error.message and str(len(CONTENT)) in error.message
    assert bucket.files() == {} and bucket.uploads() == []


def test_a_part_that_is_changed_on_its_way_is_refused_by_the_server(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path, meddler: Meddler
) -> None:
    meddler.before["UploadPart"] = lambda parameters: parameters.update(Body=CONTENT[::-1])
    assert refused(lambda: uploaded(publisher, spool_file)).code is Code.UPLOAD_MISMATCH
    assert bucket.files() == {} and bucket.uploads() == []


def test_a_file_that_changes_while_it_is_sent_is_found_out(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path, meddler: Meddler
) -> None:
    # More than is on its way at a time.
    spool_file.write_bytes(LARGE * 3)
    meddler.after["UploadPart"] = lambda _: os.truncate(spool_file, 9_000_000)
    error = refused(lambda: uploaded(publisher, spool_file))
    assert error.code is Code.UPLOAD_MISMATCH and str(len(LARGE) * 3) in error.message
    assert bucket.files() == {} and bucket.uploads() == []


def test_a_file_that_is_replaced_while_it_is_read(publisher: S3Publisher, bucket: S3Place) -> None:
    bucket.write(NAME, CONTENT)
    found = publisher.stat("", NAME)
    bucket.write(NAME, CONTENT[::-1])
    assert found is not None and refused(found.sha256).code is Code.TARGET_UNREACHABLE


def test_an_upload_that_holds_bytes_of_others_is_left_alone(
    publisher: S3Publisher, bucket: S3Place, spool_file: Path
) -> None:
    where = {"Bucket": BUCKET, "Key": f"{bucket.folder}/drop/{NAME}"}
    foreign, empty, longer = (
        bucket.client.create_multipart_upload(**{**where, "Key": where["Key"] + end})["UploadId"]
        for end in ("", "", ".bak")
    )
    bucket.client.upload_part(**where, UploadId=foreign, PartNumber=1, Body=b"theirs")
    publisher.publish("", uploaded(publisher, spool_file), NAME, replace=False)
    left = bucket.client.list_multipart_uploads(Bucket=BUCKET, Prefix=where["Key"])["Uploads"]
    assert {upload["UploadId"] for upload in left} == {foreign, longer} and empty not in (foreign, longer)
