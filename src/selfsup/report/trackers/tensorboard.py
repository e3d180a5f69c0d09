"""TensorBoard: parameters, curves, pictures and the per-class report; it cannot hold other files."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from pathlib import Path

from selfsup.report.trackers.base import FinishedCell


class TensorBoardTracker:
    """A folder of events for every cell."""

    packages = ("torch.utils.tensorboard", "lightning_fabric.loggers")

    def store(self, home: Path) -> str:
        return "local"

    def log(self, cell: FinishedCell, home: Path) -> None:
        import numpy as np
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger
        from PIL import Image

        if (home / cell.id).exists():
            shutil.rmtree(home / cell.id)
        logger = TensorBoardLogger(home, name="", version=cell.id)
        for point in cell.curve:
            logger.log_metrics(point.values, point.epoch)
        logger.log_hyperparams(cell.parameters, cell.metrics, cell.last_epoch)
        for path in cell.pictures:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            logger.experiment.add_image(path.stem, pixels, cell.last_epoch, dataformats="HWC")
        for path in cell.files:
            if path.name == "classification_report.csv":
                # As a block of code in Markdown, in which TensorBoard shows texts.
                code = textwrap.indent(path.read_text(encoding="utf-8"), "    ")
                logger.experiment.add_text(path.stem, code, cell.last_epoch)
        logger.finalize("success")

    def hint(self, home: Path) -> str:
        return f"see them with: tensorboard --logdir {shlex.quote(str(home))}"


tracker = TensorBoardTracker()
