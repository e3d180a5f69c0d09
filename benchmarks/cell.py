"""One cell trained by selfsup and by lightly's documented loop, side by side: speed, accuracy, roofline.

SimCLR, MoCo and BYOL on a ResNet-18: both train it from random weights on the same real images by the same views, with
plain SGD at learning rate 0.06, in the same batches and epochs, and are judged by the same probe on images that neither
has seen. Every training has a process of its own, the contenders take turns, and a rate is the median
over the epochs of one training; ratios are the medians of the ratios within each repeat. lightly
runs with the number of loader workers that serves it best.

    python benchmarks/cell.py [--image-size 32] [--methods simclr,moco,byol] [--repeats 3]
    python benchmarks/cell.py --threads 1 --clock cpu        # on a machine that others use too
    python benchmarks/cell.py --methods dino --image-size 64
    python benchmarks/cell.py --methods mae --backbone vit_tiny_patch16_224 --image-size 64

The bare line is the work of the encoder alone, both views in one batch: what a loop could reach if
all else were free, with the library's own convolutions. A share above 1 is the doing of
selfsup.backbones.tiny_convolution. Other methods are trained beside those of ordinary.py, by AdamW; their bare line has
the networks' own calls with the crops of a step, and a second one the same with selfsup's convolutions.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from joblib import cpu_count

from history import note
from shared_images import Pictures, mean_and_error, probe_accuracy, write_pictures

Result = TypeVar("Result")
#: Methods that the loops of lightly's examples in peers.py train.
COMPARED = ("simclr", "moco", "byol")
#: The losses of those examples as shares of selfsup's, which plain SGD must have its rate divided by.
EXAMPLE_LOSS = {"simclr": 1, "moco": 1, "byol": 1 / 4}
#: Learning rate of the others, for both.
ORDINARY_RATE = 1e-3


@dataclass(frozen=True)
class Task:
    """One training: everything but who does it."""

    method: str
    seed: int
    backbone: str
    image_size: int
    epochs: int
    batch_size: int
    precision: str
    threads: int
    clock: str

    @property
    def now(self) -> Callable[[], float]:
        return {"wall": time.perf_counter, "cpu": time.process_time}[self.clock]

    @property
    def has_example(self) -> bool:
        """Whether the loop of lightly's example of this method and network is in peers.py."""
        return self.method in COMPARED and self.backbone == "resnet18"


@dataclass(frozen=True)
class Score:
    """Images per second, and the probe's accuracy (NaN where nothing was trained)."""

    rate: float
    accuracy: float = float("nan")


def same_settings(method: str) -> dict[str, Any]:
    """Settings of selfsup's `method` that make it lightly's example: plain SGD, its temperature, queue and momentum."""
    own = {
        "simclr": {"temperature": 0.5},
        "moco": {"temperature": 0.5, "queue_size": 4096, "momentum": 0.996},
        "byol": {"momentum": 0.996},
    }
    return {"optimizer": "sgd", "optimizer_momentum": 0.0, "weight_decay": 0.0, **own.get(method, {})}


def build_method(task: Task, pictures: Pictures, settings: dict[str, Any]) -> Any:
    """selfsup's method on an untrained network, sized by the pictures."""
    from selfsup.backbones import build_backbone
    from selfsup.methods import method_class, read_settings

    backbone = build_backbone(task.backbone, image_size=task.image_size)
    sizes = {"num_classes": len(pictures.store().classes), "num_images": len(pictures.train)}
    return method_class(task.method)(backbone, read_settings(task.method, settings), **sizes)


def ordinary_settings(method: str) -> dict[str, Any]:
    """Settings of selfsup's `method` under which it does what that of ordinary.py does."""
    from ordinary import SAME

    return {"optimizer": "adamw", "weight_decay": 0.0, **SAME.get(method, {})}


