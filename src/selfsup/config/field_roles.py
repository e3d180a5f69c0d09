"""How a field of the configuration is declared: its help, and its role when a study is continued.

The roles:

``axis``
    an axis of the grid; may grow from one run to the next
``plugins``
    files with implementations from outside; more may come, and none may change
``identity``
    changes the numbers; must stay as it was when the study began
``place``
    where the images lie; free to change, for the study knows its images by their contents
``contents``
    changes only which cells are finished, or what is kept beside the numbers; stays until a command names
    another value, because a command that leaves it out must not remove, or leave unfinished, what an
    earlier one asked to keep
``runtime``
    changes only how the work is done; holds for one command and is not part of the study
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Role = Literal["axis", "plugins", "identity", "place", "contents", "runtime"]


class Options(BaseModel):
    """What a user can set."""

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``epochs = true``, which to Python is 1."""
        if isinstance(value, bool) and not _takes_truth(cls.model_fields[str(info.field_name)].annotation):
            raise PydanticCustomError("truth", "true and false are no numbers")
        return value


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_truth, get_args(annotation)))


class Fields(Options):
    """Fields of the configuration that belong together. Their names are option names with ``_`` for ``-``."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def field(default: Any, help: str, role: Role, **constraints: Any) -> Any:
    """A field with its help and role; `constraints` are pydantic's."""
    return Field(default, description=help, json_schema_extra={"role": role}, **constraints)
