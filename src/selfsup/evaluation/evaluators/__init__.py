"""The evaluators: what is computed of every embedding, one file each."""
