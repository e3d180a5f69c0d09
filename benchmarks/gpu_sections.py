"""The sections of gpu.py: each measures one thing and notes what it finds."""

from __future__ import annotations

import argparse
import contextlib
import copy
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from timm.optim.lars import Lars
from torch.profiler import ProfilerActivity, profile

import fuse
from bare import BarePass
from findings import Findings
from gpu_rates import FAST, NETWORKS, PLAIN, busy_seconds, network, rate, seconds_of, set_up, settle, steps_of, training
from selfsup.backbones import build_backbone
from selfsup.evaluation.embedding import GPU_BATCH, embed
from selfsup.training.batches import Loading
from selfsup.training.device import Hardware, choose_hardware
from selfsup.training.diagnostics import effective_rank
from selfsup.views import View
from selfsup.views.base import to_device
from step import TimedSteps

ROOT = Path(__file__).resolve().parents[1]
LOADINGS = {
    "plain": PLAIN,
    "resident": Loading(resident=True),
    "ahead": Loading(ahead=True),
    "both": Loading(resident=True, ahead=True),
    "steps": Loading(resident=True, steps=8),
    "all": Loading(resident=True, ahead=True, steps=8),
}


def describe(given: argparse.Namespace, findings: Findings) -> None:
    """Where this runs.

    Raises
    ------
    UserError
        If the device is not here.
    """
    choose_hardware(given.device, "bf16")
    name = torch.cuda.get_device_name() if given.device.startswith("cuda") else "CPU"
    print(f"{name}, torch {torch.__version__}, {os.cpu_count()} cores, batch {given.batch_size}, bf16", flush=True)
    findings.values["device"] = {"name": name, "torch": torch.__version__, "cores": os.cpu_count()}


def tests(given: argparse.Namespace, findings: Findings) -> None:
    """The marked tests: results as on a CPU, no waiting in a step, resuming."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "--tb=short"]
    only = ["-k", "embeddings"] if given.tiny else []
    environment = {**os.environ, "SELFSUP_TEST_DEVICE": given.device}
    run = subprocess.run(
        [*command, *only, "tests/contract/test_gpu.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    print(run.stdout[-6000:], run.stderr[-1000:], flush=True)
    findings.note("tests", "pytest -m gpu", last_line=(run.stdout.splitlines() or [""])[-1], code=run.returncode)


def rates(given: argparse.Namespace, findings: Findings) -> None:
    """Images per second of our loop against the bare pass of the same networks and crops; the device's share.

    `plain`: each batch read, sent and made when it is asked for; `ours`: as we have it by default; `graphs`: CUDA
    graphs as well.
    """
    for size in given.sizes:
        for method in NETWORKS:
            bare = BarePass(training(given, method, size))
            bare_seconds = seconds_of(given, bare.take)
            bare_rate = given.batch_size / bare_seconds
            plain, fast = (rate(given, method, size, loading) for loading in (PLAIN, FAST))
            case = f"{method} {size} px"
            findings.note("rates", case, plain=plain, ours=fast, bare=bare_rate, ours_of_bare=fast / bare_rate)
            step_seconds = busy_seconds(given, steps_of(training(given, method, size, loading=FAST)))
            findings.note(
                "rates",
                case,
                busy=step_seconds * fast / given.batch_size,
                busy_of_bare=busy_seconds(given, bare.take) / bare_seconds,
                memory_gb=_most_memory(given),
            )
            if given.device.startswith("cuda"):
                graphs = rate(given, method, size, FAST, graphs=True)
                findings.note("rates", case, graphs=graphs, graphs_of_bare=graphs / bare_rate)


def _most_memory(given: argparse.Namespace) -> float:
    """Most gigabytes of the device's memory since the last call."""
    if not given.device.startswith("cuda"):
        return float("nan")
    most = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return most


def parts(given: argparse.Namespace, findings: Findings) -> None:
    """Milliseconds of the parts of a step, each waited for (whole) and only asked for (issue)."""

    def waiting() -> float:
        settle(given)
        return time.perf_counter()

    for size in given.sizes:
        for method in NETWORKS:
            found = {}
            for kind, now in (("whole", waiting), ("issue", time.perf_counter)):
                steps = TimedSteps(training(given, method, size), now)
                for number in range(3 if given.tiny else 15):
                    settle(given)
                    steps.run(number)
                found[kind] = {name: 1e3 * median(seconds[2:]) for name, seconds in steps.seconds.items()}
            for kind, numbers in found.items():
                findings.note("parts", f"{method} {size} px, {kind}", **numbers, sum=sum(numbers.values()))
            findings.note("parts", f"{method} {size} px, within views", **_of_views(given, method, size, waiting))
            embedding = torch.rand(given.batch_size, 512 if method == "simclr" else 192, device=given.device)
            findings.note(
                "parts",
                f"{method} {size} px, once an epoch",
                rank=1e3 * _once(waiting, partial(effective_rank, embedding)),
            )


