"""A plan and a run make the same of a command, and refuse the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import selfsup
from selfsup.backbones import build_backbone, weights_file
from selfsup.errors import UserError
from selfsup.execution.estimate import plan_study

ASKED: dict[str, Any] = {
    "data": "digits", "methods": "random", "references": "none", "backbones": "test_resnet@none", "image_size": 32,
    "per_class": "5", "device": "cpu", "precision": "fp32",
}  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        {"backbones": "test_resnet@{file}"},
        {"backbones": "test_resnet@imagenet"},
        {"references": "test_resnet@{file}"},
        {"methods": "distill", "settings": {"distill": {"teacher": "test_resnet@{file}"}}},
        {"show_channels": (2,), "channels": (1,)},
        {"methods": "mae"},
    ],
    ids=["weights", "published", "reference", "teacher", "channels", "network"],
)
def test_what_a_run_refuses_a_plan_refuses_in_the_same_words(tmp_path: Path, asked: dict[str, Any]) -> None:
    """Among others, weights of another network: a file of test_vit for test_resnet."""
    file = tmp_path / "other.safetensors"
    file.write_bytes(weights_file(build_backbone("test_vit", image_size=32)))

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        return value.format(file=file) if isinstance(value, str) else value

    values = filled({**ASKED, **asked})
    refusals = []
    for command in (plan_study, lambda values: selfsup.compare(out=tmp_path / "study", executor="inline", **values)):
        with pytest.raises(UserError) as refused:
            command(values)
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]
