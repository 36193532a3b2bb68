"""A local S3 and SQS, by moto."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from clip_worker.feeds.aws import aws_client

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET, QUEUE = "pets", "arrivals"
REGION = "eu-west-1"


class Moto:
    """The server, and clients of it.

    Args:
        url: Of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.s3: Any = None
        self.sqs: Any = None
        self.queue_url = ""

    def put(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)

    def messages(self) -> int:
        """How many messages the queue has, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def notify_queue(self) -> None:
        """Send the bucket's events to the queue."""
        arn = f"arn:aws:sqs:{REGION}:123456789012:{QUEUE}"
        configuration = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [configuration]}
        )

    def send(self, body: object) -> None:
        """Put a message into the queue."""
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(body))


@contextlib.contextmanager
def moto_server() -> Iterator[Moto]:
    """Run a server with an empty bucket and an empty queue; its variables are set meanwhile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that moto loads
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    moto = Moto(f"http://{host}:{port}")
    kept = dict(os.environ)
    os.environ.update(moto.environment)
    try:
        # What a server before it has stored in this process.
        urlopen(Request(f"{moto.url}/moto-api/reset", method="POST")).close()
        moto.s3, moto.sqs = aws_client("s3"), aws_client("sqs")
        # On a busy machine the request may be sent twice.
        with contextlib.suppress(moto.s3.exceptions.BucketAlreadyOwnedByYou):
            moto.s3.create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        moto.queue_url = moto.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        yield moto
        moto.s3.close()
        moto.sqs.close()
    finally:
        os.environ.clear()
        os.environ.update(kept)
        server.stop()
