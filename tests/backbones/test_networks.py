"""Backbones: any timm network, weights from many kinds of files, and none that run code."""

from __future__ import annotations

import argparse
import http.server
import os
import pickle
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save, save_file
from tests.weights_hub import Hub
from torch import Tensor, nn

from selfsup.backbones import (
    Backbone,
    build_backbone,
    list_backbones,
    load_weights,
    published_backbone,
)
from selfsup.backbones.weights import pretrained_file
from selfsup.errors import UserError

#: One small network of each of several families, with a size of images that it takes.
FAMILIES = [
    ("resnet18", 32),
    ("resnet18.tv_in1k", 40),
    ("resnet50", 32),
    ("mobilenetv3_small_050", 32),
    ("efficientnet_b0", 32),
    ("convnext_atto", 32),
    ("regnetx_002", 32),
    ("densenet121", 32),
    ("vit_tiny_patch16_224", 32),
    ("deit_tiny_patch16_224", 48),
    ("mixer_s32_224", 32),
    ("test_vit", 48),
    ("test_resnet", 17),
]


# -- any timm name -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_a_network_of_any_family_gives_one_embedding_of_its_width(name: str, side: int) -> None:
    backbone = build_backbone(name, image_size=side)
    assert backbone.training
    with torch.no_grad():
        embedding = backbone(torch.rand(2, 3, side, side))
    assert embedding.shape == (2, backbone.num_features)
    assert torch.isfinite(embedding).all()
    backbone.eval()
    first, second = torch.rand(2, 1, 3, side, side)
    assert not torch.equal(backbone(first), backbone(second))


def test_images_are_normalised_as_the_network_was_trained() -> None:
    backbone = build_backbone("resnet18", image_size=32).eval()
    config = timm.create_model("resnet18").pretrained_cfg
    images = torch.rand(2, 3, 32, 32)
    by_hand = torch.stack([(images[:, c] - config["mean"][c]) / config["std"][c] for c in range(3)], dim=1)
    torch.testing.assert_close(backbone(images), backbone.network(by_hand))
    assert config["mean"] == (0.485, 0.456, 0.406)


def test_the_normalisation_is_no_part_of_the_stored_weights() -> None:
    backbone = build_backbone("test_resnet", image_size=32)
    assert {name.partition(".")[0] for name in backbone.state_dict()} == {"network"}


def test_weights_come_from_torchs_random_state() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return build_backbone("resnet18", image_size=32).network.conv1.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_an_untrained_resnet_is_more_than_subsampling() -> None:
    """timm starts residual branches at zero; torchvision, and the published SSL code, does not."""
    network = build_backbone("resnet18", image_size=32).network
    assert all((block.bn2.weight == 1).all() for block in network.layer1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet81", r"timm has no model 'resnet81' \(--backbone\)\. Near: .*resnet18.*`selfsup list backbones`"),
        ("zzzzzz", r"timm has no model 'zzzzzz' \(--backbone\)\. `selfsup list backbones` shows all names"),
        ("", r"timm has no model ''"),
        ("hf-hub:timm/resnet18", r"timm has no model 'hf-hub:timm/resnet18'"),
        (
            "resnet18.mine",
            r"no weights 'mine' for 'resnet18' \(--backbone resnet18\.mine\); known: .*resnet18\.tv_in1k",
        ),
    ],
)
def test_an_unknown_network_is_refused_with_the_nearest(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        build_backbone(name, image_size=32)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("name", "side"), [("test_vit", 40), ("halonet26t", 32), ("test_vit", 8)])
def test_a_size_that_a_network_cannot_embed_is_refused_before_any_training(name: str, side: int) -> None:
    sentence = rf"'{name}' cannot be used with --image-size {side} \(.+\); choose another size\."
    with pytest.raises(UserError, match=sentence) as refusal:
        build_backbone(name, image_size=side)
    assert "\n" not in str(refusal.value)


