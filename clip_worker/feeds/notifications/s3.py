"""Events of S3 and of stores that send the same: MinIO, Ceph, R2.

Formats: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
and https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote_plus

from pydantic import AliasChoices, BaseModel, Field

from clip_worker.feeds.stored_object import StoredObject, checked_bucket

CREATED = "ObjectCreated:"
_CREATED_NAMES = (CREATED, f"s3:{CREATED}")  # MinIO writes the longer one


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    etag: str = Field("", validation_alias=AliasChoices("eTag", "etag"))
    version: str = Field("", validation_alias=AliasChoices("versionId", "version-id"))
    sequencer: str = ""

    @property
    def content(self) -> str:
        return self.etag or self.version or self.sequencer


class _Entity(BaseModel):
    bucket: _Bucket
    object: _Object


class S3Record(BaseModel):
    """One of an event's records."""

    event_name: str = Field(validation_alias="eventName")
    s3: _Entity

    def object(self) -> StoredObject | None:
        """The object that was created; None if the event is about something else."""
        if not self.event_name.startswith(_CREATED_NAMES):
            return None
        key = unquote_plus(self.s3.object.key, errors="strict")
        bucket = checked_bucket(self.s3.bucket.name)
        return StoredObject("s3", bucket, key, self.s3.object.content)


class EventBridgeEvent(BaseModel):
    """An event as Amazon EventBridge passes it on."""

    source: Literal["aws.s3"]
    detail_type: str = Field(validation_alias="detail-type")
    detail: _Entity

    def object(self) -> StoredObject | None:
        """The object that was created; None if the event is about something else."""
        if self.detail_type != "Object Created":
            return None
        found = self.detail.object  # its key is not percent-encoded here
        return StoredObject("s3", checked_bucket(self.detail.bucket.name), found.key, found.content)
