"""Multiple choice by lm-evaluation-harness: its tasks, prompts and scoring, on data we pin, asked of any model of ours.

The nine tasks of phi-1.5's tables 2 and 3. The harness makes the requests and judges the answers; nothing of it is
rewritten, and none of its caches is used.
"""

import ast
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from hornbook import rowsets
from hornbook.evaluate.stats import wilson_interval
from hornbook.evaluate.task import Family, Item, Likely, Output, Scored, Tools, proportion, spread
from hornbook.setfiles import Row, UnavailableError


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the harness keeps a task, and how phi-1.5 used it (section 2.4 of our paper facts)."""

    config: str  # below the harness's folder of tasks; of MMLU, of one subject
    split: str  # the split the harness evaluates
    family: Family
    shots: int = 0


SETTINGS = {
    "winogrande": Setting("winogrande/default.yaml", "validation", "common sense"),
    "arc_easy": Setting("arc/arc_easy.yaml", "test", "common sense"),
    "arc_challenge": Setting("arc/arc_challenge.yaml", "test", "common sense"),
    "boolq": Setting("super_glue/boolq/default.yaml", "validation", "common sense"),
    "social_iqa": Setting("siqa/siqa.yaml", "validation", "common sense"),
    "piqa": Setting("piqa/piqa.yaml", "validation", "knowledge"),
    "hellaswag": Setting("hellaswag/hellaswag.yaml", "validation", "knowledge"),
    "openbookqa": Setting("openbookqa/openbookqa.yaml", "test", "knowledge"),
    "mmlu": Setting("mmlu/default/mmlu_{subject}.yaml", "test", "knowledge", shots=2),
}
SPLITS = ("training_split", "validation_split", "test_split")
CHOICES_READY = {"hellaswag": {"process_docs": None, "doc_to_target": "{{gold}}"}}  # our rows are processed already


class HarnessTask:
    """One of the nine, zero-shot but for MMLU with two examples. A score is `acc`: the harness's accuracy over the sums
    of log-probabilities; `acc_norm`, by length in bytes, stands beside it where the harness has it."""

    version = 1
    metric = "acc"

    def __init__(self, name: str) -> None:
        self.name = name
        self._setting = SETTINGS[name]
        self.family: Family = self._setting.family
        self._docs: dict[str, tuple[Any, Row]] = {}  # of each item, the harness's task and its row

    def data(self) -> str:
        """The checksum of the rows."""
        names = (self.name, "mmlu_dev") if self.name == "mmlu" else (self.name,)
        return " ".join(rowsets.checksum_here(name) or "" for name in names)

    def items(self, limit: int | None) -> Sequence[Item]:
        """In the order of the rows."""
        return [item for part in parts_of(self.name, limit) for item in self._items(part)]

    def _items(self, part: "Part") -> Iterator[Item]:
        task = harness_task(self.name, part)
        for place, doc in zip(part.places, part.rows, strict=True):
            context = task.fewshot_context(doc, self._setting.shots)
            asked = task.construct_requests(doc, context, metadata=(self.name, place, 1))
            name = f"{part.subject}/{place}" if part.subject else str(place)
            self._docs[name] = task, doc
            yield Item(name, Likely(tuple((request.args[0], request.args[1]) for request in asked)))

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """By the harness's own `process_results`."""
        for item, output in zip(items, outputs, strict=True):
            assert not isinstance(output, str)
            task, doc = self._docs[item.id]
            values = [float(value) for value, *_ in output]
            found = task.process_results(doc, [(value, bool(greedy)) for value, _, greedy in output])
            right = float(found["acc"])
            detail: dict[str, Any] = {"chosen": int(np.argmax(values)), "gold": _gold(task, doc)}
            if "acc_norm" in found:
                detail["acc_norm"] = float(found["acc_norm"])
            yield Scored("passed" if right else "failed", right, detail)

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """Accuracy with its interval and standard error, `acc_norm` where there is one, and the choices made."""
        found = proportion(self.metric, scored)
        n, value = found["n"], found["value"]
        if value is None:
            return found
        found["stderr"] = float(np.sqrt(value * (1 - value) / (n - 1))) if n > 1 else None
        found["shots"] = self._setting.shots
        found["judged_by"] = f"lm_eval {metadata.version('lm_eval')}"
        found["chosen"] = {
            str(k): v
            for k, v in sorted(
                Counter(s.detail["chosen"] for s in scored if s.detail.get("chosen") is not None).items()
            )
        }
        norms = [row.detail["acc_norm"] for row in scored if "acc_norm" in row.detail]
        if norms:
            low, high = wilson_interval(sum(norms), len(norms))
            found["acc_norm"] = {"value": sum(norms) / len(norms), "n": len(norms), "low": low, "high": high}
        return found