def build_training(
    task: Task, pictures: Pictures, settings: dict[str, Any] | None, lr: float | None, callbacks: Any = None
) -> Any:
    """selfsup's training of the task, as a worker of a study begins it."""
    from selfsup.training.callbacks import Callbacks
    from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
    from selfsup.training.loop import Training
    from selfsup.training.plan import TrainingPlan
    from selfsup.views import load_policy

    keep_freed_memory()
    make_deterministic(task.threads)
    torch.manual_seed(task.seed)
    settings = settings or (same_settings if task.has_example else ordinary_settings)(task.method)
    method = build_method(task, pictures, settings)
    lr = lr or (0.06 * EXAMPLE_LOSS[task.method] if task.has_example else ORDINARY_RATE)
    plan = TrainingPlan(task.epochs, task.batch_size, task.image_size, lr=lr, seed=task.seed, schedule="constant")
    policy = load_policy(method.tags.augmentation or "simclr")
    store, fabric = pictures.store(), Hardware("cpu", task.precision).fabric()
    labels = store.labels[pictures.train]
    return Training(method, store, pictures.train, labels, policy, plan, fabric, callbacks or Callbacks())


def by_selfsup(
    task: Task, pictures: Pictures, settings: dict[str, Any] | None = None, lr: float | None = None
) -> Score:
    """store -> policy -> Training -> embed, as a worker of a study does it."""
    from selfsup.evaluation.embedding import embed
    from selfsup.training.callbacks import Callbacks
    from selfsup.training.state import EpochLog

    class Stopwatch(Callbacks):
        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
            self.marks.append(task.now())

    stopwatch = Stopwatch()
    training = build_training(task, pictures, settings, lr, stopwatch)
    stopwatch.marks.append(task.now())  # what was imported and built is not of the first epoch
    training.run()
    store = pictures.store()
    train_x, test_x = (
        embed(training.method.encoder, store, indices, image_size=task.image_size, device="cpu")
        for indices in (pictures.train, pictures.test)
    )
    accuracy = probe_accuracy(train_x, store.labels[pictures.train], test_x, store.labels[pictures.test])
    rates = [len(pictures.train) / (end - start) for start, end in pairwise(stopwatch.marks)]
    return Score(statistics.median(rates), accuracy)


def by_lightly(task: Task, pictures: Pictures, workers: int) -> Score:
    """lightly's loop, in float32 as documented."""
    import peers

    torch.set_num_threads(task.threads)
    trained = peers.train(
        task.method,
        pictures.images(pictures.train),
        size=task.image_size,
        epochs=task.epochs,
        batch_size=task.batch_size,
        workers=workers,
        seed=task.seed,
        clock=task.now,
    )
    return judged(trained, task, pictures)


def in_the_ordinary_way(task: Task, pictures: Pictures, workers: int, lr: float = ORDINARY_RATE) -> Score:
    """The method of ordinary.py, in float32."""
    import ordinary

    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)  # the weights that selfsup's training begins with
    method = build_method(task, pictures, ordinary_settings(task.method))
    trained = ordinary.train(
        task.method,
        method,
        pictures.images(pictures.train),
        pictures.store().labels[pictures.train].tolist(),
        size=task.image_size,
        epochs=task.epochs,
        batch_size=task.batch_size,
        lr=lr,
        workers=workers,
        seed=task.seed,
        clock=task.now,
    )
    return judged(trained, task, pictures, normalisation=ordinary.normalisation(method.backbone))


def judged(trained: Any, task: Task, pictures: Pictures, **named: Any) -> Score:
    """The rate of a peer's training, and the probe's accuracy on its embeddings."""
    import peers

    train_x, test_x = (
        peers.embed(trained.backbone, pictures.images(indices), task.image_size, **named)
        for indices in (pictures.train, pictures.test)
    )
    labels = pictures.store().labels
    accuracy = probe_accuracy(train_x, labels[pictures.train], test_x, labels[pictures.test])
    return Score(statistics.median(trained.rates), accuracy)


def bare(task: Task, pictures: Pictures) -> Score:
    """Forward and backward alone."""
    import peers
    from selfsup.training.device import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(task.threads)
    sizes = {"size": task.image_size, "batch_size": task.batch_size, "precision": task.precision}
    return Score(peers.bare_rate(task.method, **sizes, clock=task.now))


def bare_pass(task: Task, pictures: Pictures, *, plain: bool = True) -> Score:
    """Every call of a network that a step of the method makes, with its crops, forward and backward.

    With torch's own convolutions, or else with selfsup's.
    """
    from bare import BarePass, use_plain_convolutions

    training = build_training(task, pictures, None, None)
    if plain:
        use_plain_convolutions(training.method)
    work = BarePass(training)
    seconds: list[float] = []
    while len(seconds) < 4 or sum(seconds) < 8:
        started = task.now()
        work.take()
        seconds.append(task.now() - started)
    return Score(task.batch_size / statistics.median(seconds[1:]))


