"""What `audiocls evaluate` prints for people."""

from __future__ import annotations

from typing import Any

from audiocls.cli import say
from audiocls.scores.measures import MEASURES, format_measure

# How events are compared with annotated ones.
_RULES = {
    "event": "onset within 0.2 s, offset within 0.2 s or half the event",
    "segment": "of a grid of 1 s",
}


def print_one(result: dict[str, Any]) -> None:
    """The scores of a model of one label."""
    from audiocls.classifier.answers import UNKNOWN

    whole, clips = result["recording"], result["clip"]
    for name, n in result["unknown_labels"].items():
        counted = "counted as unknown" if UNKNOWN in result["classes"] else "left out"
        what = "labelled" if name == UNKNOWN else "the model does not know"
        say(f"{what} {name!r}: {n} recordings {counted}", err=True)
    _print_failed(result)
    one = MEASURES["one"]
    low, high = whole["interval_95"]["balanced_accuracy"]
    say(f"{whole['n']} recordings in {result['groups']} groups: {one.line(whole)}")
    say(f"  95 % interval of the balanced accuracy over groups: {low:.3f} to {high:.3f}")
    say(f"{clips['n']} clips: {one.line(clips)}")
    _print_events(result["events"])
    if answered := result["answered"]:
        say(_answered(answered))
    say()
    say(f"{'class':24} {'recordings':>10} {'recall':>7} {'precision':>9}  taken for")
    for i, (name, scores) in enumerate(whole["per_class"].items()):
        if not scores["n"]:
            continue
        row = [(n, j) for j, n in enumerate(whole["confusion"][i]) if n and j != i]
        taken = ", ".join(f"{result['classes'][j]} {n}" for n, j in sorted(row, reverse=True)[:3])
        recall, precision = (
            "–" if scores[key] is None else f"{scores[key]:.3f}" for key in ("recall", "precision")
        )
        say(f"{name:24} {scores['n']:10} {recall:>7} {precision:>9}  {taken}".rstrip())
    if result["mistakes"]:
        say()
        say("surest mistakes:")
    for m in result["mistakes"]:
        say(f"  {m['path']}: {m['predicted']} {m['probability']:.3f}, is {m['label']}")


def _answered(answered: dict[str, float | None]) -> str:
    line = f"threshold {answered['threshold']:.2f}: "
    if answered["share"] is None:
        return line + "no recording is of a known class"
    line += f"{answered['share']:.1%} of the recordings of known classes get an answer"
    if answered["accuracy"] is None:
        return line
    return line + f", {answered['accuracy']:.1%} of these are right"


def print_several(result: dict[str, Any]) -> None:
    """The scores of a model of several labels."""
    several = MEASURES["several"]
    whole, clips, events = result["recording"], result["clip"], result["events"]
    for name, n in result["unknown_labels"].items():
        say(f"the model does not know {name!r}: left out of {n} recordings", err=True)
    _print_failed(result)
    say(f"{whole['n']} recordings in {result['groups']} groups: {several.line(whole)}")
    if ends := whole["interval_95"].get("map"):
        low, high = ends
        say(f"  95 % interval of mAP over groups: {low:.3f} to {high:.3f}")
    say(f"{clips['n']} clips: {several.line(clips)}")
    _print_events(events)
    columns = ["recordings", *several.per_class.values()] + (["event F1"] if events else [])
    say()
    say(f"{'class':24} " + " ".join(f"{name:>10}" for name in columns))
    for name, row in whole["per_class"].items():
        cells = [str(row["n"]), *(format_measure(row[key]) for key in several.per_class)]
        cells += (
            [format_measure(events["event"]["per_class"].get(name, {}).get("f1"))] if events else []
        )
        say(f"{name:24} " + " ".join(f"{cell:>10}" for cell in cells))
    if result["mistakes"]:
        say()
        say("surest mistakes:")
    for m in result["mistakes"]:
        what = "is there" if m["there"] else "is not there"
        say(f"  {m['path']}: {m['label']} {m['probability']:.3f}, {what}")


def _print_events(events: dict[str, Any] | None) -> None:
    """How well annotated events are found, if there are any."""
    if events is None:
        return
    for name, rule in _RULES.items():
        found = events[name]
        low, high = found["interval_95"].get("f1", (None, None))
        interval = "" if low is None else f", 95 % interval {low:.3f} to {high:.3f}"
        say(
            f"{name}s ({rule}): F1 {format_measure(found['f1'])}, "
            f"precision {format_measure(found['precision'])}, "
            f"recall {format_measure(found['recall'])}, "
            f"macro-F1 {format_measure(found['macro_f1'])}{interval}"
        )
    psds = events["psds"]
    say(
        f"over all thresholds, up to {psds['alarms_an_hour']:g} false alarms an hour: "
        f"PSDS1 {format_measure(psds['psds1'])}, PSDS2 {format_measure(psds['psds2'])}"
    )


def _print_failed(result: dict[str, Any]) -> None:
    for row in result["failed"][:10]:
        say(f"{row['path']}: failed: {row['error']}", err=True)
    if len(result["failed"]) > 10:
        say(f"… {len(result['failed'])} failed: --json lists them all", err=True)
