"""What a target's URL and options say about a bucket: which one, where it is, and who writes in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tasks.publish.container_url import ContainerUrl, read_url
from tasks.publish.target_yaml import invalid, refuse_options

_OPTIONS = dict.fromkeys(("key", "secret", "profile", "endpoint_url", "region"), str)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A folder of a bucket. Without key and profile, the client library finds credentials as it does everywhere."""

    place: ContainerUrl
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None

    @property
    def identity(self) -> str:
        """The target without secrets."""
        start = f"{self.endpoint_url.rstrip('/')}/" if self.endpoint_url else "s3://"
        return start + "/".join(part for part in (self.place.container, self.place.root) if part)

    def without_secrets(self, text: str) -> str:
        """The text, with the secrets of this bucket in it blotted out."""
        for secret in (self.secret, self.key):
            if secret:
                text = text.replace(secret, "***")
        return text


def read_bucket(name: str, url: str, options: dict[str, Any]) -> Bucket:
    """The bucket of target `name`, from its URL and options with their secrets resolved.

    Raises ExportError DEFINITION_INVALID.
    """
    place = read_url(name, url, "write it as s3://bucket/folder; keys are options")
    refuse_options(name, "s3", options, _OPTIONS)
    if ("key" in options) != ("secret" in options):
        raise invalid(name, "options.key", "key and secret belong together", "give both, or neither")
    endpoint = options.get("endpoint_url")
    if endpoint is not None and not _is_endpoint(endpoint):
        hint = "write it as https://minio.example:9000; keys are options"
        raise invalid(name, "options.endpoint_url", "it is no address of a server", hint)
    return Bucket(place, **options)


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc) and port != 0
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_plain
