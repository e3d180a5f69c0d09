"""Where the weights of a study's networks and references come from, and what is said where they cannot be had."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from tests.weights_hub import Hub

import selfsup
from selfsup.backbones import build_backbone, describe_normalisation, weights_file
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.execution.configuration import resolve_configuration
from selfsup.execution.initial_weights import prepare_weights, require_weights, resolve_networks
from selfsup.execution.preparation import prepare_images
from selfsup.execution.study_networks import network_of
from selfsup.record.folder import StudyFolder

pytestmark = pytest.mark.usefixtures("without_pictures")

SMALL = {"methods": "random", "image_size": 32, "executor": "inline", "threads": 1, "per_class": "5"}


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Twelve digits of each of three classes: to embed all of them at a reference's size would take long."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(3):
        folder = tmp_path / "few" / str(label)
        folder.mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:12]):
            Image.fromarray((image * 15).astype("uint8")).save(folder / f"{number}.png")
    return tmp_path / "few"


def config_of(**options: object) -> StudyConfig:
    return validate({"references": "none", "image_size": 32, **options})


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that has the weights of one small network."""
    torch.manual_seed(3)
    state = build_backbone("test_resnet", image_size=32).network.state_dict()
    served = Hub(save({**state, "fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}))
    served.known = "/timm/test_resnet.r160_in1k/"
    yield served
    served.close()


def save_weights(path: Path, name: str = "test_resnet", seed: int = 7) -> Path:
    torch.manual_seed(seed)
    path.write_bytes(weights_file(build_backbone(name, image_size=32)))
    return path


def test_where_published_weights_cannot_be_had_auto_is_none_and_that_is_said() -> None:
    said: list[str] = []
    found = resolve_networks(config_of(backbones="test_resnet,test_vit@none"), said.append)
    assert found.backbones == ("test_resnet@none", "test_vit@none")
    assert len(said) == 1
    assert said[0].startswith("Published weights are not on this machine, and this machine is told to stay offline (")
    assert ": test_resnet starts from nothing. A trained network often wins: --backbones test_resnet@FILE" in said[0]


def test_references_that_cannot_be_had_are_left_out_in_one_line_and_the_others_stay(tmp_path: Path) -> None:
    file = save_weights(tmp_path / "mine.safetensors")
    said: list[str] = []
    asked = f"resnet50.tv_in1k,test_resnet@{file},tf_efficientnet_lite0.in1k"
    found = resolve_networks(config_of(backbones="test_vit@none", references=asked), said.append)
    assert found.references == (f"test_resnet@{file}",)
    assert len(said) == 1
    assert ": not compared with resnet50.tv_in1k and tf_efficientnet_lite0.in1k. A trained network" in said[0]


def test_what_earlier_runs_were_without_is_not_said_again(few: Path, tmp_path: Path) -> None:
    options = {**SMALL, "backbone": "test_resnet", "per_class": "2"}
    folder = selfsup.compare(few, out=tmp_path / "study", references="resnet50.tv_in1k", **options).folder
    said: list[str] = []
    config = config_of(backbones="test_resnet@none", references="resnet50.tv_in1k,tf_efficientnet_lite0.in1k")
    assert resolve_networks(config, said.append, folder).references == ()
    assert [line for line in said if "resnet50" in line] == []
    assert ": not compared with tf_efficientnet_lite0.in1k. A trained network" in said[0]


def test_networks_without_weights_share_a_line_for_each_reason() -> None:
    said: list[str] = []
    config = config_of(backbones="test_vit,botnet50ts_256,test_resnet", references="resnet50.tv_in1k")
    resolve_networks(config, said.append)
    offline, unpublished = said
    assert ": test_vit and test_resnet start from nothing; not compared with resnet50.tv_in1k." in offline
    assert "and timm publishes none: botnet50ts_256 starts from nothing." in unpublished


def test_a_reference_that_timm_has_not_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"timm has no model 'nosuchnet' \(--references\)"):
        selfsup.compare("digits", out=tmp_path / "study", **SMALL, references="nosuchnet")
    assert not (tmp_path / "study").exists()


def test_a_network_that_nobody_publishes_is_said_to_be_so() -> None:
    said: list[str] = []
    resolve_networks(config_of(backbones="botnet50ts_256"), said.append)
    assert "timm publishes none" in said[0]


@pytest.mark.parametrize("name", ["test_resnet.safetensors", "model.safetensors", "test_resnet.r160_in1k.safetensors"])
def test_a_folder_stands_for_the_file_in_it_that_has_the_networks_name(tmp_path: Path, name: str) -> None:
    save_weights(tmp_path / name)
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = config_of(backbones="test_vit@none", references=f"test_resnet.r160_in1k@{tmp_path}")
    prepare_weights(folder, resolve_networks(config, print), print)
    (kept,) = (folder.path / "initial_weights" / "references").iterdir()
    given = load_file(tmp_path / name)
    assert all(torch.equal(value, given[key]) for key, value in load_file(kept).items())


@pytest.mark.parametrize("field", ["backbones", "references"])
def test_a_folder_or_file_without_them_is_refused_before_anything_runs(tmp_path: Path, field: str) -> None:
    def require(weights: Path) -> None:
        require_weights(config_of(**{"backbones": "test_vit@none", field: f"test_resnet@{weights}"}), None, lambda: 3)

    with pytest.raises(UserError, match=r"has no weights of 'test_resnet' \(such as test_resnet.safetensors"):
        require(tmp_path)
    with pytest.raises(UserError, match="There is no weights file"):
        require(tmp_path / "w.pth")


UNFIT = r"w.safetensors' do not fit test_vit: 0 of its 78 tensors do"


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"backbones": "test_vit@w.safetensors"}, UNFIT),
        ({"references": "test_vit@w.safetensors"}, UNFIT),
        ({"methods": "distill", "settings": {"distill": {"teacher": "test_vit@w.safetensors"}}}, UNFIT),
        ({"backbones": "test_vit@imagenet"}, r"The published weights of 'test_vit' are not on this machine, and this"),
    ],
    ids=["backbone", "reference", "teacher", "published"],
)
def test_weights_that_do_not_fit_or_cannot_be_had_are_refused_before_any_image_is_decoded(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], refusal: str
) -> None:
    save_weights(tmp_path / "w.safetensors")
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    decoded: list[tuple[int, int]] = []
    config = config_of(data=str(few), **{"backbones": "test_vit@none", **asked})
    with pytest.raises(UserError, match=refusal):
        prepare_images(folder, config, print, lambda *done: decoded.append(done))
    assert decoded == []
    assert not (folder.path / "audit.csv").exists()


