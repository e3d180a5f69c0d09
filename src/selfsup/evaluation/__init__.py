"""Evaluation of frozen embeddings: linear probe, kNN, clusters, and measures that need no labels."""
