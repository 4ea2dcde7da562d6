"""A made-up run on disk, shaped like a real one, whose texts try to break out of the page."""

import json
import math
import random
from pathlib import Path

from build_synthesis import BUILTIN_NAME, build_diversity, build_synthesis, build_topics
from hostile import HOSTILE

from hornbook.records import Completion, Outcome, content_id
from hornbook.run.manifest import describe_files, write_manifest
from hornbook.tables import write_rows

MODELS = {"A": "raw code", "B": "CodeTextbook", "C": "CodeTextbook + CodeExercises"}
START = {"A": "scratch", "B": "scratch", "C": "B"}
MIXTURE = {"A": {"raw": 1.0}, "B": {"filtered": 0.3, "textbooks": 0.7}, "C": {"exercises": 1.0}}
STEPS = {"A": 120, "B": 120, "C": 220}
SCORES = {
    "A": {"drill": (0, 164), "bits_held_out": 2.104, "bits_humaneval": 2.391, "bits_mbpp": 2.52},
    "B": {"drill": (2, 164), "bits_held_out": 2.633, "bits_humaneval": 1.944, "bits_mbpp": 2.013},
    "C": {"drill": (102, 164), "bits_held_out": 3.402, "bits_humaneval": 2.288, "bits_mbpp": 2.177},
}
MODEL = "openai:made-up<script>alert(5)</script>"
NO_HUMANEVAL = "the HumanEval data is on this machine nowhere, and there is no network"
RECIPE = {
    "name": "mini",
    "description": "phi-1 in miniature, on a laptop CPU, from the code installed on this machine",
    "seed": 1,
    "corpus": {"sources": [{"kind": "installed"}], "sample_bytes": 60_000_000, "held_out_share": 0.02},
    "annotate": {"teacher": "builtin", "sample": 2000, "failure_limit": 0.01},
    "classify": {"trees": 200, "held_out_share": 0.25, "threshold": 3.0},
    "filter": {"keep_share": 0.17},
    "dedup": {"ngram_words": 5, "bands": 14, "rows": 8, "threshold": 0.7},
    "decontaminate": {"testsets": ["humaneval", "mbpp", "drill"], "ngram_words": 13},
    "topics": None,
    "textbooks": {"teacher": "builtin", "about": "code", "extracts": None, "count": 8000},
    "exercises": {"teacher": "builtin", "count": 34000, "test_sets": 1},
    "verify": {"cpu_seconds": 2.0, "memory_mb": 512, "failure_limit": 0.001, "failing_sections": "mark"},
    "models": {
        name: {"label": MODELS[name], "start": START[name], "mixture": MIXTURE[name], "steps": STEPS[name]}
        for name in MODELS
    },
    "evaluate": {"tasks": ["drill", "humaneval", "bits_held_out", "bits_humaneval", "bits_mbpp"]},
}


LANGUAGE_MODEL = {"model": MODEL, "temperature": 0.7, "top_p": None, "max_tokens": 2048}
ASKING_RECIPE = {
    **RECIPE,
    "topics": {"teacher": LANGUAGE_MODEL, "count": 20_000},
    "textbooks": {"teacher": LANGUAGE_MODEL, "about": "general", "extracts": {"max_overlap": 0.2}, "count": 8000},
    "exercises": {"teacher": LANGUAGE_MODEL, "count": 34_000, "test_sets": 3},
    "verify": {**RECIPE["verify"], "failing_sections": "drop"},
}


class Builder:
    """Writes finished steps one after the other, and the description of the run."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.steps: dict[str, str] = {}
        self.rng = random.Random(7)
        self.clock = 0.0

    def directory(self, name: str) -> Path:
        """A step's directory, made."""
        self.steps[name] = f"{name}-{content_id(name)[:12]}"
        path = self.work / self.steps[name]
        path.mkdir(parents=True)
        return path

    def finish(self, name, inputs=None, counts=None, facts=None, timing=None, seconds=1.0):
        """Write the manifest; `counts` is (read, kept, {reason: rows}, failed), `inputs` maps names to steps."""
        path = self.work / self.steps[name]
        self.clock += seconds
        read, kept, dropped, failed = counts or (0, 0, {}, 0)
        assert read == kept + sum(dropped.values()) + failed
        manifest = {
            "step": name,
            "identity": content_id(name),
            "function": "hornbook.made.up:step",
            "version": 1,
            "config": {},
            "inputs": {key: self.steps[source] for key, source in (inputs or {}).items()},
            "content": {},
            "machine": {"workers": 2, "device": "auto", "platform": "Linux-6.1-x86_64", "python": "3.11.9"},
            "started": "2026-03-01T10:00:00+00:00",
            "ended": f"2026-03-01T10:{int(self.clock // 60):02}:{int(self.clock % 60):02}.000+00:00",
            "seconds": seconds,
            "peak_memory_bytes": 400_000_000 + int(seconds * 2e7),
            "counts": counts and {"read": read, "kept": kept, "dropped": dropped, "failed": failed},
            "facts": facts or {},
            "timing": timing or {},
            "files": describe_files(path),
        }
        write_manifest(path, manifest)

    def describe(self, directory: Path, recipe=RECIPE, unfinished: tuple[str, ...] = (), models=MODELS) -> Path:
        """Write `run.json`."""
        steps = {**self.steps, **{name: f"{name}-000000000000" for name in unfinished}}
        record = {
            "name": "mini",
            "arm": None,
            "recipe": recipe,
            "steps": [{"name": name, "directory": folder} for name, folder in steps.items()],
            "models": models,
        }
        directory.mkdir(parents=True)
        path = directory / "run.json"
        path.write_text(json.dumps(record), encoding="utf-8")
        return path


