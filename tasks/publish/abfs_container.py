"""What a target's URL and options say about a container of Azure Blob Storage: which one, whose, who writes in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from azure.core.credentials import AzureSasCredential
from azure.storage.blob import BlobServiceClient, ExponentialRetry

from tasks.publish.container_url import ContainerUrl, read_url
from tasks.publish.target_yaml import invalid, refuse_options
from tasks.publish.timeouts import Timeouts

_WAYS = ("account_key", "sas_token", "connection_string")
_OPTIONS = dict.fromkeys(("account_name", *_WAYS), str)
_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Container:
    """A folder of a container, with the options that say whose it is and who writes in it."""

    place: ContainerUrl
    options: dict[str, str] = field(repr=False)
    timeouts: Timeouts

    @property
    def identity(self) -> str:
        """The target without secrets."""
        service = self.connect()
        start = f"{service.scheme}://{service.primary_hostname}"
        return "/".join(part for part in (start, self.place.container, self.place.root) if part)

    def connect(self) -> BlobServiceClient:
        """A client, which asks nothing yet. Raises ValueError when the account or its secret is none."""
        how: dict[str, Any] = {
            "connection_timeout": self.timeouts.connect,
            "read_timeout": self.timeouts.answer,
            "retry_policy": ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=_RETRIES),
        }
        options = self.options
        if "connection_string" in options:
            return BlobServiceClient.from_connection_string(options["connection_string"], **how)
        account = options["account_name"]
        credential: Any = (
            {"account_name": account, "account_key": options["account_key"]}
            if "account_key" in options
            else AzureSasCredential(options["sas_token"])
        )
        return BlobServiceClient(f"https://{account}.blob.core.windows.net", credential=credential, **how)

    def without_secrets(self, text: str) -> str:
        """The text, with the secrets of this account in it blotted out."""
        parts = [part.partition("=")[::2] for part in self.options.get("connection_string", "").split(";")]
        secrets = [value for name, value in parts if name in ("AccountKey", "SharedAccessSignature")]
        for secret in [*secrets, *(self.options[way] for way in _WAYS if way in self.options)]:
            text = text.replace(secret, "***")
        return text


def read_container(name: str, url: str, options: dict[str, Any], timeouts: Timeouts | None = None) -> Container:
    """The container of target `name`, from its URL and options with their secrets resolved; nothing is asked yet.

    Raises ExportError DEFINITION_INVALID.
    """
    place = read_url(name, url, "write it as abfs://container/folder; the account is an option")
    refuse_options(name, "abfs", options, _OPTIONS)
    ways = [way for way in _WAYS if way in options]
    needed = {"connection_string"} if ways == ["connection_string"] else {"account_name", *ways}
    if len(ways) != 1 or set(options) != needed:
        hint = "give account_name with account_key or sas_token, or connection_string alone"
        raise invalid(name, "options", "it does not say whose container it is, or says it twice", hint)
    container = Container(place, options, timeouts or Timeouts())
    try:
        container.connect()
    except ValueError:
        # Not chained: the error may quote a piece of it.
        hint = "copy it anew from the account's access keys"
        raise invalid(name, f"options.{ways[0]}", f"it is no {ways[0]}", hint) from None
    return container