def _of_views(given: argparse.Namespace, method: str, size: int, now: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of reading, sending, drawing and computing the views of a batch."""
    batches = training(given, method, size).batches
    found: dict[str, list[float]] = {"gather": [], "copy": [], "draw": [], "apply": []}
    for step in range(3 if given.tiny else 10):
        marks = [now()]
        pixels, sizes = batches._images.batch(batches.request(step).rows)
        marks.append(now())
        sent = to_device(pixels, torch.device(given.device))
        marks.append(now())
        generator = torch.Generator().manual_seed(step)
        wanted = [
            (policy, group.pixels(size, batches._plan.side_step), group.scale)
            for group, policy in batches._view_groups
            for _ in range(group.count)
        ]
        drawn = [
            policy.draw(sizes, side, generator, View(index, scale))
            for index, (policy, side, scale) in enumerate(wanted)
        ]
        marks.append(now())
        for (policy, side, _), parameters in zip(wanted, drawn, strict=True):
            policy.apply(sent, sizes, parameters, side)
        marks.append(now())
        for name, seconds in zip(found, np.diff(marks), strict=True):
            found[name].append(seconds)
    return {name: 1e3 * median(seconds[1:]) for name, seconds in found.items()}


def _once(now: Callable[[], float], call: Callable[[], object]) -> float:
    started = now()
    call()
    return now() - started


def loading(given: argparse.Namespace, findings: Findings) -> None:
    """Images per second by how images come to the device."""
    size = _middle(given)
    for method in NETWORKS:
        for name, way in LOADINGS.items():
            findings.note("loading", f"{method} {size} px", **{name: rate(given, method, size, way)})


def _middle(given: argparse.Namespace) -> int:
    """The size for what takes too long at every size."""
    sizes: list[int] = given.sizes
    return sizes[len(sizes) // 2]


def operators(given: argparse.Namespace, findings: Findings) -> None:
    """Milliseconds of a step by operator on the host and by kernel on the device, and kernels launched."""
    number = 1 if given.tiny else 5
    for method in NETWORKS:
        take = steps_of(training(given, method, given.sizes[0], loading=FAST))
        take()
        settle(given)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            for _ in range(number):
                take()
            settle(given)
        found = seen.key_averages()
        for where, time_of in (("host", "self_cpu_time_total"), ("device", "self_device_time_total")):
            longest = sorted(found, key=lambda event, time_of=time_of: -getattr(event, time_of))[:12]
            numbers = {event.key[:48]: getattr(event, time_of) / 1e3 / number for event in longest}
            numbers = {name: milliseconds for name, milliseconds in numbers.items() if milliseconds}
            findings.note("operators", f"{method} {given.sizes[0]} px, {where}", **numbers)
        launched = sum(event.count for event in found if event.key.startswith(("cudaLaunch", "cuLaunch"))) / number
        findings.note("operators", f"{method} {given.sizes[0]} px, launches", kernels=launched)


def optimizers(given: argparse.Namespace, findings: Findings) -> None:
    """Milliseconds of an optimizer's step for a ResNet-18."""
    made = training(given, "simclr", given.sizes[0])
    parameters = [parameter for parameter in made.method.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.grad = torch.rand_like(parameter)
    ways: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        "sgd_fused": lambda: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True),
        "adamw_fused": lambda: torch.optim.AdamW(parameters, lr=0.01, fused=True),
        "lars": lambda: Lars(parameters, lr=0.01, momentum=0.9, always_adapt=True, trust_clip=True),
    }
    found = {name: 1e3 * seconds_of(given, make().step) for name, make in ways.items()}
    findings.note("optimizers", "resnet18", **found)


def settings(given: argparse.Namespace, findings: Findings) -> None:
    """Images per second of the bare pass as it is, without determinism, and as a CUDA graph; of our loop without."""
    for size in given.sizes:
        for method in ("simclr", "dino"):
            bare = BarePass(training(given, method, size))
            found = {"as_it_is": given.batch_size / seconds_of(given, bare.take)}
            with _free_choice():
                found["free"] = given.batch_size / seconds_of(given, bare.take)
                found["our_loop_free"] = rate(given, method, size, FAST)
            findings.note("settings", f"{method} {size} px", **found)
            if given.device.startswith("cuda"):
                findings.note(
                    "settings", f"{method} {size} px", graph=given.batch_size / seconds_of(given, _graph(bare))
                )


@contextlib.contextmanager
def _free_choice() -> Iterator[None]:
    """Within, libraries may choose algorithms that are not deterministic, by trying them."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _graph(bare: BarePass) -> Callable[[], None]:
    """The bare pass recorded as one CUDA graph."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            bare.take()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        bare.take()
    return graph.replay


