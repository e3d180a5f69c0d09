"""What the loop asks of, and reports to, whoever runs it."""

from __future__ import annotations

from typing import Any

from selfsup.backbones import Backbone
from selfsup.training.state import EpochLog


class Callbacks:
    """What the loop reports to, and asks of, whoever runs it; as they are here, nobody watches and nothing is kept."""

    def load_checkpoint(self) -> dict[str, Any] | None:
        return None

    def save_checkpoint(self, state: dict[str, Any]) -> None: ...

    def checkpoint_due(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return False

    def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
        """Accuracy of the backbone at the end of an epoch, where somebody wants it; changes nothing."""
        return None

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None: ...

    def should_pause(self, epoch: int, backbone: Backbone) -> bool:
        """Whether the training is to pause after so many epochs; changes nothing."""
        return False
