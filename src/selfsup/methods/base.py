"""What a method is: heads on a backbone, a loss over views, and what it does around each step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from selfsup.backbones import Backbone
from selfsup.config.field_roles import Options
from selfsup.config.grid import Tags
from selfsup.methods.parts.recipe import OptimizerName, Recipe
from selfsup.views import ViewGroup

#: Parameters of more than one axis that are no weights, by the ends of their names: positions and special tokens.
UNDECAYED = (
    "pos_embed",
    "relative_position_bias_table",
    "cls_token",
    "reg_token",
    "dist_token",
    "mask_token",
    "attn_pool.latent",
)
#: The most that settings take: of a layer's width; of a queue's images, or prototypes; of views, layers, rounds. More,
#: a multiple of what papers have, is a slip, and would end in want of memory after the images were read.
WIDEST, MANY, FEW = 16_384, 2**20, 100
#: The width of a layer, as a setting.
Width = Annotated[int, Field(ge=1, le=WIDEST)]


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}), {self.title}, {self.url}"


class MethodSettings(Options):
    """Hyper-parameters of a method; each method adds its own. What is None is as in its recipe; numbers are finite.

    Attributes
    ----------
    optimizer : {"sgd", "adam", "adamw", "lars"}
    optimizer_momentum : float
        Momentum of the optimizer (sgd and lars), in [0, 1).
    weight_decay : float
        At least 0, constant.
    clip : float
        Greatest norm of the gradient, above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: OptimizerName | None = None
    optimizer_momentum: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0)
    clip: float | None = Field(None, gt=0)

    def over(self, recipe: Recipe) -> Recipe:
        """The recipe with what is set here."""
        named = {"optimizer": self.optimizer, "momentum": self.optimizer_momentum, "clip": self.clip}
        changed = replace(recipe, **{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
        if self.weight_decay is None:
            return changed
        return replace(changed, weight_decay=self.weight_decay, final_weight_decay=None)


class Progress(NamedTuple):
    """How far a training is.

    Attributes
    ----------
    step : int
        Steps done.
    steps : int
        Steps of the whole training, as planned.
    steps_per_epoch : int
    """

    step: int
    steps: int
    steps_per_epoch: int

    @property
    def share(self) -> float:
        """Share of the training done, in [0, 1]."""
        return self.step / self.steps

    @property
    def epoch(self) -> float:
        """Epochs done, parts of one included."""
        return self.step / self.steps_per_epoch


class Batch(NamedTuple):
    """What a method sees of n images in one step.

    Attributes
    ----------
    views : mapping of str to list of Tensor
        By group of views, ``count`` tensors of shape (n, channels, side, side), float32 in [0, 1].
    labels : Tensor
        Shape (n,), int64; -1 where a label is unknown. Of images that may have several, which ones: bool, of shape
        (n, num_classes). Read only if ``tags.uses_labels``.
    progress : Progress
        Before this step.
    masks : mapping of str to list of Tensor
        By group that has a mask, a bool tensor of shape (n, patches) for each view; true where hidden.
    places : Tensor
        Shape (n,), int64: which of the training images these are.
    """

    views: Mapping[str, Sequence[Tensor]]
    labels: Tensor
    progress: Progress
    masks: Mapping[str, Sequence[Tensor]]
    places: Tensor


class Step(NamedTuple):
    """What one batch gives.

    Attributes
    ----------
    loss : Tensor
        Scalar, float32.
    embedding : Tensor
        The encoder's output for the batch, shape (rows, num_features), one view of every image first; watched
        for collapse.
    pair : tuple of two Tensor, optional
        What the loss brings together: row i of both, shape (n, d), belongs to image i; watched for
        how similar views of one image, and of different images, are.
    scalars : mapping of str to Tensor
        Further numbers, each a scalar; their means over an epoch stand in the training log under these names.
    """

    loss: Tensor
    embedding: Tensor
    pair: tuple[Tensor, Tensor] | None = None
    scalars: Mapping[str, Tensor] = {}


class ParameterGroup(NamedTuple):
    """Parameters that are optimised alike.

    Attributes
    ----------
    parameters : list of Parameter
    decays : bool
        Whether they take the recipe's weight decay (and LARS' adaptation).
    constant_lr : bool
        Whether their learning rate stays where the schedule begins.
    """

    parameters: list[nn.Parameter]
    decays: bool = True
    constant_lr: bool = False


class Method(nn.Module):
    """Base of every method. All state lives in ``state_dict``.

    Parameters
    ----------
    backbone : Backbone
        The network under study, trained in place; its width is ``backbone.num_features``.
    settings : MethodSettings
        An instance of the method's own ``Settings``.
    num_classes : int
        Number of classes; 0 where there are no labels.
    num_images : int
        Number of training images, which queues and prototypes are sized by; 0 where it is unknown.
    teacher : Tensor, optional
        Only of methods with ``tags.needs_teacher``: shape (num_images, d), unit length, what the teacher makes of each
        training image as it is; absent where there is nothing to be trained.

    Attributes
    ----------
    paper : Paper
    cost : float or None
        Operations of a step by those of SimCLR's, forward and backward: of its default settings on a ResNet-18 in views
        of 64 px; where it needs tokens, of both on a ViT-tiny of patches of 16. None where nobody has counted.
    tags : Tags
        What the grid and the checks must know of the method.
    recipe, transformer_recipe : Recipe
        How it is optimised; for transformers the second, where there is one.
    """

    paper: ClassVar[Paper]
    cost: ClassVar[float | None] = None
    tags: ClassVar[Tags] = Tags()
    recipe: ClassVar[Recipe] = Recipe(lr=0.06)
    transformer_recipe: ClassVar[Recipe | None] = None
    Settings: ClassVar[type[MethodSettings]] = MethodSettings

    def __init_subclass__(cls) -> None:
        """Refuse what is read before a method is built, where it is something else."""
        for name, kind in (("tags", Tags), ("recipe", Recipe)):
            if not isinstance(getattr(cls, name), kind):
                raise TypeError(f"'{name}' of {cls.__name__} must be {kind.__name__}(...)")
        if not (isinstance(cls.Settings, type) and issubclass(cls.Settings, MethodSettings)):
            raise TypeError(f"'Settings' of {cls.__name__} must be a subclass of MethodSettings")

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.settings = settings

    @classmethod
    def recipe_for(cls, backbone: Backbone) -> Recipe:
        """The recipe for a kind of network."""
        return cls.transformer_recipe if backbone.is_transformer and cls.transformer_recipe else cls.recipe

    def view_groups(self) -> Sequence[ViewGroup]:
        """Groups of views of each image that :meth:`loss` wants; two views of the cell's augmentation by default."""
        return (ViewGroup("global", 2),)

    def loss(self, batch: Batch) -> Step:
        """Loss of one batch."""
        raise NotImplementedError

    @property
    def encoder(self) -> Backbone:
        """The network that is evaluated, watched and published."""
        return self.backbone

    def parameter_groups(self) -> list[ParameterGroup]:
        """What the optimizer is to change; biases, norms and other vectors take no weight decay."""
        return without_decay_of_vectors(self.named_parameters(), self.backbone.undecayed)

    def momentum(self, progress: Progress) -> float | None:
        """Momentum of the momentum encoder, after the step just taken; None where there is none."""
        return None

    def after_backward(self, progress: Progress) -> None:
        """Change the gradients, or drop some: called between the backward pass and the optimizer's step.

        Parameters
        ----------
        progress : Progress
            Before this step.
        """

    def after_step(self, progress: Progress) -> None:
        """Update what the optimizer does not: called after every optimizer step.

        Parameters
        ----------
        progress : Progress
            This step included.
        """


def without_decay_of_vectors(
    named: Iterable[tuple[str, nn.Parameter]], undecayed: Sequence[str] = (), **options: bool
) -> list[ParameterGroup]:
    """Parameters that take a gradient, in two groups: matrices and filters, which decay, and all else.

    Parameters
    ----------
    named : iterable of (str, Parameter)
    undecayed : sequence of str
        Ends of the names of further ones that do not decay, such as ``backbone.undecayed``.
    **options
        Further fields of both groups.
    """
    taking = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    ends = (*UNDECAYED, *undecayed)
    vectors = {name for name, parameter in taking if _is_vector(name, parameter) or name.endswith(ends)}
    groups = [
        ParameterGroup([parameter for name, parameter in taking if (name in vectors) != decays], decays, **options)
        for decays in (True, False)
    ]
    return [group for group in groups if group.parameters]


def _is_vector(name: str, parameter: nn.Parameter) -> bool:
    """Also of shape (channels, 1, 1), as scales of layers; not a layer's weights of one input or output."""
    return parameter.ndim <= 1 or (parameter.squeeze().ndim <= 1 and not name.endswith("weight"))
