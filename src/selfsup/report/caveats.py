"""What a study does not show: said in words, so that nobody reads it into the numbers."""

from __future__ import annotations

import pandas as pd

from selfsup.config.axes import format_lr
from selfsup.execution.words import listed
from selfsup.record.reading import ANEW
from selfsup.report.findings import Answer, Choice
from selfsup.report.recorded import RecordedStudy
from selfsup.report.selection import candidate_names
from selfsup.report.wording import points, shared_seeds

#: Seeds from which on the spread between trainings is known well enough to be of use.
ENOUGH_SEEDS = 3
#: Test images, or groups of them, below which no interval is narrow; and seeds, where each divides the images anew.
FEW_UNITS, FEW_SPLITS = 20, 5


def caveats(study: RecordedStudy, found: Answer) -> list[str]:
    """What a reader might take from the answer and should not, one sentence each."""
    best = found.best
    if best is None:
        return []
    sentences = []
    if not found.labelled:
        sentences.append(
            "Without labels there is no accuracy: effective rank says how many directions the embeddings use, "
            "and follows their usefulness only loosely. Label a few images per class to know."
        )
    sentences += [unreadable] if (unreadable := unreadable_cells(found)) else []
    sentences += _rivals(study, found, best)
    if best.seeds == 1:
        sentences.append("One seed: how much the result changes from one training to the next was not measured.")
    elif found.labelled and best.seeds < ENOUGH_SEEDS and not study.resplits_test:
        sentences.append(
            f"{best.seeds} seeds say little of how much results change from one training to the next, so the "
            f"intervals are wide; {ENOUGH_SEEDS} or more say much more."
        )
    if any(shared_seeds(c) for c in (*found.comparisons, *found.pairwise)):
        sentences.append(
            "Methods have different numbers of seeds: a score is the mean over all that a method has, a difference "
            "over those that both have."
        )
    sentences += [wide] if (wide := _wide_intervals(study, best)) else []
    sentences += _at_the_edge(study.results, best)
    sentences += _without_attention(study)
    sentences += _left_out(study)
    sentences += _stopped_early(study)
    missing = [name for name in candidate_names(study.results).values() if name not in found.names]
    if missing:
        sentences.append(f"No cell of {listed(missing)} finished well.")
    return sentences


def unreadable_cells(found: Answer) -> str:
    """Which cells' settings intervals and tests leave out for want of files, and what to do; empty if none."""
    if not found.unreadable:
        return ""
    return (
        f"What {listed(list(found.unreadable))} predicted is missing or damaged, so intervals and tests leave their "
        f"settings out; to mend that, {ANEW}."
    )


def _wide_intervals(study: RecordedStudy, best: Choice) -> str:
    """Of what there is too little for narrow intervals, and what narrows them; empty where neither is so."""
    if best.interval is None:
        return ""
    few = [f"{best.interval.units} {study.test_units}"] if best.interval.units < FEW_UNITS else []
    more = f"more {study.test_units} narrow them"
    if study.resplits_test and best.interval.seeds > 1:
        more = f"more seeds or {more}"
        few += [f"{best.interval.seeds} seeds"] if best.interval.seeds < FEW_SPLITS else []
    elif not study.test_given:
        more += ", and so does --resplit with several seeds"
    return f"Intervals are wide because they rest on {listed(few)}: {more}." if few else ""


