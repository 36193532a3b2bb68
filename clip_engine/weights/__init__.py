"""Published weights: the catalog, downloads, verification and the cache."""
