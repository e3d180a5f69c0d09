"""The one training loop: what it trains on, in what steps, and that stopping changes nothing."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from sklearn.datasets import load_digits
from tests.small_heads import SMALL_HEADS
from torch import Tensor, nn

from selfsup.backbones import Backbone
from selfsup.errors import Interrupted
from selfsup.methods import Batch, Method, MethodSettings, Progress, Step, method_class, method_names
from selfsup.methods.parts.momentum import MomentumEncoder
from selfsup.testing.backbones import tiny_backbone
from selfsup.testing.methods import batch_for, build
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware
from selfsup.training.diagnostics import effective_rank, embedding_std
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan, first_side, learning_rate
from selfsup.training.state import EpochLog, Outcome
from selfsup.views import View, ViewGroup, load_policy

TRAINED = [name for name in method_names() if method_class(name).tags.trains]
PLAN = TrainingPlan(epochs=2, batch_size=32, image_size=16, lr=0.05, seed=0)
DATA = load_digits()


class Digits:
    """The handwritten digits, 8 x 8 pixels, as the store gives them; notes which were asked for."""

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(DATA.images * 15).byte().unsqueeze(1).expand(-1, 3, -1, -1)
        self.asked: list[list[int]] = []

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        self.asked.append(indices.tolist())
        return self.pixels[indices], torch.full((len(indices), 2), 8)


class Watched(Method):
    """Moves its one weight by the learning rate in every step, and notes what it is given.

    The gradient of its loss is 1 everywhere, so that the weight tells the sum of the learning rates.
    """

    views = 2

    def __init__(self, backbone: Backbone, settings: Any = None, **sizes: int) -> None:
        super().__init__(backbone, settings or MethodSettings(optimizer_momentum=0, weight_decay=0), **sizes)
        backbone.requires_grad_(False)
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[list[Tensor], Tensor]] = []
        self.losses: list[float] = []
        self.embedding_stds: list[float] = []
        self.embeddings: list[Tensor] = []
        self.dtypes: list[torch.dtype] = []
        self.modes: list[bool] = []
        self.progress: list[float] = []

    def view_groups(self) -> tuple[ViewGroup, ...]:
        return (ViewGroup("global", self.views),)

    def loss(self, batch: Batch) -> Step:
        views = batch.views["global"]
        embedding = self.backbone(views[0])
        self.seen.append(([view.clone() for view in views], batch.labels))
        self.dtypes.append(embedding.dtype)
        self.modes.append(self.training)
        self.losses.append(self.weight.item() + embedding.float().mean().item())
        self.embedding_stds.append(embedding_std(embedding).item())
        self.embeddings.append(embedding)
        return Step(self.weight.sum() + embedding.float().mean(), embedding)

    def after_step(self, progress: Progress) -> None:
        self.progress.append(progress.share)


class Pixels(nn.Module):
    """A backbone without weights: the mean of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) * torch.tensor([1.0, -1.0, 0.5])


def watched(settings: MethodSettings | None = None) -> Watched:
    return Watched(Backbone(Pixels(), 3, (0.0,) * 3, (1.0,) * 3, image_size=16), settings)


def run(
    method: Method,
    plan: TrainingPlan = PLAN,
    *,
    images: int | np.ndarray = 96,
    callbacks: Callbacks | None = None,
    source: Digits | None = None,
    augmentation: str = "weak",
    precision: str = "fp32",
) -> Outcome:
    indices = np.arange(images) if isinstance(images, int) else images
    fabric = Hardware("cpu", precision).fabric()
    policy = load_policy(augmentation)
    return Training(method, source or Digits(), indices, DATA.target[indices], policy, plan, fabric, callbacks).run()


def built(name: str, **options: Any) -> Method:
    """A method on a tiny network, with small heads."""
    return build(method_class(name), **{**SMALL_HEADS.get(name, {}), **options})