def apart(function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """The function's result, computed in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result()


def compare(tasks: list[Task], pictures: Pictures, workers: list[int]) -> None:
    """Run all repeats of one method and print its lines."""
    method = tasks[0].method
    other, least = (by_lightly, bare) if tasks[0].has_example else (in_the_ordinary_way, bare_pass)
    ours, theirs, limits, own_limits = [], [], [], []
    for task in tasks:
        ours.append(apart(by_selfsup, task, pictures))
        runs = [apart(other, task, pictures, number) for number in workers]
        theirs.append(max(runs, key=lambda score: score.rate))
        limits.append(apart(least, task, pictures))
        if least is bare_pass:
            own_limits.append(apart(bare_pass, task, pictures, plain=False))
    print_scores(method, "selfsup", ours, pictures)
    print_scores(method, "lightly", theirs, pictures)
    limit = statistics.median(score.rate for score in limits)
    print(f"  {method:<12}{'bare':<10}{limit:8.1f} images/s")
    ratio, share = median_ratio(ours, theirs), median_ratio(ours, limits)
    print(f"  {method:<12}selfsup / lightly {ratio:.2f}   selfsup / bare {share:.2f}", flush=True)
    if own_limits:
        own_share = median_ratio(ours, own_limits)
        print(f"  {method:<12}selfsup / bare with selfsup's convolutions {own_share:.2f}", flush=True)
    case = f"{method}, {tasks[0].image_size} px, {tasks[0].precision}, {tasks[0].clock} clock"
    note("cell", case, speed_against_lightly=ratio, share_of_bare=share)


def median_ratio(scores: list[Score], others: list[Score]) -> float:
    """Of the rates, repeat by repeat."""
    return statistics.median(a.rate / b.rate for a, b in zip(scores, others, strict=True))


def print_scores(method: str, name: str, scores: list[Score], pictures: Pictures) -> None:
    """The line of one contender."""
    rate = statistics.median(score.rate for score in scores)
    accuracy = mean_and_error([score.accuracy for score in scores], len(pictures.test))
    print(f"  {method:<12}{name:<10}{rate:8.1f} images/s   accuracy {accuracy}", flush=True)


def refuse_remainder(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End where a last batch would be short: a peer drops it, selfsup makes batches of equal size, a step more."""
    if given.images % given.batch_size:
        parser.error(f"--images {given.images} is no multiple of --batch-size {given.batch_size}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", help="name or folder, as for `selfsup run` (default digits)")
    parser.add_argument("--data-root", help="folder that holds a named data set's files")
    parser.add_argument(
        "--methods", default=",".join(COMPARED), help="of peers.py or ordinary.py (default simclr,moco,byol)"
    )
    parser.add_argument("--backbone", default="resnet18", help="mae: a transformer (default resnet18)")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--source-size", type=int, help="side of the source images (default 8/7 of the view)")
    parser.add_argument("--images", type=int, default=1024, help="training images (default 1024)")
    parser.add_argument("--test-images", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16", help="of selfsup and the bare line")
    parser.add_argument("--threads", type=int, default=cpu_count())
    parser.add_argument("--loader-workers", default="0,2", help="numbers of lightly's loader workers to try")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: seconds that the process computed, with one thread and no loader workers (default wall)",
    )
    given = parser.parse_args()
    refuse_remainder(parser, given)
    if given.clock == "cpu":
        given.threads, given.loader_workers = 1, "0"  # the clock does not see others, nor overlapping threads
    return given


def main() -> None:
    given = options()
    side = given.source_size or given.image_size * 8 // 7
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(
            Path(folder),
            data=given.data,
            data_root=given.data_root,
            side=side,
            train=given.images,
            test=given.test_images,
        )
        pictures.store()
        print(
            f"{given.data}, {given.images} images of {side} px, views of {given.image_size} px, batch "
            f"{given.batch_size}, {given.epochs} epochs, {given.threads} threads, {given.precision}, "
            f"{given.repeats} repeats, {given.clock} clock, torch {torch.__version__}"
        )
        for method in given.methods.split(","):
            sizes = (given.image_size, given.epochs, given.batch_size, given.precision, given.threads, given.clock)
            tasks = [Task(method, seed, given.backbone, *sizes) for seed in range(given.repeats)]
            compare(tasks, pictures, [int(number) for number in given.loader_workers.split(",")])


if __name__ == "__main__":
    main()
