"""Options of the command line."""

from __future__ import annotations

from selfsup.cli.options import parse_settings


def test_a_setting_means_the_same_on_the_command_line_and_in_a_file() -> None:
    pairs = (
        "moco.temperature=0.1",
        "moco.queue-size=64",
        "byol.optimizer=adam",
        "byol.weight-decay=1e-4",
        "moco-v3.momentum=1",
    )
    assert parse_settings(pairs) == {
        "moco": {"temperature": 0.1, "queue_size": 64},
        "byol": {"optimizer": "adam", "weight_decay": 1e-4},
        "moco-v3": {"momentum": 1},
    }