def numbers(outcome: Outcome) -> list[dict[str, float | None]]:
    """All of the log that does not measure time."""
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in asdict(line).items() if k not in timed} for line in outcome.state.log]


def assert_same_state(first: Method, second: Method) -> None:
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


# -- interruption ------------------------------------------------------------------------------------


class Interrupting(Callbacks):
    """Stops after some number of steps; its checkpoint goes through a file's bytes."""

    def __init__(self, after: int | None = None, checkpoint: bytes | None = None) -> None:
        self.after, self.checkpoint, self.steps = after, checkpoint, 0

    def load_checkpoint(self) -> dict[str, Any] | None:
        if self.checkpoint is None:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(self.checkpoint), map_location="cpu", weights_only=True)
        return state

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        content = io.BytesIO()
        torch.save(state, content)
        self.checkpoint = content.getvalue()

    def should_stop(self) -> bool:
        self.steps += 1
        return self.steps == self.after


def interrupted_and_resumed(
    make: Callable[[int], Method], plan: TrainingPlan, *stops: int, precision: str = "fp32"
) -> tuple[Method, Outcome]:
    """Train in several processes' worth of pieces; each starts with weights of its own, to be overwritten."""
    checkpoint = None
    for piece, stop in enumerate(stops):
        callbacks = Interrupting(stop, checkpoint)
        with pytest.raises(Interrupted):
            run(make(piece), plan, callbacks=callbacks, precision=precision)
        checkpoint = callbacks.checkpoint
        assert checkpoint is not None
    method = make(99)
    return method, run(method, plan, callbacks=Interrupting(None, checkpoint), precision=precision)


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_stopped_after_every_step_ends_as_if_it_never_was(name: str) -> None:
    whole = built(name)
    expected = run(whole)
    steps = PLAN.epochs * PLAN.steps_per_epoch(96)
    assert steps == 6
    method, outcome = interrupted_and_resumed(lambda piece: built(name, seed=piece), PLAN, *[1] * steps)
    assert numbers(outcome) == numbers(expected)
    assert outcome.status == "done"
    assert_same_state(method, whole)


def with_dropout(piece: int, **settings: Any) -> Method:
    torch.manual_seed(piece)
    backbone = tiny_backbone()
    backbone.network.insert(3, nn.Dropout(0.3))
    cls = method_class("supervised")
    return cls(backbone, cls.Settings(**settings), num_classes=10, num_images=96)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lars"])
def test_the_optimizers_memory_and_dropout_survive_two_stops(optimizer: str) -> None:
    plan = replace(PLAN, epochs=3, schedule="cosine", warmup_epochs=1)
    whole = with_dropout(0, optimizer=optimizer)
    expected = run(whole, plan)
    method, outcome = interrupted_and_resumed(lambda piece: with_dropout(piece, optimizer=optimizer), plan, 2, 3)
    assert numbers(outcome) == numbers(expected)
    assert_same_state(method, whole)


def test_a_training_in_bf16_survives_a_stop() -> None:
    cls = method_class("moco")
    whole = build(cls)
    expected = run(whole, precision="bf16")
    method, outcome = interrupted_and_resumed(lambda piece: build(cls, seed=piece), PLAN, 4, precision="bf16")
    assert numbers(outcome) == numbers(expected)
    assert_same_state(method, whole)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lars"])
def test_gradients_are_clipped_under_fp16_as_without(optimizer: str) -> None:
    """By their own norm, not by that of what the scaler of fp16 makes of them."""
    weights = []
    for precision in (Precision(), MixedPrecision("16-mixed", "cpu")):
        method = watched(MethodSettings(optimizer=optimizer, clip=0.25))
        fabric = Fabric(accelerator="cpu", devices=1, plugins=[precision])
        Training(method, Digits(), np.arange(96), DATA.target[:96], load_policy("weak"), PLAN, fabric).run()
        weights.append(method.weight.item())
    assert weights[0] < 0
    assert weights[1] == pytest.approx(weights[0], rel=1e-5)


