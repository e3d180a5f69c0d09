"""Going on with a study: what must stay, and what may grow."""

from __future__ import annotations

import pytest

from selfsup.config.continuation import differences, extend, narrow
from selfsup.config.validation import validate
from selfsup.errors import UserError

STORED = validate({"methods": "simclr,moco", "lrs": "0.1", "per_class": "5,all", "seeds": 2, "epochs": 10})
OTHER = {
    "epochs": 20,
    "batch_size": 64,
    "precision": "bf16",
    "settings": {"moco": {"momentum": 0.5}},
}


@pytest.mark.parametrize("name", OTHER)
def test_a_value_that_changes_the_numbers_is_reported_with_old_and_new(name: str) -> None:
    old, new = getattr(STORED, name), OTHER[name]
    wanted = differences(STORED, {name: new})
    if old == "auto":
        assert wanted == [f"{name}: 'auto' in the study, {new!r} now"]
    else:
        shown = "not set" if old is None else repr(old)
        assert wanted == [f"{name}: {shown} in the study, {new!r} now"]


def test_only_what_was_asked_for_is_compared() -> None:
    assert differences(STORED, {}) == []
    assert differences(STORED, {"epochs": 10, "methods": "byol", "lrs": 3, "workers": 7, "keep": "all"}) == []
    assert len(differences(STORED, OTHER)) == len(OTHER)


def test_auto_and_unset_agree_with_whatever_the_study_resolved_them_to() -> None:
    resolved = STORED.model_copy(update={"device": "cpu", "precision": "bf16", "threads": 3, "store_size": 256})
    assert differences(resolved, {"device": "auto", "precision": "auto", "threads": None, "store_size": None}) == []
    assert differences(resolved, {"threads": 4}) == ["threads: 3 in the study, 4 now"]


def test_values_are_compared_as_they_are_understood() -> None:
    assert differences(STORED, {"epochs": "10", "val_fraction": "0.1"}) == []


def test_a_wrong_value_is_refused_before_it_is_compared() -> None:
    with pytest.raises(UserError, match="--epochs = 0"):
        differences(STORED, {"epochs": 0})
    with pytest.raises(UserError, match="--lrs"):
        extend(STORED, {"lrs": "-1"})


def test_plug_ins_are_added_and_one_that_has_changed_is_reported() -> None:
    stored = STORED.model_copy(update={"plugin": ("a.py@1", "b.py@2")})
    assert differences(stored, {"plugin": ["c.py@3", "b.py@2"]}) == []
    assert extend(stored, {"plugin": ["c.py@3", "b.py@2"]}).plugin == ("a.py@1", "b.py@2", "c.py@3")
    assert differences(stored, {"plugin": ["b.py@4"]}) == ["plugin: b.py has changed since"]


def test_axes_grow_and_never_shrink() -> None:
    grown = extend(STORED, {"methods": "byol,moco", "lrs": "1,0.1", "per_class": "20", "seeds": 1})
    assert grown.methods == ("simclr", "moco", "byol")
    assert grown.lrs == (0.1, 1.0)
    assert grown.per_class == (5, "all", 20)
    assert grown.seeds == 2
    assert extend(STORED, {"seeds": 5}).seeds == 5


def test_what_holds_for_one_command_is_not_handed_on_to_the_next() -> None:
    once = extend(STORED, {"workers": 3, "checkpoint_seconds": 5, "data_root": "here"})
    assert once == STORED.model_copy(update={"workers": 3, "checkpoint_seconds": 5.0, "data_root": "here"})
    assert extend(once, {}) == STORED


def test_the_weights_to_keep_are_as_they_were_until_they_are_named_again() -> None:
    everything = extend(STORED, {"keep": "all"})
    assert extend(everything, {"workers": 2}).keep == "all"
    assert extend(everything, {"keep": "none"}).keep == "none"


def test_what_determines_the_numbers_stays() -> None:
    assert extend(STORED, {"epochs": 99, "device": "cuda"}) == STORED
    assert extend(STORED, {}) == STORED


def test_the_images_may_lie_elsewhere_when_a_study_goes_on() -> None:
    assert differences(STORED, {"data": "elsewhere"}) == []
    assert extend(STORED, {"data": "elsewhere"}) == STORED.model_copy(update={"data": "elsewhere"})