def fused(given: argparse.Namespace, findings: Findings) -> None:
    """Learning rates in one network against one after another, --fuse 1, 4 and 8: images per second of all."""
    hardware = Hardware(given.device, "bf16")
    for method, size in (*product(("simclr",), given.sizes[:2]), ("dino", given.sizes[0])):
        asked = argparse.Namespace(
            **{**vars(given), "images": given.images // 2},
            method=method,
            backbone=network(given, NETWORKS[method]),
            image_size=size,
            epochs=3,
        )
        alone = asked.images / fuse.alone(1, hardware, asked)
        findings.note("fused", f"{method} {size} px, 1", images=alone)
        for number in (2,) if given.tiny else (4, 8):
            together = number * asked.images / fuse.together(number, hardware, asked)
            findings.note("fused", f"{method} {size} px, {number}", images=together, gain=together / alone)


def workers(given: argparse.Namespace, findings: Findings) -> None:
    """Images per second of 1, 2 and 4 processes that train on the device at once."""
    numbers = (1,) if given.tiny else (1, 2, 4)
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(max(numbers))]
    for _, there in ends:
        context.Process(target=_work, args=(there, given), daemon=True).start()
        there.close()  # so that the death of a process is seen at its other end
    for here, _ in ends:
        here.recv()  # it has made its imports
    ways = (False, True) if given.device.startswith("cuda") else (False,)
    size = _middle(given)
    for method, graphs in product(("simclr", "dino"), ways):
        for number in numbers:
            for here, _ in ends[:number]:
                here.send((method, size, len(ends) // number, graphs))
            together = sum(here.recv() for here, _ in ends[:number])
            findings.note("workers", f"{method} {size} px{', graphs' * graphs}", **{f"of_{number}": together})
    for here, _ in ends:
        here.send(None)


def _work(pipe: Any, given: argparse.Namespace) -> None:
    """A worker: trains what it is sent, and sends its rate."""
    set_up(given)
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        method, size, threads, graphs = asked
        torch.set_num_threads(threads)
        pipe.send(rate(given, method, size, FAST, graphs=graphs))


def embedding(given: argparse.Namespace, findings: Findings) -> None:
    """Embedding, images per second: ours and the bare forward pass as it is, and by precision; how far off each is."""
    for name in ("resnet18", "vit_tiny_patch16_224"):
        for size in given.sizes[-2:]:
            torch.manual_seed(0)
            backbone = build_backbone(network(given, name), image_size=size).to(given.device).eval()
            count = 2 * given.images
            pictures = fuse.Pictures(count, size)
            pictures.pixels = pictures.pixels.contiguous(memory_format=torch.channels_last)  # as the store has them
            embed_all = partial(embed, backbone, pictures, np.arange(count), image_size=size, device=given.device)
            found = {"ours": count / _typical(embed_all)}
            views = torch.rand(GPU_BATCH, 3, size, size, device=given.device).to(memory_format=torch.channels_last)
            exact = copy.deepcopy(backbone).double()(views[:32].double()).detach()
            with torch.no_grad():
                found["bare"] = GPU_BATCH / seconds_of(given, partial(backbone, views))
            found["ours_of_bare"] = found["ours"] / found["bare"]
            for precision in ("fp32", "tf32", "bf16"):
                with _precision(given, precision), torch.no_grad():
                    found[precision] = GPU_BATCH / seconds_of(given, partial(backbone, views))
                    found[f"{precision}_off"] = float((backbone(views[:32]) - exact).norm() / exact.norm())
            findings.note("embedding", f"{name} {size} px", **found)


def _typical(call: Callable[[], object]) -> float:
    """Median seconds of a call, as for the bare pass, after a first one."""
    return median([_once(time.perf_counter, call) for _ in range(4)][1:])


@contextlib.contextmanager
def _precision(given: argparse.Namespace, name: str) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(given.device.partition(":")[0], torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before, False


def lightly(given: argparse.Namespace, findings: Findings) -> None:
    """SimCLR on a ResNet-18 by lightly's documented loop, in float32, images per second; ours is bf16."""
    from PIL import Image

    import peers

    for size in given.sizes:
        pixels = fuse.Pictures(given.images, size).pixels.permute(0, 2, 3, 1).numpy()
        with _free_choice():  # as its users run it
            trained = peers.train(
                "simclr",
                [Image.fromarray(image) for image in pixels],
                size=size,
                epochs=2,
                batch_size=given.batch_size,
                workers=0 if given.tiny else min(12, os.cpu_count() or 1),
                seed=0,
                device=given.device,
            )
        ours = findings.values.get("rates", {}).get(f"simclr {size} px", {}).get("ours", float("nan"))
        findings.note(
            "lightly", f"simclr {size} px", lightly=max(trained.rates), ours_of_lightly=ours / max(trained.rates)
        )


SECTIONS: dict[str, Callable[[argparse.Namespace, Findings], None]] = {
    section.__name__: section
    for section in (tests, rates, fused, workers, embedding, lightly, loading, parts, operators, settings, optimizers)
}