def build_run(work: Path) -> Path:
    """A finished run whose texts a language model wrote; gives the path of its `run.json`."""
    builder = Builder(work)
    build_curation(builder)
    build_topics(builder)
    build_synthesis(builder, asking=True)
    build_diversity(builder)
    build_models(builder)
    return builder.describe(work / "runs" / "mini", ASKING_RECIPE)


def build_builtin_run(work: Path) -> Path:
    """A finished run that asked no language model."""
    builder = Builder(work)
    build_curation(builder)
    build_synthesis(builder, asking=False)
    build_models(builder)
    return builder.describe(work / "runs" / "mini")


def build_unfinished_run(work: Path) -> Path:
    """A run that stopped after the filter."""
    builder = Builder(work)
    build_curation(builder)
    rest = ("dedup.filtered", "textbooks", "exercises", "verify", "train.A", "eval.A", "train.B", "train.C", "eval.C")
    return builder.describe(work / "runs" / "mini", ASKING_RECIPE, rest)


def estimate(value, spread=0.05, n=500):
    """A measure with its interval, as the classifier's facts have it."""
    return {"value": value, "low": round(value - spread, 4), "high": round(value + spread, 4), "n": n}


def build_curation(builder: Builder) -> None:
    """corpus, annotate, classify, score, filter."""
    builder.directory("corpus")
    dropped = {"too long": 41, "not UTF-8": 7, "empty": 212, "not in the sample": 5_820}
    builder.finish("corpus", None, (12_080, 6_000, dropped, 0), {"documents": 5_880, "held_out": 120}, None, 6.4)
    builder.directory("annotate")
    facts = {"teacher": BUILTIN_NAME, "prompts": {}, "requests": 2000, "failures": {"unable": 4}, "mean_score": 1.93}
    builder.finish("annotate", {"corpus": "corpus"}, (2000, 1996, {}, 4), facts, None, 9.1)
    builder.directory("classify")
    builder.finish("classify", {"corpus": "corpus"}, (1996, 1996, {}, 0), classifier_facts(), None, 7.7)
    builder.directory("score")
    builder.finish("score", {"corpus": "corpus", "classifier": "classify"}, (5880, 5880, {}, 0), {}, None, 11.2)
    samples = [
        sample
        for low in (3, 2, 1, 0)
        for side in (("kept", "dropped") if low == 2 else ("kept",) if low == 3 else ("dropped",))
        for sample in document_samples(low, side)
    ]
    path = builder.directory("filter")
    (path / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
    bins = []
    for place in range(20):
        rows = round(1100 * math.exp(-(((place / 4 - 1.7) / 0.75) ** 2)))
        keeps = 1.0 if place >= 11 else 0.4 if place == 10 else 0.0
        bins.append(
            {"from": place / 4, "to": (place + 1) / 4, "kept": int(rows * keeps), "dropped": rows - int(rows * keeps)}
        )
    facts = {"cut": 2.613, "kept_share": 0.17, "scores": bins, "canaries": {"planted": 5, "caught": 5}}
    counts = (5880, 1000, {"score below the cut": 4880}, 0)
    builder.finish("filter", {"scored": "score", "classifier": "classify"}, counts, facts, None, 3.0)


def classifier_facts():
    """What the step classify tells."""
    unknown = {"value": None, "n": 12, "why": "the held-out ratings are all on one side of the threshold"}
    importances = [
        {"feature": name, "importance": weight}
        for name, weight in (
            ("share of lines in docstrings <b>", 0.21), ("mean depth of the syntax tree", 0.14),
            ("functions per 100 lines", 0.11), ("share of literals", 0.09), ("names that are words", 0.05),
        )
    ]  # fmt: skip
    return {
        "threshold": 3.0,
        "trained_on": 1497,
        "held_out": {"rank_correlation": estimate(0.812), "auc": estimate(0.931, 0.02), "f1": estimate(0.704)},
        "inside_sources": {
            "rank_correlation": estimate(0.744, 0.06, 31),
            "sources": 31,
            "documents": 402,
            "variance_share_of_scores": 0.781,
            "variance_share_of_ratings": 0.846,
        },
        "source_mean_baseline": {"rank_correlation": estimate(0.31), "auc": estimate(0.64), "f1": unknown},
        "importances": importances,
    }


def document_samples(low, side):
    """Samples as the filter writes them, hostile ones among them."""
    texts = [
        *HOSTILE,
        'def mean(values):\n    """Return the mean of a list of numbers."""\n    return sum(values) / len(values)\n',
    ]
    for place, text in enumerate(texts[low % 2 :]):
        yield {
            "from": low, "to": low + 1, "id": content_id(text + side), "source": "numpy" if place else HOSTILE[0],
            "meta": "{}", "score": low + 0.9 - place / 10, "side": side, "text": text, "characters": len(text) + 900,
        }  # fmt: skip


def build_models(builder: Builder) -> None:
    """train and eval of every model."""
    for model in MODELS:
        path = builder.directory(f"train.{model}")
        with open(path / "losses.jsonl", "w", encoding="utf-8") as lines:
            for step in range(1, STEPS[model] + 1):
                loss = (
                    (1.55 if model == "A" else 1.1)
                    + (6.5 if START[model] == "scratch" else 1.4) * math.exp(-step / 25)
                    + builder.rng.gauss(0, 0.06)
                )
                rate = 3e-3 * min(step / 20, 1.0) * (1 - step / (STEPS[model] + 1))
                row = {"step": step, "tokens": step * 9216, "loss": loss, "learning_rate": rate}
                lines.write(json.dumps(row) + "\n")
        builder.finish(f"train.{model}", None, None, {"parameters": 4_120_576}, {"tokens_per_second": 9830.2}, 118.0)
    for model in MODELS:
        path = builder.directory(f"eval.{model}")
        scores = {task: score(task, what) for task, what in SCORES[model].items()}
        scores["humaneval"] = {
            "metric": "pass@1", "value": None, "n": 0, "low": None, "high": None, "failed": 0, "reason": NO_HUMANEVAL,
        }  # fmt: skip
        ordered = {task: scores[task] for task in RECIPE["evaluate"]["tasks"]}
        (path / "scores.json").write_text(json.dumps(ordered), encoding="utf-8")
        solved = SCORES[model]["drill"][0]
        completions, outcomes = [], []
        for n in range(164):
            kind = "passed" if n < solved else "timeout" if n == 163 else "failed"
            detail = "" if kind == "passed" else f"assert double_{n}(3) == 6: gave {HOSTILE[n % 5]}"
            text = HOSTILE[n % 5] if n % 7 == 0 else f"    return {2 if kind == 'passed' else 3} * x\n"
            prompt = f'def double_{n}(x):\n    """Return twice the number."""\n'
            completions.append(Completion(f"drill/{n}", 0, prompt, text, "" if model == "A" and n % 3 == 0 else text))
            outcomes.append(Outcome(f"drill/{n}", 0, kind, detail))
        write_rows(path / "completions-drill.parquet", Completion, completions)
        write_rows(path / "outcomes-drill.parquet", Outcome, outcomes)
        builder.finish(f"eval.{model}", {"model": f"train.{model}"}, None, {}, None, 15.5)


def score(task, what):
    """One entry of scores.json."""
    if task == "drill":
        solved, n = what
        return {
            "metric": "pass@1", "value": solved / n, "n": n, "low": max(0.0, solved / n - 0.07 if solved else 0.0),
            "high": min(1.0, solved / n + 0.07), "failed": 0,
        }  # fmt: skip
    return {"metric": "bits_per_byte", "value": what, "n": 300, "low": what - 0.04, "high": what + 0.04, "failed": 1}


def build_raw_run(work: Path) -> Path:
    """A finished run that knows raw code alone: no filter, nothing synthetic, and no drill."""
    builder = Builder(work)
    builder.directory("corpus")
    builder.finish("corpus", None, (6_000, 6_000, {}, 0), {"documents": 5_880, "held_out": 120})
    builder.directory("decontaminate.raw")
    facts = {"canaries": {"planted": 9, "caught": 9}}
    builder.finish("decontaminate.raw", {"documents": "corpus"}, (5_880, 5_880, {}, 0), facts)
    builder.directory("pack.raw")
    builder.finish("pack.raw", {"documents": "decontaminate.raw"}, (5_880, 5_880, {}, 0), {"tokens": 700_000})
    path = builder.directory("train.A")
    rows = [{"step": n, "tokens": n * 9216, "loss": 5.0 - n / 9, "learning_rate": 1e-3} for n in range(1, 31)]
    (path / "losses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    facts = {
        "parameters": 4_120_576,
        "epochs": {"raw": 1.2345},
        "held_out_loss": {"raw": 2.7183},
        "selected_step": 20,
    }
    builder.finish("train.A", {"raw": "pack.raw"}, None, facts)
    path = builder.directory("eval.A")
    scores = {"bits_held_out": score("bits_held_out", 2.104)}
    (path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    builder.finish("eval.A", {"model": "train.A"})
    without = ("textbooks", "general_textbooks", "exercises", "web", "topics")
    recipe = {**RECIPE, **dict.fromkeys(without), "evaluate": {"tasks": ["bits_held_out"]}}
    return builder.describe(work / "runs" / "mini", recipe, models={"A": "raw code"})
