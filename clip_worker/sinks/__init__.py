"""Where the results of a bulk run go: files, databases, sidecars and webhooks."""
