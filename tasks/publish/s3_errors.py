"""What an S3 server, botocore or the network says, as errors of ours: one table."""

from __future__ import annotations

from botocore import exceptions as boto

from catalog.errors import Code, ExportError
from tasks.publish.connection_failures import connection_failure
from tasks.publish.s3_bucket import Bucket

_BY_CODE: dict[str, Code] = {
    "InvalidAccessKeyId": Code.TARGET_AUTH,
    "SignatureDoesNotMatch": Code.TARGET_AUTH,
    "AuthorizationHeaderMalformed": Code.TARGET_AUTH,
    "ExpiredToken": Code.TARGET_AUTH,
    "InvalidToken": Code.TARGET_AUTH,
    "RequestTimeTooSkewed": Code.TARGET_AUTH,
    "QuotaExceeded": Code.TARGET_FULL,
    "XMinioStorageFull": Code.TARGET_FULL,
    "XMinioAdminBucketQuotaExceeded": Code.TARGET_FULL,
    "BadDigest": Code.UPLOAD_MISMATCH,
    "XAmzContentSHA256Mismatch": Code.UPLOAD_MISMATCH,
    "IncompleteBody": Code.UPLOAD_MISMATCH,
    "ClientDisconnected": Code.TARGET_UNREACHABLE,
    "ConditionalRequestConflict": Code.TARGET_UNREACHABLE,
    "OperationAborted": Code.TARGET_UNREACHABLE,
    "RequestTimeout": Code.TARGET_UNREACHABLE,
    "SlowDown": Code.TARGET_UNREACHABLE,
}
_NO_LOGIN = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_LOST = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, OSError)
_HINTS: dict[Code, str] = {
    Code.TARGET_AUTH: "see key and secret of the target, or the profile or role of the worker, and the worker's clock",
    Code.TARGET_DENIED: "see that the bucket {bucket} is there and what its policy allows, then relaunch; "
    "docs/definition.md names what is needed",
    Code.TARGET_FULL: "make room on the target, then relaunch",
    Code.UPLOAD_MISMATCH: "relaunch; if it comes back, look at the network in between",
    Code.TARGET_UNREACHABLE: "see that the server answers and that this machine may reach it",
    Code.CERTIFICATE_INVALID: "ask its owner for a valid certificate, or name their authority in AWS_CA_BUNDLE",
}
#: Everything that can come out of a use of botocore and is about the other side, or about who asks.
FROM_OUTSIDE = (boto.BotoCoreError, boto.ClientError, OSError)


def translate(error: Exception, bucket: Bucket, action: str) -> ExportError:
    """One failure while doing `action` ("write s3://...")."""
    code, text = _found(error)
    hint = _HINTS[code].format(bucket=bucket.place.container)
    return ExportError(code, f"cannot {action}: {bucket.without_secrets(text)}", hint)


def service_code(error: Exception) -> str:
    """The service's own code; the number of the status where it sends none, and "" for what is no answer of it."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def _found(error: Exception) -> tuple[Code, str]:
    if isinstance(error, boto.ClientError):
        code = service_code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        text = f"{code}: {error.response.get('Error', {}).get('Message', '')}"
        # No answer of S3's: the server did not get the whole request. The answers to HEAD have no code at all.
        if code == "400" and not error.operation_name.startswith("Head"):
            return Code.TARGET_UNREACHABLE, text
        return _BY_CODE.get(code, _by_status(status)), text
    if isinstance(error, _LOST):
        return connection_failure(error)
    return Code.TARGET_AUTH if isinstance(error, _NO_LOGIN) else Code.TARGET_DENIED, str(error).splitlines()[0]


def _by_status(status: int) -> Code:
    if status == 507:
        return Code.TARGET_FULL
    return Code.TARGET_UNREACHABLE if status >= 500 or status in (408, 429, 499) else Code.TARGET_DENIED
