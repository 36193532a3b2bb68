"""Notifications of Google Cloud Storage, as Pub/Sub pushes them.

Format: https://cloud.google.com/storage/docs/pubsub-notifications
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from clip_worker.feeds.stored_object import StoredObject, checked_bucket

CREATED = "OBJECT_FINALIZE"


class _Attributes(BaseModel):
    event: str = Field(validation_alias="eventType")
    bucket: str = Field(validation_alias="bucketId")
    key: str = Field(validation_alias="objectId")
    generation: str = Field("", validation_alias="objectGeneration")


class _Message(BaseModel):
    attributes: _Attributes


class PubSubPush(BaseModel):
    """The body of a push; the attributes have all that is needed, in each payload format."""

    message: _Message

    def object(self) -> StoredObject | None:
        """The object that was created; None if the event is about something else."""
        found = self.message.attributes
        if found.event != CREATED:
            return None
        return StoredObject("gs", checked_bucket(found.bucket), found.key, found.generation)