def test_weights_for_the_channels_of_the_images_fit_before_these_are_decoded(tmp_path: Path) -> None:
    file = tmp_path / "five.safetensors"
    file.write_bytes(weights_file(build_backbone("test_resnet", image_size=32, in_channels=5)))
    for number in range(6):
        (tmp_path / "bands").mkdir(exist_ok=True)
        np.save(tmp_path / "bands" / f"{number}.npy", np.full((32, 32, 5), number, np.uint8))
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = config_of(data=str(tmp_path / "bands"), unlabelled=True, backbones=f"test_resnet@{file}")
    assert prepare_images(folder, config, print).channels == 5


def test_a_reference_has_its_own_size_and_a_backbone_that_of_the_study(tmp_path: Path) -> None:
    file = save_weights(tmp_path / "w.safetensors")
    config = config_of(backbones=f"test_resnet@{file}", references=f"test_resnet@{file}")
    assert network_of(config, "frozen", "test_resnet@w").image_size == 32
    assert network_of(config, "random", "test_resnet").image_size == 32
    assert network_of(config, "reference", "test_resnet@w").image_size == 160
    with pytest.raises(UserError, match="The study has no network 'resnet18'"):
        network_of(config, "frozen", "resnet18")


def test_a_reference_is_embedded_once_for_all_sizes_and_seeds_and_stands_in_every_table(
    few: Path, tmp_path: Path
) -> None:
    file = save_weights(tmp_path / "w.safetensors")
    study = selfsup.compare(
        few, out=tmp_path / "study", **{**SMALL, "per_class": "2,5", "seeds": 2, "batch_size": 64},
        backbone="test_resnet", weights="none", references=f"test_resnet@{file}",
    )  # fmt: skip
    results = study.results
    mine = results[results.method == "reference"]
    assert set(mine.backbone) == {"test_resnet@w"}
    assert set(zip(mine.per_class, mine.seed, strict=True)) == {("2", 0), ("5", 0), ("2", 1), ("5", 1)}
    assert set(mine.status) == {"done"}
    assert study.load_backbone("reference-test_resnet@w-n5-s1").image_size == 160
    assert "test_resnet@w" in study.report().read_text()


