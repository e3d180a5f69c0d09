"""Running a study: preparing, estimating, one job, progress, status; executors and schedulers."""