def test_names_are_listed_by_pattern() -> None:
    assert "resnet18" in list_backbones("resnet*")
    assert all(name.startswith("vit_") for name in list_backbones("vit_*"))
    assert len(list_backbones()) > 500
    assert list_backbones("nothing*") == []


# -- the small stem ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_the_small_stem_keeps_the_resolution_that_the_standard_one_quarters(name: str) -> None:
    def side_before_the_blocks(stem: str) -> int:
        network = build_backbone(name, image_size=32, stem=stem).network
        seen: list[int] = []
        network.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
        network(torch.rand(2, 3, 32, 32))
        return seen[0]

    assert (side_before_the_blocks("standard"), side_before_the_blocks("small")) == (8, 32)


def test_the_small_stem_is_a_3x3_convolution_without_pooling() -> None:
    network = build_backbone("resnet18", image_size=32, stem="small").network
    assert (network.conv1.kernel_size, network.conv1.stride, network.conv1.padding) == ((3, 3), (1, 1), (1, 1))
    assert network.conv1.bias is None
    assert isinstance(network.maxpool, nn.Identity)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "resnet18d"])
def test_the_small_stem_is_refused_for_networks_it_does_not_fit(name: str) -> None:
    with pytest.raises(UserError, match=f"--stem small is for networks of the ResNet family.*not '{name}'"):
        build_backbone(name, image_size=32, stem="small")


# -- weights from files ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def donor() -> nn.Module:
    """torchvision's ResNet-18, whose names are timm's, with weights of its own."""
    torch.manual_seed(77)
    network = torchvision.models.resnet18(num_classes=9)
    network(torch.rand(4, 3, 32, 32))  # running statistics that are not the initial ones
    return network.eval()


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """Embedding of normalised images, computed by torchvision."""
    body = nn.Sequential(*list(network.children())[:-1], nn.Flatten())
    return body(images)


def fresh(stem: str = "standard") -> Backbone:
    torch.manual_seed(0)
    return build_backbone("resnet18", image_size=32, stem=stem).eval()


def assert_loaded(backbone: Backbone, donor: nn.Module) -> None:
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone.network(images), features_of(donor, images), rtol=1e-4, atol=1e-5)


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


WRAPPINGS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 200, "arch": "resnet18"},
    "model": lambda state: {"model": state},
    "data parallel": lambda state: prefixed(state, "module."),
    "lightly": lambda state: {"state_dict": prefixed(state, "backbone."), "optimizer": {"lr": 0.1}},
    "moco": lambda state: {
        "state_dict": {
            **prefixed(state, "module.encoder_k."),
            **prefixed(state, "module.encoder_q."),
            "module.encoder_q.fc.0.weight": torch.zeros(512, 512),
            "module.queue": torch.zeros(128, 16),
        }
    },
    "compiled": lambda state: {"model_state_dict": prefixed(state, "_orig_mod.module.")},
    "net": lambda state: {"net": prefixed(state, "trunk."), "args": argparse.Namespace(epochs=3)},
    "average": lambda state: {
        "state_dict": {name: value * 0 for name, value in state.items()},
        "state_dict_ema": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
    },
    "teacher and student": lambda state: {
        "student": prefixed({name: value * 0 for name, value in state.items()}, "module.backbone."),
        "teacher": prefixed(state, "module.backbone."),
    },
    "three deep": lambda state: prefixed(state, "module.model.backbone."),
    "half precision": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_torch_state_dict_is_loaded_from_its_usual_wrappings(donor: nn.Module, tmp_path: Path, wrapping: str) -> None:
    torch.save(WRAPPINGS[wrapping](donor.state_dict()), tmp_path / "weights.pth")
    backbone = fresh()
    report = load_weights(backbone, tmp_path / "weights.pth")
    if wrapping == "half precision":
        torch.testing.assert_close(backbone.network.conv1.weight, donor.conv1.weight, rtol=1e-3, atol=1e-5)
        assert backbone.network.conv1.weight.dtype == torch.float32
    else:
        assert_loaded(backbone, donor)
    assert report.loaded == 120
    assert report.missing == report.mismatched == ()
    assert report.unexpected == ()


