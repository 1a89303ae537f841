"""What Azure Blob Storage, its client library or the network says, as errors of ours: one table."""

from __future__ import annotations

from azure.core import exceptions as azure

from catalog.errors import Code, ExportError
from tasks.publish.abfs_container import Container
from tasks.publish.connection_failures import connection_failure

_BY_CODE: dict[str, Code] = {
    "AuthenticationFailed": Code.TARGET_AUTH,
    "InvalidAuthenticationInfo": Code.TARGET_AUTH,
    "NoAuthenticationInformation": Code.TARGET_AUTH,
    "Md5Mismatch": Code.UPLOAD_MISMATCH,
    "OperationTimedOut": Code.TARGET_UNREACHABLE,
    "ServerBusy": Code.TARGET_UNREACHABLE,
    "InternalError": Code.TARGET_UNREACHABLE,
    "AccountBeingCreated": Code.TARGET_UNREACHABLE,
}
#: What a signature that does not fit is answered with besides, under a code that also means a missing right.
_NOT_AUTHENTICATED = "failed to authenticate"
_HINTS: dict[Code, str] = {
    Code.TARGET_AUTH: "see account name, key, SAS token or connection string of the target and its secrets",
    Code.TARGET_DENIED: "see that the container {container} is there, and that it may be read and written, "
    "then relaunch",
    Code.TARGET_FULL: "make room on the target, then relaunch",
    Code.UPLOAD_MISMATCH: "relaunch; if it comes back, look at the network in between",
    Code.TARGET_UNREACHABLE: "see that the account is there and that this machine may reach it",
    Code.CERTIFICATE_INVALID: "ask its owner for a valid certificate, or name their authority in REQUESTS_CA_BUNDLE",
}
#: Everything that can come out of a use of the client library and is about the other side, or about who asks.
FROM_OUTSIDE = (azure.AzureError, OSError)


def translate(error: Exception, container: Container, action: str) -> ExportError:
    """One failure while doing `action` ("write https://...")."""
    code, text = _found(error)
    hint = _HINTS[code].format(container=container.place.container)
    return ExportError(code, f"cannot {action}: {container.without_secrets(text)}", hint)


def service_code(error: Exception) -> str:
    """The service's own code, or "" for what is no answer of it."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _found(error: Exception) -> tuple[Code, str]:
    if isinstance(error, azure.HttpResponseError) and error.status_code is not None:
        # The first line is the service's sentence; what follows is its protocol of the request.
        code, text = service_code(error), str(error.message).partition("\n")[0]
        if _NOT_AUTHENTICATED in text:
            return Code.TARGET_AUTH, f"{code}: {text}"
        if not code and error.status_code == 400:
            # Not the service's own answer: a request that was cut short on its way.
            return Code.TARGET_UNREACHABLE, text
        return _BY_CODE.get(code, _by_status(error.status_code)), f"{code or error.status_code}: {text}"
    if isinstance(error, azure.ClientAuthenticationError):
        return Code.TARGET_AUTH, "the account key cannot sign anything"
    return connection_failure(error)


def _by_status(status: int) -> Code:
    if status == 507:
        return Code.TARGET_FULL
    if status == 401:
        return Code.TARGET_AUTH
    return Code.TARGET_UNREACHABLE if status >= 500 or status in (408, 429) else Code.TARGET_DENIED