class Careful(Interrupting):
    """Asks for a checkpoint after every step."""

    def checkpoint_due(self) -> bool:
        return True


def test_checkpoints_by_themselves_change_nothing_and_the_last_one_is_of_the_end() -> None:
    cls = method_class("moco")
    plain, careful = build(cls), build(cls)
    callbacks = Careful()
    assert numbers(run(careful, callbacks=callbacks)) == numbers(run(plain))
    assert_same_state(careful, plain)
    resumed = build(cls, seed=1)
    run(resumed, callbacks=Interrupting(None, callbacks.checkpoint))
    assert_same_state(resumed, plain)


def test_a_resumed_training_asks_only_for_the_images_that_were_left() -> None:
    whole, first, second = Digits(), Digits(), Digits()
    run(watched(), source=whole)
    callbacks = Interrupting(4)
    with pytest.raises(Interrupted):
        run(watched(), source=first, callbacks=callbacks)
    run(watched(), source=second, callbacks=Interrupting(None, callbacks.checkpoint))
    assert first.asked + second.asked == whole.asked
    assert len(first.asked) == 4


# -- randomness --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(name: str) -> None:
    first, same, other = built(name), built(name), built(name)
    expected = numbers(run(first))
    torch.manual_seed(123)  # whatever was drawn before
    assert numbers(run(same)) == expected
    assert_same_state(same, first)
    assert numbers(run(other, replace(PLAN, seed=1))) != expected


def test_two_learning_rates_see_the_same_views_in_the_same_order() -> None:
    slow, fast = watched(), watched()
    run(slow, replace(PLAN, lr=1e-4))
    run(fast, replace(PLAN, lr=10.0))
    assert len(slow.seen) == 6
    for (ours, our_labels), (theirs, their_labels) in zip(slow.seen, fast.seen, strict=True):
        assert all(map(torch.equal, ours, theirs))
        assert torch.equal(our_labels, their_labels)


def test_two_methods_see_the_same_first_view() -> None:
    both, one = watched(), watched()
    one.views = 1
    run(both)
    run(one)
    assert all(torch.equal(a[0][0], b[0][0]) for a, b in zip(both.seen, one.seen, strict=True))


def test_views_differ_between_each_other_between_steps_and_between_seeds() -> None:
    """Every image is the same, so that only the drawing of the views can tell them apart."""
    same = np.full(64, 5)
    method, other = watched(), watched()
    run(method, images=same)
    run(other, replace(PLAN, seed=5), images=same)
    drawn = [view for steps in (method.seen, other.seen) for views, _ in steps for view in views]
    assert len(drawn) == 2 * 4 * 2
    means = {tuple(view.mean(dim=(1, 2, 3)).tolist()) for view in drawn}
    assert len(means) == len(drawn)