def test_it_is_said_where_in_a_file_the_network_was_found(donor: nn.Module, tmp_path: Path) -> None:
    for wrapping, place in {"bare": "", "moco": " from below 'state_dict.module.encoder_q.'"}.items():
        torch.save(WRAPPINGS[wrapping](donor.state_dict()), tmp_path / "weights.pth")
        assert str(load_weights(fresh(), tmp_path / "weights.pth")) == f"120 tensors loaded{place}"


def test_a_timm_state_dict_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(5)
    donor = timm.create_model("convnext_atto")
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    backbone = build_backbone("convnext_atto", image_size=32)
    report = load_weights(backbone, tmp_path / "weights.pt")
    assert report.loaded == len(backbone.network.state_dict())
    assert torch.equal(backbone.network.stem[0].weight, donor.stem[0].weight)


def test_safetensors_are_loaded(donor: nn.Module, tmp_path: Path) -> None:
    save_file(donor.state_dict(), tmp_path / "model.safetensors")
    backbone = fresh()
    assert load_weights(backbone, tmp_path / "model.safetensors").loaded == 120
    assert_loaded(backbone, donor)


def test_what_does_not_fit_is_reported_and_left_as_it_was(donor: nn.Module, tmp_path: Path) -> None:
    state = dict(donor.state_dict())
    state["layer4.9.extra"] = torch.zeros(3)
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "weights.pth")
    backbone = fresh(stem="small")
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    with pytest.raises(
        UserError, match=r"118 of its 120 tensors do; 1 missing \(layer1.*; name the network that they are of, or add"
    ):
        load_weights(backbone, tmp_path / "weights.pth")
    report = load_weights(backbone, tmp_path / "weights.pth", partial=True)
    assert report.mismatched == ("conv1.weight",)
    assert report.missing == ("layer1.0.conv1.weight",)
    assert report.unexpected == ("layer4.9.extra",)
    assert report.loaded == 118
    assert str(report) == (
        "118 tensors loaded; 1 missing (layer1.0.conv1.weight); 1 unexpected (layer4.9.extra); "
        "1 mismatched (conv1.weight); what is missing or mismatched starts untrained"
    )
    after = backbone.network.state_dict()
    untouched = {name for name in after if torch.equal(before[name], after[name])}
    assert {"conv1.weight", "layer1.0.conv1.weight"} <= untouched
    assert torch.equal(after["layer2.0.conv1.weight"], donor.state_dict()["layer2.0.conv1.weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "weights.pth")
    backbone = fresh()
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    sentence = r"The weights in '.*weights\.pth' do not fit resnet18: 0 of its 120 tensors do; .*name the network"
    with pytest.raises(UserError, match=sentence):
        load_weights(backbone, tmp_path / "weights.pth")
    assert all(torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items())


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("inside", [False, True], ids=["bare pickle", "in a torch file"])
def test_a_file_with_code_is_refused_and_its_code_does_not_run(tmp_path: Path, inside: bool) -> None:
    file, proof = tmp_path / "weights.pth", tmp_path / "proof"
    if inside:
        torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "extra": Payload(proof)}, file)
    else:
        file.write_bytes(pickle.dumps(Payload(proof), protocol=2))
    with pytest.raises(UserError, match=r"loads without running code \(UnpicklingError\); save the model's state_dict"):
        load_weights(fresh(), file)
    assert not proof.exists()
    # The file does what is feared of it, where a reader trusts it.
    torch.load(file, weights_only=False) if inside else pickle.loads(file.read_bytes())
    assert proof.exists()


def test_a_whole_pickled_model_is_refused(donor: nn.Module, tmp_path: Path) -> None:
    torch.save(donor, tmp_path / "model.pth")
    with pytest.raises(UserError, match="save the model's state_dict"):
        load_weights(fresh(), tmp_path / "model.pth")


@pytest.mark.parametrize("name", ["notes.pth", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"these are no weights", b"PK\x03\x04torn zip", b"\x80\x02."])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"'.*{re.escape(name)}' is not a safetensors file or a torch state dict"):
        load_weights(fresh(), tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3)])
