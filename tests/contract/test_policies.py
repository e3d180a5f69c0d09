"""Every registered policy keeps the contract, and the contract's checks catch what breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from selfsup import registry
from selfsup.testing.policies import check_policy, pieces_of_a_photograph
from selfsup.views import PerImage, Policy, View, load_policy
from selfsup.views.base import FIRST_VIEW
from selfsup.views.resample import Crop, crop_to_view, resample
from selfsup.views.sampling import crop_boxes, happens, uniform


@pytest.mark.parametrize("name", registry.names(registry.POLICY))
def test_policy_keeps_the_contract(name: str) -> None:
    check_policy(load_policy(name))


@pytest.mark.parametrize("name", [name for name in registry.names(registry.POLICY) if name != "none"])
def test_other_random_numbers_give_other_views(name: str) -> None:
    images, sizes = pieces_of_a_photograph()
    one, other = (load_policy(name)(images, sizes, 31, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", registry.names(registry.POLICY))
def test_the_first_docstring_line_says_what_the_policy_does(name: str) -> None:
    first = registry.first_line(registry.POLICY, name)
    assert first.endswith(".")
    assert len(first) > 20


def test_the_policies_of_the_presets_are_there() -> None:
    assert {"none", "weak", "simclr", "byol"} <= set(registry.names(registry.POLICY))


# -- the checks themselves ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Dimmed(PerImage):
    """A crop, and a factor for its brightness, shape (n,)."""

    crop: Crop
    factor: Tensor


class Dim(Policy):
    """A correct policy of a few lines: crops and dims."""

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW) -> Any:
        box = crop_boxes(sizes, view.scale or (0.5, 1.0), generator)
        crop = crop_to_view(sizes, box, happens(len(sizes), 0.5, generator), out_size)
        return Dimmed(crop, uniform(len(sizes), 0.5, 1.0, generator))

    def apply(self, images: Tensor, sizes: Tensor, params: Any, out_size: int) -> Tensor:
        view = resample(images, params.crop, out_size) * params.factor.to(images.device).view(-1, 1, 1, 1)
        return view.contiguous(memory_format=torch.channels_last)


def test_the_checks_accept_an_outside_policy() -> None:
    check_policy(Dim())


class Loaded(Dim):
    """Takes its numbers from torch's global random state."""

    def draw(self, *arguments: Any) -> Any:
        return Dimmed(super().draw(*arguments).crop, torch.rand(len(arguments[0])))


class Wasteful(Dim):
    """Takes a number from torch's global random state and has no use for it."""

    def draw(self, *arguments: Any) -> Any:
        torch.rand(1)
        return super().draw(*arguments)


class Insistent(Dim):
    """Draws until it likes what it got."""

    def draw(self, *arguments: Any) -> Any:
        drawn = super().draw(*arguments)
        while drawn.factor[0] < 0.7:
            drawn = super().draw(*arguments)
        return drawn


class PerPixel(Dim):
    """Draws a number for every row of the largest image."""

    def draw(self, *arguments: Any) -> Any:
        sizes, _, generator, *_ = arguments
        torch.rand(int(sizes.max()), generator=generator)
        return super().draw(*arguments)


class Loose(Dim):
    """Gives its parameters as a tuple."""

    def draw(self, *arguments: Any) -> Any:
        drawn = super().draw(*arguments)
        return drawn.crop, drawn.factor


class Single(Dim):
    """Draws one factor for all images."""

    def draw(self, *arguments: Any) -> Any:
        drawn = super().draw(*arguments)
        return Dimmed(drawn.crop, drawn.factor[:1])


class Shaky(Dim):
    """Draws again when it computes pixels."""

    def apply(self, images: Tensor, *arguments: Any) -> Tensor:
        return super().apply(images, *arguments) * torch.rand(1)


class Glaring(Dim):
    """Brightens beyond white."""

    def apply(self, *arguments: Any) -> Tensor:
        return super().apply(*arguments) * 3


class Undefined(Dim):
    """Divides by nothing."""

    def apply(self, *arguments: Any) -> Tensor:
        view = super().apply(*arguments)
        return view / (view.amax() - view.amax())


class Half(Dim):
    """Leaves its views in half precision."""

    def apply(self, *arguments: Any) -> Tensor:
        return super().apply(*arguments).half()


class Narrow(Dim):
    """Forgets a row of pixels."""

    def apply(self, *arguments: Any) -> Tensor:
        return super().apply(*arguments)[:, :, 1:]


class Planar(Dim):
    """Leaves its views in another memory layout."""

    def apply(self, *arguments: Any) -> Tensor:
        return super().apply(*arguments).contiguous()


class Blank(Dim):
    """Gives black."""

    def apply(self, *arguments: Any) -> Tensor:
        return super().apply(*arguments) * 0


class Vandal(Dim):
    """Darkens the stored images."""

    def apply(self, images: Tensor, *arguments: Any) -> Tensor:
        view = super().apply(images, *arguments)
        images.div_(2, rounding_mode="floor")
        return view


class Sociable(Dim):
    """Dims by the brightness of the whole batch."""

    def apply(self, *arguments: Any) -> Tensor:
        view = super().apply(*arguments)
        return view * view.mean()


class Wide(Dim):
    """Crops from the padded image."""

    def draw(self, sizes: Tensor, *arguments: Any) -> Any:
        return super().draw(torch.full_like(sizes, 28), *arguments)


class Learning(Dim):
    """Keeps a graph for a gradient."""

    def __call__(self, *arguments: Any) -> Tensor:
        return super().__call__(*arguments).requires_grad_()


class Careless(Dim):
    """Computes in whatever precision it finds itself."""

    def __call__(
        self, images: Tensor, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW
    ) -> Tensor:
        views = self.apply(images, sizes, self.draw(sizes, out_size, generator, view), out_size)
        mixed = (views.permute(0, 2, 3, 1) @ torch.eye(3)).permute(0, 3, 1, 2).float()
        return mixed.contiguous(memory_format=torch.channels_last)


BROKEN = [
    (Loaded, "something else than the generator decides"),
    (Wasteful, "global random state"),
    (Insistent, "depends on what is drawn"),
    (PerPixel, "depends on the sizes"),
    (Loose, "no PerImage"),
    (Single, "factor with 1 rows for 6 images"),
    (Shaky, "something else than the generator decides"),
    (Glaring, "views reach from"),
    (Undefined, "not finite"),
    (Half, "not float32"),
    (Narrow, "views have shape"),
    (Planar, "channels-last"),
    (Blank, "blank"),
    (Vandal, "stored images were changed"),
    (Sociable, "another division of the batch"),
    (Wide, "outside an image's true size"),
    (Learning, "require a gradient"),
    (Careless, "under autocast"),
]


@pytest.mark.parametrize(("cls", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_the_checks_name_the_promise_that_a_policy_breaks(cls: type[Dim], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_policy(cls())