def test_backbones_are_extended_and_what_auto_came_to_stays(few: Path, tmp_path: Path) -> None:
    options = {**SMALL, "references": "none"}
    first = selfsup.compare(few, out=tmp_path / "study", backbone="test_resnet", **options)
    before = first.results.set_index("cell").test_accuracy
    file = save_weights(tmp_path / "w.safetensors", "test_vit")
    grown = selfsup.compare(few, out=tmp_path / "study", backbones=f"test_resnet,test_vit@{file}", **options)
    assert grown.config.backbones == ("test_resnet@none", f"test_vit@{file}")
    assert set(grown.results.backbone) == {"test_resnet", "test_vit"}
    assert grown.results.set_index("cell").test_accuracy[before.index].equals(before)


def test_what_a_study_keeps_is_not_looked_for_again(few: Path, tmp_path: Path) -> None:
    """The file is gone, and the hub is not asked."""
    file = save_weights(tmp_path / "w.safetensors")
    options = {**SMALL, "backbone": f"test_resnet@{file}", "references": f"test_resnet@{file}"}
    begun = selfsup.compare(few, out=tmp_path / "study", **options).results
    file.unlink()
    again = selfsup.compare(few, out=tmp_path / "study", **options | {"per_class": "2"})
    assert len(again.results) == 2 * len(begun)
    assert set(again.results.status) == {"done"}


def test_layers_that_the_weights_leave_untrained_are_the_same_in_every_study_and_are_said(
    hub: Hub, hub_at: Callable[[str], None], tmp_path: Path
) -> None:
    """A first layer for small images, which neither the file nor the published weights have."""
    torch.manual_seed(3)
    state = build_backbone("resnet18", image_size=32).network.state_dict()
    hub.weights = save({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})
    hub.known = "/timm/resnet18.a1_in1k/"
    hub_at(hub.address)
    file = save_weights(tmp_path / "w.safetensors", "resnet18")
    config = config_of(backbones=f"resnet18@{file},resnet18@imagenet", stem="small")
    said: list[str] = []
    kept = []
    for study in ("first", "second"):
        folder = StudyFolder(tmp_path / study)
        folder.create()
        global_state = torch.manual_seed(len(study)).get_state()
        prepare_weights(folder, config, said.append)
        assert torch.equal(torch.get_rng_state(), global_state)
        kept.append([load_file(folder.initial_weights(label)) for label in ("resnet18@w", "resnet18@imagenet")])
    for first, second in zip(*kept, strict=True):
        assert first["conv1.weight"].shape == (64, 3, 3, 3)
        assert all(torch.equal(first[name], second[name]) for name in first)
    of_file, published = said[:2]
    assert "; 1 mismatched (conv1.weight); what is missing or mismatched starts untrained. " in of_file
    assert published.endswith("of resnet18; its first layer, that of --stem small, starts untrained.")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18", "as for resnet18.a1_in1k (mean 0.485/0.456/0.406, std 0.229/0.224/0.225)."),
        (
            "vit_small_patch16_224",
            "as for vit_small_patch16_224.augreg_in21k_ft_in1k (mean 0.5, std 0.5); weights that want it otherwise are "
            "named as vit_small_patch16_224.dino@FILE.",
        ),
        ("vit_small_patch16_224.dino", "as for vit_small_patch16_224.dino (mean 0.485/0.456/0.406, std 0.2"),
    ],
)
def test_it_is_said_how_images_are_normalised_for_a_file_and_how_else_they_may_be(name: str, said: str) -> None:
    assert describe_normalisation(name).startswith(f" Images are normalised {said}")


def test_a_transformer_that_is_trained_and_a_reference_too_has_each_its_own_position_embedding(tmp_path: Path) -> None:
    file = save_weights(tmp_path / "w.safetensors", "test_vit")
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = config_of(backbones=f"test_vit@{file}", references=f"test_vit@{file}")
    prepare_weights(folder, resolve_networks(config, print), print)
    trained, reference = (load_file(folder.initial_weights("test_vit@w", reference=own)) for own in (False, True))
    own = build_backbone("test_vit").network.state_dict()["pos_embed"].shape
    assert trained["pos_embed"].shape == load_file(file)["pos_embed"].shape != own
    assert reference["pos_embed"].shape == own


