"""What `auto` and `all` stand for among the methods, by the study's networks and the number of its images."""

from __future__ import annotations

from collections.abc import Callable

from selfsup.config.field_types import no_repeats
from selfsup.config.grid_fields import ALL
from selfsup.config.network_source import AUTO
from selfsup.config.schema import StudyConfig
from selfsup.execution.configuration import fitting_methods
from selfsup.execution.study_networks import asked_networks
from selfsup.methods import method_class, method_names, read_settings

#: Methods that learn without labels and are compared by default, by the tables of docs/methods.md; at most five. With
#: convolutions the best by contrast, by correlation and with small crops; with transformers the best on either data
#: set, the second on both, `dino`, which was made for them, and the cheapest.
FOR_CONVOLUTIONS = ("simclr", "vicreg", "lejepa")
FOR_TRANSFORMERS = ("simclr", "moco-v3", "lejepa", "dino", "mae")
#: What they are held against.
BASELINES = ("supervised", "frozen", "random")
#: Images below which those with prototypes are left out, of which few images fill few.
FEW, OF_MANY = 500, {"dino"}


def resolve_methods(config: StudyConfig, images: int, say: Callable[[str], None]) -> StudyConfig:
    """The configuration with ``auto`` and ``all`` resolved for its networks and so many images, which is said."""
    if not {AUTO, ALL} & {*config.methods}:
        return config
    # Masked methods, which need them, tell that all networks are transformers.
    well_tried = FOR_TRANSFORMERS if fitting_methods(config, ["mae"]) else FOR_CONVOLUTIONS
    fitting = fitting_methods(config, method_names() if ALL in config.methods else well_tried)
    methods: list[str] = []
    for word in config.methods:
        found = (
            _every(config, fitting)
            if word == ALL
            else _default(well_tried, fitting, images)
            if word == AUTO
            else [word]
        )
        methods += found
        if word == ALL:
            known = [name for name in method_names() if not method_class(name).tags.of_references]
            left_out = ", ".join(_why_not(config, name, fitting) for name in known if name not in found)
            say("All methods that fit" + f", and so without {left_out}" * bool(left_out) + ".")
        elif word == AUTO:
            kind = "transformers" if well_tried == FOR_TRANSFORMERS else "such networks"
            names = f"{', '.join(found)}; --methods names others, or all"
            say(f"Methods that did well with {kind}, for {images:,} images: {names}.")
    return config.model_copy(update={"methods": no_repeats(tuple(methods))})


def _default(well_tried: tuple[str, ...], fitting: list[str], images: int) -> list[str]:
    """What is compared by default."""
    chosen = [name for name in well_tried if name in fitting and (images >= FEW or name not in OF_MANY)]
    return [*chosen, *BASELINES]


def _every(config: StudyConfig, fitting: list[str]) -> list[str]:
    """All but references, which are named elsewhere, and what would learn from a teacher that is not named."""
    return [name for name in fitting if not method_class(name).tags.of_references and _has_teacher(config, name)]


def _why_not(config: StudyConfig, name: str, fitting: list[str]) -> str:
    """The method and what it lacks."""
    lacks = f"--set {name}.teacher=NAME" if name in fitting else "other networks, see `selfsup list methods`"
    if method_class(name).tags.needs_tokens and any(b.patch_size is None for b in asked_networks(config).values()):
        lacks = "a vision transformer"
    return f"{name} (needs {lacks})"


def _has_teacher(config: StudyConfig, name: str) -> bool:
    settings = read_settings(name, config.settings.get(name, {}))
    return not method_class(name).tags.needs_teacher or getattr(settings, "teacher", None) is not None
