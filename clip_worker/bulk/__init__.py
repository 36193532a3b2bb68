"""Classifies many images from a feed into a sink, and continues where it stopped.

settings = {"input": "uris.txt", "labels": ["cat", "dog"]}
with Client() as client, Journal(Path("uris.journal"), settings) as journal:
    run = BulkRun(client, sink, journal, FailuresFile(Path("failures.jsonl")),
                  options={"labels": ["cat", "dog"]})
    run.run(FeedSupply(feed, journal))
"""
