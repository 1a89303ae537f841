"""Clients of a bucket; every wait in them ends, and so do their retries."""

from __future__ import annotations

from typing import Any

from botocore.config import Config
from botocore.session import Session

from tasks.publish.s3_bucket import Bucket
from tasks.publish.timeouts import Timeouts

_TRIES = 3


class Connection:
    """Two clients of one bucket: one that asks again when no answer came, and one that never does."""

    def __init__(self, bucket: Bucket, timeouts: Timeouts) -> None:
        self._session = Session(profile=bucket.profile)
        self._bucket, self._timeouts = bucket, timeouts
        self.patient: Any = self._client(_TRIES)
        #: For what must not be done twice: the second answer would hide what became of the first.
        self.once: Any = self._client(1)

    def close(self) -> None:
        """Close what is open."""
        self.patient.close()
        self.once.close()

    def _client(self, tries: int) -> Any:
        config = Config(
            connect_timeout=self._timeouts.connect,
            read_timeout=self._timeouts.answer,
            tcp_keepalive=True,
            # For links; botocore would sign them the old way, which new regions and buckets with KMS refuse.
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": tries},
            # Every part is sent with its MD5, which every server knows; not all know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return self._session.create_client(
            "s3",
            aws_access_key_id=self._bucket.key,
            aws_secret_access_key=self._bucket.secret,
            endpoint_url=self._bucket.endpoint_url,
            region_name=self._bucket.region,
            config=config,
        )
