"""What is on the disk: atomic writing, the study's folder, results, remote storage."""
