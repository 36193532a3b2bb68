"""The published weights: which there are, and how they are downloaded, verified and cached."""
