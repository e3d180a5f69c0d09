"""Training: the loop, schedules, optimizers, diagnostics, devices."""