def _rivals(study: RecordedStudy, found: Answer, best: Choice) -> list[str]:
    """Methods that the best one was not shown to differ from, or not compared with."""
    sentences = []
    at_the_top = [c for c in (*found.not_beaten, *found.close) if round(c.other.test_score or 0.0, 3) >= 1]
    if found.not_beaten:
        where = f"with {best.size}" if found.shown_gains else "at all"
        worse = [c.other.name for c in found.not_beaten if c.verdict == "worse"]
        alike = [c.other.name for c in found.not_beaten if c.verdict != "worse"]
        found_out = [f"was shown to do worse than {listed(worse)}"] if worse else []
        found_out += [f"was not shown to do better than {listed(alike)}"] if alike else []
        sentence = f"That training helps {where}: {best.name} {' and '.join(found_out)}, without training."
        changes = " More epochs, more images or other learning rates may change that."
        sentences.append(sentence + changes * (not at_the_top))
    if unknown := [c.other.name for c in found.close if not c.within]:
        nor = f", nor to be within {points(found.margin)}" if found.margin else ""
        sentences.append(f"{best.name} was not shown to differ from {listed(unknown)}{nor}.")
    if at_the_top:
        untrained = [c.other.name for c in at_the_top if not c.other.trains]
        who = f"{listed(untrained)}, without training," if untrained else listed([c.other.name for c in at_the_top])
        sentences.append(
            f"Nothing is left to gain on these test images, on which {who} "
            f"{'reaches' if len(untrained or at_the_top) == 1 else 'reach'} 1.000: harder ones, or fewer "
            f"{study.size_unit}, may tell methods apart."
        )
    if found.labelled and found.ties:
        others = listed([choice.name for choice in found.ties])
        sentences.append(
            f"{others} {'has' if len(found.ties) == 1 else 'have'} exactly the validation {found.metric.words} of "
            f"{best.name}, which is named because it comes first."
        )
    if found.labelled and (untested := _untested(found, best)):
        why = "what was predicted cannot be read" if found.unreadable else "no finished cell to pair with"
        sentences.append(f"{best.name} was not tested against {listed(untested)}: {why}.")
    if found.comparisons and len(found.of(best.name)) > 1:
        sentences.append(
            f"The comparisons beside the answer are with {best.size}; "
            "smaller numbers are tested under “Each method against each other one”."
        )
    return sentences


def _untested(found: Answer, best: Choice) -> list[str]:
    tested = {c.other.name for c in found.comparisons} | {best.name}
    return [name for name in found.names if name not in tested]


def _without_attention(study: RecordedStudy) -> list[str]:
    """Methods that learn by masking patches, where no probe looked at patches."""
    masked = [method for method in dict.fromkeys(study.results["method"]) if study.tags(method).needs_tokens]
    if not masked or not study.labelled or study.results["attentive_accuracy"].notna().any():
        return []
    return [
        f"Where {listed(masked)} would rank: what is learnt from masked patches lies in the patches, and the linear "
        f"probe reads a summary of them. A study with --evaluate attentive compares by the patches as well."
    ]


def _left_out(study: RecordedStudy) -> list[str]:
    """What there was no time for."""
    left_out = study.last_run.get("left_out")
    if not left_out:
        return []
    return [
        f"What --budget {study.last_run['budget']} left no time for: {left_out}. The same command with more time, or "
        f"without --budget, goes on from here. Until then, numbers of images with which not every method has finished "
        f"are in no comparison."
    ]


def _stopped_early(study: RecordedStudy) -> list[str]:
    """Settings that never came to their last epoch."""
    pruned = study.results[study.results["status"] == "pruned"]
    if pruned.empty:
        return []
    epochs, scheduler = study.settings.get("epochs"), study.settings.get("scheduler")
    saved = f", which spared {1 - pruned['epochs'].mean() / epochs:.0%} of their epochs" if epochs else ""
    who = f"--scheduler {scheduler}" if scheduler not in (None, "none") else "a scheduler"
    which = "1 cell" if len(pruned) == 1 else f"{len(pruned)} cells"
    return [
        f"What the {which} would have come to that {who} stopped early{saved}: settings that begin slowly may be "
        f"among them. They are in no accuracy here; --scheduler none finishes them."
    ]


def _at_the_edge(results: pd.DataFrame, best: Choice) -> list[str]:
    """A choice at the end of the learning rates says that the best one may lie beyond."""
    tried = sorted(
        results.loc[results["method"].eq(best.method) & results["backbone"].eq(best.backbone), "lr"].dropna().unique()
    )  # multiples differ by method
    if best.lr is None or len(tried) < 2 or best.lr not in (tried[0], tried[-1]):
        return []
    word, beyond = ("smallest", "smaller") if best.lr == tried[0] else ("largest", "larger")
    return [f"Learning rate {format_lr(best.lr)} is the {word} tried; a {beyond} one may be better."]
