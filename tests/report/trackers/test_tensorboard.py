"""TensorBoard: what was logged, read back by its own event reader."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from tracked import CELLS, CellRecord, forget, log_to

from selfsup.record.folder import StudyFolder

reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")


TRACKER = "tensorboard"


def events(folder: StudyFolder, cell: str) -> Any:
    place = folder.path / "tracking" / "tensorboard" / cell
    accumulator = reading.EventAccumulator(str(place), size_guidance=dict.fromkeys(reading.DEFAULT_SIZE_GUIDANCE, 0))
    accumulator.Reload()
    return accumulator


def scalars(read: Any) -> dict[str, list[tuple[int, float]]]:
    return {tag: [(point.step, point.value) for point in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_curves_metrics_and_pictures_are_those_of_the_cell(logged: StudyFolder, cell: str) -> None:
    record, read = CellRecord(logged.cells / cell), events(logged, cell)
    logged = scalars(read)
    record.check_curves(logged)
    record.check_metrics({name: points[-1][1] for name, points in logged.items()})
    pictures = {tag: (image.width, image.height) for tag in read.Tags()["images"] for image in read.Images(tag)}
    assert pictures == record.pictures
    assert len(pictures) >= (0 if record.metrics["status"] == "diverged" else 2)


def test_parameters_can_be_compared_between_cells(logged: StudyFolder) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    read = events(logged, "supervised-test_resnet-weak-lr0.03-n5-s0")
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    parameters = HParamsPluginData.FromString(content).session_start_info.hparams
    assert parameters["method"].string_value == "supervised"
    assert parameters["lr"].number_value == 0.03
    assert parameters["status"].string_value == "done"
    assert parameters["study/epochs"].number_value == 3
    assert "study/workers" not in parameters  # it changes no number


def test_the_report_on_classes_is_there_as_text(folder: StudyFolder) -> None:
    log_to(TRACKER, folder)
    (text,) = events(folder, "random-test_resnet-n5-s0").Tensors("classification_report/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    for line in (folder.cells / "random-test_resnet-n5-s0" / "classification_report.csv").read_text().splitlines():
        assert f"    {line}\n" in shown


def test_a_cell_that_was_cut_short_is_logged_in_place_of_what_was_left(folder: StudyFolder) -> None:
    log_to(TRACKER, folder)
    forget(folder, TRACKER, "supervised-test_resnet-weak-lr0.03-n5-s0")
    log_to(TRACKER, folder)
    assert [
        epoch for epoch, _ in scalars(events(folder, "supervised-test_resnet-weak-lr0.03-n5-s0"))["train/loss"]
    ] == [
        1,
        2,
        3,
    ]


def test_the_folder_for_the_viewer_is_told(folder: StudyFolder) -> None:
    home = folder.path / "tracking" / TRACKER
    lines = log_to(TRACKER, folder)
    assert lines[-1].startswith("tensorboard: 3 cells logged; see them with: tensorboard --logdir ")
    assert shlex.split(lines[-1])[-1] == str(home)