# -- batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [
        (96, 32, [32, 32, 32]),
        (97, 32, [25, 24, 24, 24]),
        (33, 32, [17, 16]),
        (20, 32, [20]),
        (32, 32, [32]),
        (10, 4, [4, 3, 3]),
    ],
)
def test_every_image_comes_once_per_epoch_in_equal_batches(images: int, batch_size: int, sizes: list[int]) -> None:
    source = Digits()
    chosen = np.arange(images) * 7 + 3
    plan = replace(PLAN, batch_size=batch_size, epochs=3)
    run(watched(), plan, images=chosen, source=source)
    steps = plan.steps_per_epoch(images)
    assert steps == len(sizes)
    assert [len(batch) for batch in source.asked] == sizes * 3
    epochs = [list(chain(*source.asked[e * steps : (e + 1) * steps])) for e in range(3)]
    assert all(sorted(epoch) == chosen.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert tuple(epochs[0]) != tuple(chosen)


@pytest.mark.parametrize(("min_steps", "passes"), [(0, 1), (6, 1), (7, 2), (12, 2), (13, 3)])
def test_an_epoch_of_few_images_passes_over_them_until_there_are_steps_enough(min_steps: int, passes: int) -> None:
    """Of 20 images in batches of 10, three epochs are 6 steps; every pass has an order of its own."""
    source, chosen = Digits(), np.arange(20)
    outcome = run(watched(), replace(PLAN, batch_size=10, epochs=3, min_steps=min_steps), images=chosen, source=source)
    assert [line.epoch for line in outcome.state.log] == [1, 2, 3]
    assert outcome.state.step == len(source.asked) == 6 * passes >= min_steps
    orders = [tuple(np.concatenate(source.asked[start : start + 2])) for start in range(0, len(source.asked), 2)]
    assert all(sorted(order) == chosen.tolist() for order in orders)
    assert len(set(orders)) == 3 * passes


@pytest.mark.parametrize(("min_steps", "epochs"), [(1000, 100), (7, 3), (6, 3), (0, 3)])
def test_few_images_are_those_that_an_epoch_passes_over_several_times(min_steps: int, epochs: int) -> None:
    plan = replace(PLAN, batch_size=10, epochs=epochs, min_steps=min_steps)
    assert plan.passes(plan.few_images + 1) == 1
    assert plan.few_images == 0 or plan.passes(plan.few_images) > 1


def test_a_first_pass_is_that_of_a_training_without_more() -> None:
    """Whose order of images a study without --min-steps keeps."""
    one, more = Digits(), Digits()
    run(watched(), replace(PLAN, batch_size=10, epochs=1), images=20, source=one)
    run(watched(), replace(PLAN, batch_size=10, epochs=1, min_steps=5), images=20, source=more)
    assert [list(rows) for rows in more.asked[:2]] == [list(rows) for rows in one.asked]


def test_labels_belong_to_their_images() -> None:
    method, source = watched(), Digits()
    run(method, source=source)
    for asked, (_, labels) in zip(source.asked, method.seen, strict=True):
        assert labels.tolist() == DATA.target[asked].tolist()
        assert labels.dtype == torch.int64


def test_without_labels_every_label_is_minus_one() -> None:
    method = watched()
    fabric = Hardware("cpu", "fp32").fabric()
    Training(method, Digits(), np.arange(40), None, load_policy("weak"), PLAN, fabric).run()
    assert set(torch.cat([labels for _, labels in method.seen]).tolist()) == {-1}


def test_views_have_the_plans_size_and_are_images_in_zero_to_one() -> None:
    method = watched()
    run(method, replace(PLAN, image_size=24), augmentation="simclr")
    for views, _ in method.seen:
        for view in views:
            assert view.shape[1:] == (3, 24, 24)
            assert view.dtype == torch.float32
            assert view.min() >= 0
            assert view.max() <= 1


def test_the_views_are_those_of_the_policy() -> None:
    method, source = watched(), Digits()
    run(method, replace(PLAN, image_size=8), source=source, augmentation="none")
    for asked, (views, _) in zip(source.asked, method.seen, strict=True):
        torch.testing.assert_close(views[0], source.pixels[asked].float() / 255, atol=1e-5, rtol=0)


# -- steps -------------------------------------------------------------------------------------------


def test_the_method_is_told_its_share_of_the_training_after_every_step() -> None:
    method = watched()
    run(method)
    assert method.progress == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert method.progress[-1] == 1


def test_a_method_given_in_evaluation_mode_is_trained_in_training_mode() -> None:
    method = watched()
    method.eval()
    run(method)
    assert method.modes == [True] * 6


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_network_computes_in_the_precision_that_was_chosen(precision: str, dtype: torch.dtype) -> None:
    method = Watched(tiny_backbone())
    run(method, precision=precision)
    # A convolution is where autocast acts; pooling keeps its type.
    assert set(method.dtypes) == {dtype}
    assert all(p.dtype == torch.float32 for p in method.parameters())


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("warmup_epochs", [0, 1, 0.5])
def test_every_step_is_as_long_as_the_schedule_says(schedule: str, warmup_epochs: float) -> None:
    method = watched()
    plan = replace(PLAN, epochs=4, schedule=schedule, warmup_epochs=warmup_epochs, lr=0.3)
    run(method, plan)
    warmup, total = warmup_epochs * 3, 12
    rates = []
    for step in range(total):
        after = (step - warmup) / (total - warmup)
        decayed = 0.3 * 0.5 * (1 + math.cos(math.pi * after)) if schedule == "cosine" else 0.3
        rates.append(0.3 * min(1, (step + 1) / warmup) if step < warmup else decayed)
    assert method.weight.item() == pytest.approx(-sum(rates), rel=1e-5)


# -- log ---------------------------------------------------------------------------------------------


class Listening(Callbacks):
    def __init__(self) -> None:
        self.lines: list[tuple[EpochLog, int]] = []

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
        self.lines.append((log, epochs))


def test_the_log_holds_the_means_of_each_epoch_and_is_told_as_it_grows() -> None:
    method, callbacks = watched(), Listening()
    outcome = run(method, callbacks=callbacks)
    log = outcome.state.log
    assert outcome.status == "done"
    assert callbacks.lines == [(line, 2) for line in log]
    assert [line.epoch for line in log] == [1, 2]
    for line, steps in zip(log, (slice(0, 3), slice(3, 6)), strict=True):
        assert line.loss == pytest.approx(np.mean(method.losses[steps]), abs=1e-6)
        assert line.embedding_std == pytest.approx(np.mean(method.embedding_stds[steps]), rel=1e-5)
        assert line.effective_rank == effective_rank(method.embeddings[steps][-1])
        assert (line.positive_similarity, line.negative_similarity, line.momentum) == (None, None, None)
        assert line.knn_accuracy is None
        assert line.seconds > 0
        assert line.images_per_second == pytest.approx(96 / line.seconds)
    assert outcome.state.seconds == pytest.approx(sum(line.seconds for line in log))
    # The learning rate of the epoch's last step: 3 and 6 of 6, counted from 0.
    assert [line.lr for line in log] == pytest.approx([0.05 * (1 + math.cos(math.pi * k / 6)) / 2 for k in (2, 5)])


@pytest.mark.parametrize("name", TRAINED)
def test_an_absurd_learning_rate_ends_as_diverged_in_the_epoch_where_it_happened(name: str) -> None:
    method = built(name, optimizer="sgd")
    outcome = run(method, replace(PLAN, epochs=5, lr=1e30))
    assert outcome.status == "diverged"
    assert len(outcome.state.log) < 5
    assert not math.isfinite(outcome.state.log[-1].loss)
    assert all(math.isfinite(line.loss) for line in outcome.state.log[:-1])


def test_a_loss_that_explodes_without_becoming_infinite_ends_as_diverged_in_that_epoch() -> None:
    outcome = run(built("supervised", optimizer="sgd"), replace(PLAN, epochs=5, lr=300.0))
    *before, last = (line.loss for line in outcome.state.log)
    assert outcome.status == "diverged"
    assert outcome.state.first_loss == pytest.approx(math.log(10), rel=0.5)  # about guessing
    assert 100 * outcome.state.first_loss < last < math.inf
    assert all(loss < 100 * outcome.state.first_loss for loss in before)


@pytest.mark.parametrize("name", TRAINED)
def test_some_epochs_of_training_lower_the_loss_of_real_images(name: str) -> None:
    """On the digits, views drawn anew in every step; against the same training with a rate of zero."""
    plan = replace(PLAN, epochs=6)
    learnt, unlearnt = built(name), built(name)
    last = run(learnt, plan, images=256).state.log[-1].loss
    assert last < run(unlearnt, replace(plan, lr=1e-12), images=256).state.log[-1].loss


class Paired(Watched):
    """Compares what it sees in the two views, as a contrastive method would, and has a slow copy."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.positives: list[float] = []
        self.negatives: list[float] = []

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        views = batch.views["global"]
        pair = views[0].flatten(1) - 0.1, views[1].flatten(1) - 0.1
        cosines = [[cosine(a, b) for b in pair[1]] for a in pair[0]]
        self.positives.append(np.diagonal(cosines).mean())
        self.negatives.append(np.mean([row[j] for i, row in enumerate(cosines) for j in range(len(row)) if i != j]))
        return Step(loss, embedding, pair)

    def momentum(self, progress: Progress) -> float:
        return progress.share / 2


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / a.double().norm() / b.double().norm())


def test_the_log_holds_the_similarities_of_a_method_that_compares_views_and_its_momentum() -> None:
    method = Paired(Backbone(Pixels(), 3, (0.0,) * 3, (1.0,) * 3, image_size=16))
    log = run(method, images=24, plan=replace(PLAN, batch_size=8)).state.log
    for line, steps in zip(log, (slice(0, 3), slice(3, 6)), strict=True):
        assert line.positive_similarity == pytest.approx(np.mean(method.positives[steps]), abs=1e-6)
        assert line.negative_similarity == pytest.approx(np.mean(method.negatives[steps]), abs=1e-6)
        assert line.positive_similarity > line.negative_similarity
    assert [line.momentum for line in log] == [0.25, 0.5]


@pytest.mark.parametrize("name", TRAINED)
def test_real_methods_log_what_they_have(name: str) -> None:
    method = built(name)
    log = run(method).state.log[-1]
    assert 1 <= log.effective_rank <= 24
    compares_views = sum(group.count for group in method.view_groups()) > 1 or method.tags.needs_teacher
    assert (log.positive_similarity is not None) == (log.negative_similarity is not None) == compares_views
    if compares_views:
        assert log.positive_similarity > log.negative_similarity
    assert (log.momentum is not None) == any(isinstance(module, MomentumEncoder) for module in method.modules())
    assert set(log.scalars) == set(method.loss(batch_for(method)).scalars)


class Judging(Callbacks):
    """Judges the backbone in the second epoch of three, and notes its weights."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
        self.asked.append(epoch)
        if epoch != 2:
            return None
        backbone.eval()
        torch.manual_seed(99)
        with torch.no_grad():
            score = backbone(torch.rand(8, 3, 16, 16)).mean().item()
        backbone.train()
        return score


def test_an_epochs_backbone_can_be_judged_and_the_training_goes_on_as_if_it_was_not() -> None:
    cls, plan, callbacks = method_class("simclr"), replace(PLAN, epochs=3), Judging()
    judged, left = build(cls), build(cls)
    scored = run(judged, plan, callbacks=callbacks)
    plain = run(left, plan)
    assert callbacks.asked == [1, 2, 3]
    assert [line.knn_accuracy is None for line in scored.state.log] == [True, False, True]
    assert [line.loss for line in scored.state.log] == [line.loss for line in plain.state.log]
    assert_same_state(judged, left)


class DueAtTheEnd(Interrupting):
    """Wants a checkpoint once all epochs are told, and stops nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
        self.ended = log.epoch == epochs

    def checkpoint_due(self) -> bool:
        return self.ended


def test_a_finished_training_can_be_kept_and_is_not_repeated() -> None:
    cls, callbacks = method_class("simclr"), DueAtTheEnd()
    whole = build(cls)
    expected = run(whole, callbacks=callbacks)
    again, source = build(cls, seed=1), Digits()
    outcome = run(again, source=source, callbacks=Interrupting(None, callbacks.checkpoint))
    assert source.asked == []
    assert outcome.status == "done"
    assert numbers(outcome) == numbers(expected)
    assert_same_state(again, whole)


# -- learning rate -----------------------------------------------------------------------------------


def rates(plan: TrainingPlan, steps_per_epoch: int = 4) -> list[float]:
    total = plan.epochs * steps_per_epoch
    return [learning_rate(plan, step, steps_per_epoch, total) for step in range(total)]


def test_a_constant_schedule_is_constant() -> None:
    assert rates(replace(PLAN, schedule="constant", epochs=3)) == [0.05] * 12


def test_the_cosine_begins_at_the_rate_is_half_in_the_middle_and_falls_to_almost_nothing() -> None:
    values = rates(replace(PLAN, epochs=25, lr=0.8))
    assert values[0] == 0.8
    assert values[50] == pytest.approx(0.4)
    assert values[-1] == pytest.approx(0.8 * (1 + math.cos(math.pi * 99 / 100)) / 2)
    assert 0 < values[-1] < 0.001
    assert values == sorted(values, reverse=True)


def test_warm_up_rises_in_equal_steps_to_the_rate_and_the_cosine_follows() -> None:
    values = rates(replace(PLAN, epochs=10, lr=0.8, warmup_epochs=2))
    assert values[:8] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert values[8] == 0.8
    assert values[24] == pytest.approx(0.4)  # half of the 32 steps that are left
    assert max(values) == 0.8


def test_a_warm_up_longer_than_the_training_never_exceeds_the_rate() -> None:
    values = rates(replace(PLAN, epochs=2, lr=1.0, warmup_epochs=4))
    assert values == pytest.approx([k / 16 for k in range(1, 9)])


@pytest.mark.parametrize("warmup_epochs", [0.1, 0.3, 0.375])
def test_a_warm_up_that_ends_within_a_step_never_exceeds_the_rate(warmup_epochs: float) -> None:
    values = rates(replace(PLAN, epochs=3, lr=1.0, warmup_epochs=warmup_epochs))
    assert max(values) == 1.0
    assert values[math.ceil(warmup_epochs * 4) - 1] == 1.0


# -- optimizers --------------------------------------------------------------------------------------


# -- views that grow, and the early stop ---------------------------------------------------------------


def test_views_grow_in_steps_of_eight_to_their_size_in_two_thirds_of_the_epochs() -> None:
    plan = replace(PLAN, epochs=12, image_size=32, grow_from=0.5)
    assert plan.sides == [16] * 4 + [24] * 4 + [32] * 4
    assert replace(plan, grow_from=1.0).sides == [32] * 12
    assert replace(plan, image_size=100).sides[0] == 52
    assert replace(plan, image_size=8, grow_from=0.1).sides == [8] * 12


@pytest.mark.parametrize("grow_from", ["0.3", "0.5", "0.6", "0.7", "0.75", "0.8", "0.9"])
@pytest.mark.parametrize("step", [8, 14, 16])
def test_the_first_side_is_that_of_exact_arithmetic(grow_from: str, step: int) -> None:
    for size in range(32, 225, 16):
        steps = math.floor((1 - Fraction(grow_from)) * size / step)
        assert first_side(size, float(grow_from), step) == max(step, size - steps * step)


@pytest.mark.parametrize("epochs", [1, 2, 3, 25])
@pytest.mark.parametrize("grow_from", [0.01, 0.3, 0.99, 1.0])
def test_views_never_shrink_and_end_at_their_size(epochs: int, grow_from: float) -> None:
    sides = replace(PLAN, epochs=epochs, image_size=60, grow_from=grow_from).sides
    assert sides == sorted(sides)
    assert sides[0] >= 8
    assert sides[-1] == 60


class Sizes:
    """A policy that notes the sides that it is asked for."""

    def __init__(self) -> None:
        self.sides: list[int] = []

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View) -> Any:
        self.sides.append(out_size)
        return load_policy("none").draw(sizes, out_size, generator)

    def apply(self, images: Tensor, sizes: Tensor, params: Any, out_size: int) -> Tensor:
        return load_policy("none").apply(images, sizes, params, out_size)


def test_the_loop_makes_views_of_the_sides_in_the_plan() -> None:
    plan, policy, indices = replace(PLAN, epochs=3, image_size=16, grow_from=0.5), Sizes(), np.arange(32)
    fabric = Hardware("cpu", "fp32").fabric()
    Training(watched(), Digits(), indices, None, policy, plan, fabric).run()  # type: ignore[arg-type]
    per_epoch = len(policy.sides) // 3
    assert policy.sides == [side for side in plan.sides for _ in range(per_epoch)]


class Scored(Interrupting):
    """The online kNN's scores are given."""

    def __init__(self, scores: list[float | None], after: int | None = None, checkpoint: bytes | None = None) -> None:
        super().__init__(after, checkpoint)
        self.scores, self.told = scores, list[int]()

    def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
        return self.scores[epoch - 1] if epoch <= len(self.scores) else 0.0

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
        self.told.append(epochs)


STOPPING = replace(PLAN, epochs=20, schedule="constant", lr=0.4, patience=2)
LEVEL = [0.1, 0.5, None, 0.5, 0.4]


def test_a_training_whose_knn_has_levelled_off_decays_for_a_tenth_of_the_epochs_and_ends() -> None:
    callbacks = Scored(LEVEL)
    outcome = run(watched(), STOPPING, images=64, callbacks=callbacks)
    assert outcome.status == "done"
    assert [line.lr for line in outcome.state.log] == pytest.approx([0.4] * 5 + [0.3, 0.1])
    assert callbacks.told == [20] * 4 + [7] * 3


def test_a_training_that_gets_better_goes_on_to_its_last_epoch() -> None:
    rising: list[float | None] = [epoch / 20 for epoch in range(20)]
    assert len(run(watched(), STOPPING, images=32, callbacks=Scored(rising)).state.log) == 20
    assert len(run(watched(), replace(STOPPING, patience=0), images=32, callbacks=Scored(LEVEL)).state.log) == 20


def test_a_decay_ends_with_the_planned_epochs_at_the_latest() -> None:
    assert len(run(watched(), replace(STOPPING, epochs=5), images=32, callbacks=Scored(LEVEL)).state.log) == 5


def test_scores_count_from_the_first_views_of_full_size_on() -> None:
    resizing = replace(STOPPING, grow_from=0.5)  # 16 px from the 14th epoch (from 0) on
    scores: list[float | None] = [0.5] * 20
    assert len(run(watched(), resizing, images=32, callbacks=Scored(scores)).state.log) == 15 + 2 + 2


@pytest.mark.parametrize("stop", [3, 9, 10, 11, 12, 13, 14])
def test_a_training_stopped_before_or_in_its_decay_ends_as_if_it_never_was(stop: int) -> None:
    cls = method_class("byol")
    whole = build(cls)
    expected = run(whole, STOPPING, images=64, callbacks=Scored(LEVEL))
    first = Scored(LEVEL, stop)
    with pytest.raises(Interrupted):
        run(build(cls), STOPPING, images=64, callbacks=first)
    resumed = build(cls, seed=2)
    outcome = run(resumed, STOPPING, images=64, callbacks=Scored(LEVEL, None, first.checkpoint))
    assert numbers(outcome) == numbers(expected)
    assert_same_state(resumed, whole)


@pytest.mark.parametrize(
    ("images", "batch_size", "steps"), [(1, 2, 1), (2, 2, 1), (3, 2, 1), (5, 2, 2), (9, 4, 3), (8, 4, 2)]
)
def test_no_batch_is_of_one_image_where_there_are_two(images: int, batch_size: int, steps: int) -> None:
    assert TrainingPlan(1, batch_size, 32, lr=0.1, seed=0).steps_per_epoch(images) == steps