def test_another_metric_is_free_and_stays_until_it_is_named_again() -> None:
    assert differences(STORED, {"metric": "auroc", "margin": 0.01}) == []
    assert extend(STORED, {"metric": "auroc"}).metric == "auroc"
    assert extend(extend(STORED, {"metric": "auroc"}), {}).metric == "auroc"


def test_an_external_test_may_lie_elsewhere_but_neither_come_nor_go() -> None:
    assert differences(STORED, {"test_data": "there"}) == ["test_data: not set in the study, and set now"]
    with_test = validate({"test_data": "there"})
    assert differences(with_test, {"methods": "moco"}) == []
    assert differences(with_test, {"test_data": "moved"}) == []
    assert extend(with_test, {"test_data": "moved"}).test_data == "moved"


def test_shares_of_classes_do_not_mix_with_numbers_in_one_study() -> None:
    assert differences(STORED, {"per_class": "10%,all"}) == [
        "per_class: numbers in the study, shares of each class now"
    ]
    assert differences(STORED, {"per_class": "all"}) == []
    of_shares = validate({"per_class": "10%"})
    assert differences(of_shares, {"per_class": "5"}) == ["per_class: shares of each class in the study, numbers now"]
    assert extend(of_shares, {"per_class": "1%,all"}).per_class == ("10%", "1%", "all")


def test_multiples_do_not_mix_with_numbers_in_one_study() -> None:
    assert differences(STORED, {"lrs": "1x,3x"}) == [
        "lrs: numbers in the study, multiples of the methods' own rates now"
    ]
    assert differences(STORED, {"lrs": "0.3"}) == []
    assert extend(validate({"lrs": "1x"}), {"lrs": "3x"}).lrs == ("1x", "3x")


@pytest.mark.parametrize("field", ["backbones", "references"])
def test_weights_that_lie_elsewhere_are_those_that_the_study_knows(field: str) -> None:
    stored = validate({"references": "none", field: "test_resnet@/first/w.pt"})
    elsewhere = {field: "test_resnet@/moved/w.pt,test_vit@/moved/w.pt"}
    grown = extend(stored, elsewhere)
    assert getattr(grown, field) == ("test_resnet@/first/w.pt", "test_vit@/moved/w.pt")
    assert getattr(narrow(grown, elsewhere), field) == getattr(grown, field)
    assert getattr(narrow(grown, {field: "test_resnet@/moved/w.pt"}), field) == ("test_resnet@/first/w.pt",)


def test_what_would_not_be_read_again_is_refused() -> None:
    stored = validate({"backbones": "resnet18.a1_in1k@/first/w.pt"})
    with pytest.raises(UserError, match="must differ in more than a folder"):
        extend(stored, {"backbones": "resnet18.tv_in1k@/moved/w.pt"})


def test_settings_are_compared_for_the_methods_that_the_study_has() -> None:
    stored = validate({"methods": "simclr", "settings": {"simclr": {"temperature": 0.2}, "byol": {"momentum": 0.9}}})
    joined = {"methods": "moco", "settings": {"moco": {"temperature": 0.3}, "simclr": {"temperature": 0.2}}}
    assert differences(stored, joined) == []
    assert extend(stored, joined).settings == {**stored.settings, "moco": {"temperature": 0.3}}
    assert differences(stored, {"settings": {"moco": {"temperature": 0.3}}}) == []
    changed = {"methods": "moco", "settings": {**joined["settings"], "simclr": {"temperature": 0.5}}}
    assert differences(stored, changed) == [
        "settings: {'simclr': {'temperature': 0.2}} in the study, {'simclr': {'temperature': 0.5}} now"
    ]


def test_a_table_of_groups_may_lie_elsewhere_and_an_expression_stays() -> None:
    stored = validate({"group": "first/groups.csv"})
    assert differences(stored, {"group": "moved/groups.csv"}) == []
    assert extend(stored, {"group": "moved/groups.csv"}).group == "moved/groups.csv"
    assert differences(stored, {"group": "(.*)_"}) == ["group: 'first/groups.csv' in the study, '(.*)_' now"]


def test_a_study_of_one_gpu_goes_on_with_another() -> None:
    stored = validate({"device": "cuda"})
    assert differences(stored, {"device": "cuda:1"}) == []
    assert extend(stored, {"device": "cuda:1"}).device == "cuda:1"
    assert extend(stored, {"device": "auto"}).device == "cuda"
    assert differences(stored, {"device": "cpu"}) == ["device: 'cuda' in the study, 'cpu' now"]
