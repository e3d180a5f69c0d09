"""What an augmentation policy must keep; an outside policy runs it in its own tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from selfsup.views import PerImage, Policy, View

#: True heights and widths of the images in the checks: portrait, landscape, square twice, a strip, a pixel.
SIZES = ((28, 20), (15, 28), (28, 28), (28, 28), (3, 27), (1, 1))
#: Sides of views in pixels: less than that of the images, odd, and more.
SIDES = (8, 31, 64)
#: The first view, the second as methods with unequal views want it, and a small crop.
VIEWS = (View(), View(index=1), View(index=2, scale=(0.05, 0.3)))
#: Most that rounding may change of a pixel, on one device and between two.
ROUNDING, BETWEEN_DEVICES = 2e-4, 5e-3


def check_policy(policy: Policy) -> None:
    """Check that a policy keeps what :class:`selfsup.views.Policy` promises.

    Parameters
    ----------
    policy : Policy

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    images, sizes = pieces_of_a_photograph()
    for side in SIDES:
        for view in VIEWS:
            check_draw(policy, sizes, side, view)
            check_views(policy, images, sizes, side, view)
            check_single_images(policy, images, sizes, side, view)
        check_true_sizes(policy, images, sizes, side)
        check_devices_alike(policy, images, sizes, side)
    if policy.channels is None:
        check_views(policy, images[:, [0, 1, 2, 1, 0]], sizes, SIDES[0], VIEWS[0])


def check_draw(policy: Policy, sizes: Tensor, side: int, view: View) -> None:
    """Parameters are drawn on the CPU, one row per image, from the generator alone and with as many calls always."""
    params = policy.draw(sizes, side, _seeded(), view)
    assert isinstance(params, PerImage), f"draw() gave {type(params).__name__}, which is no PerImage"
    for name, value in _tensors(params):
        assert value.device.type == "cpu", f"draw() gave {name} on {value.device}, not on the CPU"
        assert len(value) == len(sizes), f"draw() gave {name} with {len(value)} rows for {len(sizes)} images"
    torch.manual_seed(123)
    again = policy.draw(sizes, side, _seeded(), view)
    pairs = zip(_tensors(params), _tensors(again), strict=True)
    assert all(torch.equal(one, other) for (_, one), (_, other) in pairs), "something else than the generator decides"
    before = torch.get_rng_state()
    calls = set()
    for seed in range(8):
        ends = []
        for other in (sizes, sizes.flip(0), torch.ones_like(sizes), torch.full_like(sizes, 500)):
            generator = _seeded(seed)
            with _GeneratorCalls() as counted:
                policy.draw(other, side, generator, view)
            calls.add(counted.count)
            ends.append(generator.get_state())
        assert all(torch.equal(end, ends[0]) for end in ends), "how much is drawn depends on the sizes of the images"
    assert torch.equal(torch.get_rng_state(), before), "draw() takes from torch's global random state"
    assert len(calls) == 1, f"the number of calls to the generator depends on what is drawn: {sorted(calls)}"


def check_views(policy: Policy, images: Tensor, sizes: Tensor, side: int, view: View) -> None:
    """Views of the promised form; the same for the same generator, whatever the memory layout and the arithmetic."""
    before = images.clone()
    views = policy(images, sizes, side, _seeded(), view)
    assert torch.equal(images, before), "the stored images were changed"
    assert views.shape == (*images.shape[:2], side, side), f"views have shape {tuple(views.shape)}"
    assert views.dtype == torch.float32, f"views are {views.dtype}, not float32"
    assert views.device == images.device, f"views are on {views.device}, the images on {images.device}"
    assert views.is_contiguous(memory_format=torch.channels_last), "views are not in channels-last memory"
    assert not views.requires_grad, "views require a gradient"
    assert torch.isfinite(views).all(), "views hold values that are not finite"
    assert views.min() >= 0 and views.max() <= 1, f"views reach from {views.min():.3g} to {views.max():.3g}"
    assert torch.equal(policy(images, sizes, side, _seeded(), view), views), "something else than the generator decides"
    params = policy.draw(sizes, side, _seeded(), view)
    assert torch.equal(policy.apply(images, sizes, params, side), views), "the views are not apply() of draw()"
    _close(policy(images.contiguous(), sizes, side, _seeded(), view), views, "for images in another memory layout")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = policy(images, sizes, side, _seeded(), view)
    assert torch.equal(half, views), "views differ under autocast"


def check_single_images(policy: Policy, images: Tensor, sizes: Tensor, side: int, view: View) -> None:
    """The view of an image does not depend on the images that are in the batch with it."""
    params = policy.draw(sizes, side, _seeded(), view)
    views = policy.apply(images, sizes, params, side)
    for parts in (range(len(images)), (slice(0, 2), slice(2, 6)), (slice(0, 5), slice(5, 6))):
        for part in (slice(part, part + 1) if isinstance(part, int) else part for part in parts):
            alone = policy.apply(images[part], sizes[part], params[part], side)
            _close(alone, views[part], "for another division of the batch")


def check_true_sizes(policy: Policy, images: Tensor, sizes: Tensor, side: int) -> None:
    """What is inside an image's true size enters its view, and nothing else."""
    padding = torch.ones_like(images, dtype=torch.bool)
    for mask, (height, width) in zip(padding, sizes.tolist(), strict=True):
        mask[:, :height, :width] = False
    noisy = torch.where(padding, 255, images)
    for seed in range(4):
        same = torch.equal(policy(noisy, sizes, side, _seeded(seed)), policy(images, sizes, side, _seeded(seed)))
        assert same, "what lies outside an image's true size enters its view"
    detail = policy(images, sizes, side, _seeded()).flatten(1).std(1)[:-1]  # the last image is a pixel
    assert (detail > 1e-3).all(), "a view of an image with detail is blank"


def check_devices_alike(policy: Policy, images: Tensor, sizes: Tensor, side: int) -> None:
    """One generator gives the same views on every device of this machine, but for rounding."""
    views = policy(images, sizes, side, _seeded())
    devices = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
    for device in devices:
        there = policy(images.to(device), sizes.to(device), side, _seeded())
        assert there.device.type == device, f"the views of images on {device} are on {there.device}"
        _close(there.cpu(), views, f"on {device}", BETWEEN_DEVICES)


def pieces_of_a_photograph() -> tuple[Tensor, Tensor]:
    """Images of :data:`SIZES` and these sizes; uint8 in channels-last memory, zeros for padding."""
    from sklearn.datasets import load_sample_images

    photo = torch.from_numpy(load_sample_images().images[1].copy())
    images = torch.zeros(len(SIZES), 28, 28, 3, dtype=torch.uint8)
    for index, (height, width) in enumerate(SIZES):
        images[index, :height, :width] = photo[100 + 30 * index :, 200 + 30 * index :][:height, :width]
    return images.permute(0, 3, 1, 2), torch.tensor(SIZES)


class _GeneratorCalls(TorchFunctionMode):
    """Counts calls that are given a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += any(isinstance(value, torch.Generator) for value in (*args, *(kwargs or {}).values()))
        return func(*args, **(kwargs or {}))


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tensors(params: PerImage, place: str = "") -> Iterator[tuple[str, Tensor]]:
    for field in fields(params):
        value = getattr(params, field.name)
        if isinstance(value, PerImage):
            yield from _tensors(value, f"{place}{field.name}.")
        else:
            yield f"{place}{field.name}", value


def _close(found: Tensor, expected: Tensor, when: str, bound: float = ROUNDING) -> None:
    error = float((found - expected).abs().max())
    assert error <= bound, f"{when} a view differs by {error:.2g}"
