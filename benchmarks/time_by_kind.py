"""Where the time of a study goes: CPU seconds by kind of work, and what share is neither training nor embedding.

Runs one study in this process, one cell after another with one thread, and counts the CPU seconds of the functions that
begin each kind of work; of nested ones the inner, what belongs to none as `the rest`. Prints a table in Markdown.

    python benchmarks/time_by_kind.py [--data FOLDER] [--images 500] [--image-size 64] [--lrs 1x] ...

Other options than the first two are those of the study, as `selfsup run` takes them.
"""

from __future__ import annotations

import argparse
import builtins
import functools
import importlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

#: Kinds of work, and the functions that begin them, as they are called from the module named.
KINDS = {
    "decoding": ["selfsup.execution.run:prepare_images"],
    "initial weights": ["selfsup.execution.run:prepare_weights", "selfsup.execution.jobs.job:build_method"],
    "precision timed": ["selfsup.execution.run:time_precision"],
    "training": ["selfsup.training.loop:Training.run"],
    "embedding": ["selfsup.execution.jobs.cell_evaluation:embed_plain"],
    "figures": [
        "selfsup.execution.jobs.artifacts:loss_curve",
        "selfsup.execution.jobs.artifacts:confusion_matrix",
        "selfsup.execution.jobs.artifacts:tsne_picture",
    ],
    "t-SNE": ["selfsup.execution.jobs.artifacts:project"],
    "maps": ["selfsup.execution.jobs.artifacts:tsne_page"],
    "files of a cell": ["selfsup.execution.jobs.publishing:cell_files"],
    "record": ["selfsup.record.folder:StudyFolder.write_cell", "selfsup.record.folder:StudyFolder.write_results"],
    "thumbnails": ["selfsup.report.assets:write_assets"],
    "page": ["selfsup.study:Study.report"],
}
#: The study itself, and the kinds that it exists for.
WORK = ("training", "embedding")


class Clock:
    """CPU seconds by kind of work, each function's without those that it calls of other kinds."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._kinds, self._since = ["the rest"], time.process_time()

    def _pass(self) -> None:
        now = time.process_time()
        self.seconds[self._kinds[-1]] += now - self._since
        self._since = now

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose seconds count as of this kind."""

        @functools.wraps(function)
        def counted(*args: Any, **named: Any) -> Any:
            self._pass()
            self._kinds.append(kind)
            try:
                return function(*args, **named)
            finally:
                self._pass()
                self._kinds.pop()

        return counted

    def watch(self) -> None:
        """Count every function of :data:`KINDS`, every evaluator, and imports wherever they happen."""
        from selfsup.evaluation import evaluators

        for kind, functions in KINDS.items():
            for place in functions:
                module, _, path = place.partition(":")
                *owners, name = path.split(".")
                owner = functools.reduce(getattr, owners, importlib.import_module(module))
                setattr(owner, name, self.timed(kind, getattr(owner, name)))
        known = {
            name: replace(one, evaluate=self.timed(f"evaluator {name}", one.evaluate))
            for name, one in evaluators.load_evaluators().items()
        }
        evaluators.load_evaluators = lambda: known
        builtins.__import__ = self.timed("imports", builtins.__import__)
        importlib.import_module = self.timed("imports", importlib.import_module)

    def table(self) -> str:
        """Kinds from the dearest to the cheapest, in Markdown."""
        self._pass()
        total = sum(self.seconds.values())
        rows = [f"| {kind} | {spent:.1f} | {spent / total:.1%} |" for kind, spent in self.seconds.most_common()]
        other = 1 - sum(self.seconds[kind] for kind in WORK) / total
        last = f"| **all** | {total:.1f} | neither {' nor '.join(WORK)}: **{other:.1%}** |"
        return "\n".join(["| kind of work | CPU seconds | share |", "|---|---|---|", *rows, last])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", default="digits", help="a folder of images (default: of scikit-learn's digits)")
    parser.add_argument("--images", type=int, default=500, help="of the digits, a folder of so many (default 500)")
    given, options = parser.parse_known_args()
    clock = Clock()
    import torch

    import selfsup.cli.commands

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = write_digits(Path(scratch) / "digits", given.images) if given.data == "digits" else given.data
        clock._pass()
        clock.seconds = Counter({"imports": sum(clock.seconds.values())})
        clock.watch()
        line = ["run", str(data), "--out", f"{scratch}/study", "--executor", "inline", "--threads", "1", *options]
        selfsup.cli.commands.main(line, standalone_mode=False)
        print(clock.table())


def write_digits(folder: Path, count: int) -> Path:
    """The first of scikit-learn's digits as a folder of images."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images[:count], digits.target[:count], strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype("uint8")).resize((64, 64)).save(place / f"{number}.png")
    return folder


if __name__ == "__main__":
    main()