def _gold(task: Any, doc: Row) -> int:
    """The place of the right choice, as the harness finds it."""
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    return task.doc_to_choice(doc).index(gold) if isinstance(gold, str) else int(gold)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that the harness keeps in one task: those of MMLU by subject."""

    rows: Sequence[Row]
    places: Sequence[int]  # of each, in its set; of MMLU, in its subject
    subject: str = ""
    examples: Sequence[Row] = ()  # those with answers, before each question


def parts_of(name: str, limit: int | None) -> Iterator[Part]:
    """All rows of a task, or `limit` of them. Raises UnavailableError where they are not to be had."""
    rows = rowsets.load(name)
    if name != "mmlu":
        drawn = spread(rows, limit)
        yield Part([row for _, row in drawn], [place for place, _ in drawn])
        return
    examples = rowsets.load("mmlu_dev")
    by_subject: dict[str, list[Row]] = {}
    places = []  # of each row in its subject
    for row in rows:
        own = by_subject.setdefault(row["subject"], [])
        places.append(len(own))
        own.append(row)
    drawn = spread(rows, limit)
    for subject in by_subject:
        part = [(places[place], row) for place, row in drawn if row["subject"] == subject]
        if part:
            shots = [row for row in examples if row["subject"] == subject]
            yield Part([row for _, row in part], [place for place, _ in part], subject, shots)


def harness_task(name: str, part: Part, compiled: bool = True) -> Any:
    """The harness's task on these rows.

    `compiled` has each of its templates compiled once: the harness compiles them anew for every row (1.4 ms each, of
    which a row of ARC needs four). Raises UnavailableError where lm-evaluation-harness is not installed.
    """
    try:
        import datasets
        import lm_eval.tasks
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.tasks._yaml_loader import load_yaml
    except ImportError as error:
        raise UnavailableError(f"{name}: needs lm-evaluation-harness; pip install 'hornbook[eval]'") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    setting = SETTINGS[name]
    path = Path(lm_eval.tasks.__file__).parent / setting.config.format(subject=part.subject)
    config: dict[str, Any] = load_yaml(path, resolve_func=True)
    config |= CHOICES_READY.get(name, {})
    splits = {setting.split: datasets.Dataset.from_list(list(part.rows))}
    if part.examples:
        splits[config["fewshot_split"]] = datasets.Dataset.from_list(list(part.examples))
    held = {split: config[split] for split in SPLITS if config.get(split) in splits}
    config |= dict.fromkeys(SPLITS) | held
    config |= {"custom_dataset": lambda **_: splits, "num_fewshot": setting.shots}
    if compiled:
        columns = {column for row in part.rows[:1] for column in row}
        for field, kind in (("doc_to_text", _plain), ("doc_to_target", _plain), ("doc_to_choice", ast.literal_eval)):
            template = config.get(field)
            if isinstance(template, str) and template not in columns:
                config[field] = _Rendered(template, kind)
    for key in ("tag", "group"):
        config.pop(key, None)
    return ConfigurableTask(config=config)


def _plain(text: str) -> Any:
    """As the harness reads what a template gives: digits are a number."""
    return int(text) if text.isdigit() else text


class _Rendered:
    """A template of the harness as a function of a row."""

    def __init__(self, template: str, read: Callable[[str], Any]) -> None:
        self._template, self._read = template, read

    @cached_property
    def _compiled(self) -> Any:
        from lm_eval.utils import env

        return env.from_string(self._template)

    def __call__(self, doc: Row) -> Any:
        return self._read(self._compiled.render(**doc))
