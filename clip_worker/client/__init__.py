"""The Python producer: `Client(url).classify(image, labels, k=5).get()`."""
