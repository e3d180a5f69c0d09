from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare, ks_2samp
from torchvision.transforms import v2
from torchvision.tv_tensors import Image

from selfsup.views import load_policy
from selfsup.views.sampling import crop_boxes, permutations

DRAWS = 4000
# Seeds are fixed, so a p-value is a constant: a test fails if the distribution is wrong, never by chance.
SIGNIFICANCE = 1e-3


def torchvision_draws(transform: v2.Transform, size: tuple[int, int]) -> list[dict]:
    image = [Image(torch.empty(3, *size, dtype=torch.uint8))]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return [transform.make_params(image) for _ in range(DRAWS)]


def simclr_params(count: int = DRAWS):
    sizes = torch.full((count, 2), 256)
    return load_policy("simclr").draw(sizes, 224, torch.Generator().manual_seed(0))


def assert_same_distribution(ours, theirs) -> None:
    assert ks_2samp(np.asarray(ours), np.asarray(theirs), method="asymp").pvalue > SIGNIFICANCE


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.8, 1.0)])
@pytest.mark.parametrize("size", [(256, 256), (28, 28), (200, 300), (90, 200), (64, 40)])
def test_boxes_are_distributed_as_torchvisions(size, scale, generator):
    drawn = torchvision_draws(v2.RandomResizedCrop(32, scale=scale), size)
    theirs = np.array([[draw[key] for key in ("top", "left", "height", "width")] for draw in drawn])
    ours = crop_boxes(torch.tensor([size] * DRAWS), scale, generator).numpy()
    for side in range(4):
        assert_same_distribution(ours[:, side], theirs[:, side])
    assert_same_distribution(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    assert_same_distribution(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2])


@pytest.mark.parametrize(("policy", "least"), [("weak", 0.8), ("simclr", 0.08)])
def test_each_policy_crops_as_much_as_it_says(policy, least):
    sizes = torch.full((DRAWS, 2), 256)
    params = load_policy(policy).draw(sizes, 32, torch.Generator().manual_seed(0))
    theirs = torchvision_draws(v2.RandomResizedCrop(32, scale=(least, 1.0)), (256, 256))
    area = params.crop.box[:, 2] * params.crop.box[:, 3]
    assert_same_distribution(area, [draw["height"] * draw["width"] for draw in theirs])


def test_area_is_uniform_and_aspect_ratio_log_uniform_where_every_box_fits(generator):
    boxes = crop_boxes(torch.full((DRAWS, 2), 10_000), (0.1, 0.5), generator).double()
    area = boxes[:, 2] * boxes[:, 3] / 1e8
    ratio = (boxes[:, 3] / boxes[:, 2]).log() / math.log(4 / 3)
    uniform = np.random.default_rng(0).random(50_000)
    assert_same_distribution(area, 0.1 + 0.4 * uniform)
    assert_same_distribution(ratio, 2 * uniform - 1)


@pytest.mark.parametrize("size", [(10, 1000), (1000, 10), (7, 30), (31, 9), (1, 5), (1, 1)])
def test_where_ten_attempts_fail_the_box_is_torchvisions_central_one(size, generator):
    (theirs, *others) = torchvision_draws(v2.RandomResizedCrop(32, scale=(0.99, 1.0)), size)
    assert all(other == theirs for other in others)
    boxes = crop_boxes(torch.tensor([size] * 50), (0.99, 1.0), generator)
    assert (boxes == torch.tensor([theirs[key] for key in ("top", "left", "height", "width")])).all()


def test_boxes_lie_inside_their_images(generator):
    sizes = torch.randint(1, 40, (20_000, 2), generator=generator)
    corner, box = crop_boxes(sizes, (0.08, 1.0), generator).split(2, dim=1)
    assert (corner >= 0).all()
    assert (box >= 1).all()
    assert (corner + box <= sizes).all()


def test_permutations_are_equally_likely(generator):
    drawn = permutations(DRAWS, 3, generator)
    _, counts = drawn.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert chisquare(counts).pvalue > SIGNIFICANCE


def test_orders_of_the_four_colour_operations_are_equally_likely():
    jitter = simclr_params().jitter
    orders = torch.cat([jitter.blends, jitter.hue_turn[:, None]], 1)
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == math.factorial(4)
    assert chisquare(counts).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(
    ("column", "name"),
    [(0, "brightness_factor"), (1, "contrast_factor"), (2, "saturation_factor"), (3, "hue_factor")],
)
def test_colour_factors_are_distributed_as_torchvisions(column, name):
    theirs = torchvision_draws(v2.ColorJitter(0.8, 0.8, 0.8, 0.2), (32, 32))
    assert_same_distribution(simclr_params().jitter.factors[:, column], [draw[name] for draw in theirs])


def test_sigma_is_distributed_as_torchvisions():
    sigma = simclr_params().sigma
    theirs = [draw["sigma"][0] for draw in torchvision_draws(v2.GaussianBlur(23, (0.1, 2.0)), (32, 32))]
    assert_same_distribution(sigma[sigma > 0], theirs)


def test_angles_are_distributed_as_torchvisions():
    params = load_policy("weak").draw(torch.full((DRAWS, 2), 40), 32, torch.Generator().manual_seed(0))
    theirs = [draw["angle"] for draw in torchvision_draws(v2.RandomRotation(90), (32, 32))]
    assert_same_distribution(params.degrees, theirs)


def test_operations_happen_as_often_as_they_should():
    params = simclr_params()
    happened = {0.5: params.crop.flip, 0.8: params.jitter.applied, 0.2: params.grey}
    for probability, drawn in [*happened.items(), (0.5, params.sigma > 0)]:
        assert binomtest(int(drawn.sum()), DRAWS, probability).pvalue > SIGNIFICANCE


def test_parameters_are_independent_of_each_other():
    params = simclr_params()
    columns = torch.stack(
        [
            params.crop.box[:, 2].double(),
            params.crop.flip.double(),
            params.jitter.applied.double(),
            params.jitter.hue_turn.double(),
            *params.jitter.factors.double().T,
            params.grey.double(),
            params.sigma.double(),
        ]
    )
    correlation = columns.corrcoef() - torch.eye(len(columns))
    assert correlation.abs().max() < 4 / math.sqrt(DRAWS)


@pytest.mark.parametrize("policy", ["weak", "simclr"])
def test_the_generator_moves_on_by_the_same_whatever_the_images_and_the_view(policy):
    states = []
    for side, out_size in [(1, 8), (28, 32), (500, 224)]:
        generator = torch.Generator().manual_seed(0)
        load_policy(policy).draw(torch.tensor([[side, 30]] * 16), out_size, generator)
        states.append(generator.get_state())
    assert all(torch.equal(state, states[0]) for state in states)