def test_weights_of_a_hub_are_those_that_are_judged(
    hub: Hub, hub_at: Callable[[str], None], few: Path, tmp_path: Path
) -> None:
    hub_at(hub.address)
    networks = {"backbones": "test_resnet@auto", "references": "test_resnet,resnet50.tv_in1k"}
    rows = selfsup.compare(few, out=tmp_path / "study", **networks, **SMALL).results
    assert set(zip(rows.method, rows.backbone, strict=True)) == {
        ("random", "test_resnet"),
        ("reference", "test_resnet@imagenet"),
    }
    kept = load_file(tmp_path / "study" / "initial_weights" / "references" / "test_resnet@imagenet.safetensors")
    torch.manual_seed(3)
    expected = build_backbone("test_resnet", image_size=32).network.state_dict()
    assert torch.equal(kept["conv1.0.weight"], expected["conv1.0.weight"])


def test_a_gated_network_is_left_out_with_what_would_bring_it(hub: Hub, hub_at) -> None:  # type: ignore[no-untyped-def]
    hub_at(hub.address)
    hub.gated = True
    said: list[str] = []
    config = config_of(backbones="test_vit@none", references="vit_small_patch16_dinov3.lvd1689m")
    assert resolve_networks(config, said.append).references == ()
    assert f"its licence is to be accepted at {hub.address}/timm/vit_small_patch16_dinov3.lvd1689m" in said[0]


def test_only_the_short_form_or_the_long_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--backbone is the short form of --backbones, and both are given"):
        selfsup.compare("digits", out=tmp_path / "s", backbone="test_resnet", backbones="test_vit", **SMALL)


def test_the_method_of_references_cannot_be_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--methods reference is what --references"):
        selfsup.compare("digits", out=tmp_path / "s", **{**SMALL, "methods": "random,reference"})


@pytest.fixture
def weights() -> Path:
    """Real weights of a small network, where they are at hand."""
    folder = Path(__file__).parents[3] / "shared" / "weights"
    if not (folder / "tf_efficientnet_lite0.safetensors").is_file():
        pytest.skip(f"no weights of tf_efficientnet_lite0 in {folder}")
    return folder


def test_a_real_network_tells_photographs_apart(weights: Path, tmp_path: Path) -> None:
    """Crops of two photographs that scikit-learn has, of which one label each is known."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    for name in ("china", "flower"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        picture = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for place in range(8):
            left, top = 60 * place, 30 * place
            picture.crop((left, top, left + 128, top + 128)).save(tmp_path / "photos" / name / f"{place}.png")
    study = selfsup.compare(
        tmp_path / "photos", out=tmp_path / "study", backbone="test_resnet", weights="none",
        references=f"tf_efficientnet_lite0@{weights}", **{**SMALL, "per_class": "all"},
    )  # fmt: skip
    found = study.results.set_index("method").test_accuracy
    assert found["reference"] == 1.0


@pytest.mark.parametrize("field", ["backbones", "references"])
def test_a_file_that_lies_elsewhere_goes_on_with_a_study_if_its_weights_are_the_same(
    tmp_path: Path, field: str
) -> None:
    for name, seed in (("first", 7), ("moved", 7), ("other", 8)):
        (tmp_path / name).mkdir()
        save_weights(tmp_path / name / "w.safetensors", seed=seed)

    def asked(name: str) -> dict[str, Any]:
        network = f"test_resnet@{tmp_path / name / 'w.safetensors'}"
        return {"methods": "simclr", "backbones": "test_vit@none", "image_size": 32, field: network}

    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = config_of(**asked("first"))
    prepare_weights(folder, config, print)
    folder.write_config(config)
    assert getattr(resolve_configuration(folder, asked("moved")), field) == getattr(config, field)
    with pytest.raises(UserError, match=r"w.safetensors' holds other weights than '.*give the file another name"):
        resolve_configuration(folder, asked("other"))
    save_weights(tmp_path / "first" / "w.safetensors", seed=8)  # as if it were trained on
    os.utime(tmp_path / "first" / "w.safetensors", (time.time() + 60,) * 2)
    with pytest.raises(UserError, match=r"w.safetensors' holds other weights than when the study was begun"):
        resolve_configuration(folder, asked("first"))