def test_a_torch_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        load_weights(fresh(), tmp_path / "weights.pth")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for place in (tmp_path / "gone.pth", tmp_path):
        with pytest.raises(
            UserError, match=r"There is no weights file '.*'; name a file that is there, or none, auto or imagenet"
        ):
            load_weights(fresh(), place)


# -- published weights, from a hub on this machine ------------------------------------------------------


@pytest.fixture
def hub(donor: nn.Module) -> Iterator[Hub]:
    state = {name: value for name, value in donor.state_dict().items() if not name.startswith("fc.")}
    served = Hub(save({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}))
    yield served
    served.close()


def test_published_weights_come_from_the_hub_once_and_then_from_the_cache(
    hub: Hub, donor: nn.Module, hub_at: Callable[[str], None]
) -> None:
    hub_at(hub.address)

    def use() -> Tensor:
        return published_backbone("resnet18", image_size=32).network.conv1.weight

    assert torch.equal(use(), donor.conv1.weight)
    assert any(request.startswith("GET /timm/resnet18") for request in hub.requests)
    hub.close()
    hub.requests.clear()
    assert torch.equal(use(), donor.conv1.weight)
    assert hub.requests == []


REFUSAL = (
    r"The published weights of 'resnet18' are not on this machine, and the hub {}; resnet18@FILE takes them "
    r"from a file, such as model\.safetensors of timm/resnet18\.\w+ or torchvision's .*, and resnet18@none starts from "
    r"nothing\.$"
)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the hub's client was asked for, which where there is no network tries again for most of a minute."""
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repository, file: asked.append(file))
    return asked


def test_without_a_network_the_refusal_says_what_to_do_and_nothing_is_tried_again(
    hub_at: Callable[[str], None], downloads: list[str]
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as nobody:
        port = nobody.server_port
    hub_at(f"http://127.0.0.1:{port}")
    with pytest.raises(UserError, match=REFUSAL.format(r"cannot be reached \(\w+\)")) as refusal:
        published_backbone("resnet18", image_size=32)
    assert downloads == []
    assert "\n" not in str(refusal.value)


def test_a_hub_that_never_answers_is_given_up_after_seconds(
    hub_at: Callable[[str], None], downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    ask = huggingface_hub.get_hf_file_metadata

    def sooner(url: str, timeout: float) -> object:
        limits.append(timeout)
        return ask(url, timeout=timeout / 50)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", sooner)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match=REFUSAL.format(r"cannot be reached \(\w+\)")):
            published_backbone("resnet18", image_size=32)
    assert len(limits) == 1
    assert limits[0] <= 5
    assert downloads == []


def test_a_hub_that_lacks_the_file_is_the_same_refusal(hub: Hub, hub_at: Callable[[str], None]) -> None:
    hub_at(hub.address)
    hub.weights = None
    with pytest.raises(UserError, match=REFUSAL.format("answers 404")):
        published_backbone("resnet18", image_size=32)


def test_the_stem_is_replaced_after_the_published_weights_were_loaded(
    hub: Hub, hub_at: Callable[[str], None], donor: nn.Module
) -> None:
    hub_at(hub.address)
    network = published_backbone("resnet18", image_size=32, stem="small").network
    assert network.conv1.weight.shape == (64, 3, 3, 3)
    assert torch.equal(network.layer1[0].conv1.weight, donor.layer1[0].conv1.weight)


def test_a_network_without_published_weights_says_so() -> None:
    unpublished = next(name for name in timm.list_models() if not timm.list_models(f"{name}.*", pretrained=True))
    with pytest.raises(UserError, match=f"of '{unpublished}' are not on this machine, and timm publishes none; "):
        pretrained_file(unpublished)


def test_weights_of_an_unknown_network_are_not_asked_for() -> None:
    with pytest.raises(UserError, match="timm has no model 'resnet81'"):
        pretrained_file("resnet81")
