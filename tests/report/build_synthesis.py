"""The synthetic part of the made-up run: what its teacher wrote, what that cost, and how diverse it is."""

import json
import math
from dataclasses import asdict

from hostile import HOSTILE

from hornbook.records import Document, Dropped, Exercise, Failed, content_id
from hornbook.synthesize.diversity import Coverage, Measures, Point
from hornbook.tables import write_rows

BUILTIN_NAME = "builtin (offline rules, not an LLM)"
PROMPTS = {
    "topics": {"topics": "List $count topics below $path.\n"},
    "textbooks": {"textbook_extract": f"Write about $topic for $audience.\n\n{HOSTILE[0]}\n{HOSTILE[3]}\n"},
    "exercises": {"exercise": "".join(f"Line {n} of the prompt.\n" for n in range(90))},
    "independent_tests": {"tests": f"Write tests for\n\n$prompt\n{HOSTILE[2]}\n"},
}
LEDGERS = {
    step: {
        "model": "openai:made-up<script>alert(5)</script>",
        "requests_sent": sent,
        "lost": lost,
        "refused": refused,
        "from_journal": from_journal,
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "usd": usd,
        "uncertain_usd": uncertain,
    }
    for step, sent, lost, refused, from_journal, tokens_in, tokens_out, usd, uncertain in (
        ("topics", 611, 0, 0, 0, 201_344, 402_118, 0.0271, 0.0),
        ("textbooks", 8_231, 7, 12, 190, 9_871_023, 7_420_551, 41.2375, 0.0438),
        ("exercises", 34_420, 3, 17, 0, 16_203_777, 11_090_412, 63.5, 0.0062),
        ("independent_tests", 68_000, 0, 0, 31, 14_000_000, 9_876_543, 50.25, 0.0),
    )
}
FAILURES = {
    "topics": {"no reply": 1, "unparsed": 3},
    "textbooks": {"cut off": 9, "no reply": 1, "refused": 2},
    "exercises": {"unparsed": 20, "wrong schema": 15},
    "independent_tests": {},
}
CODE = {"error": 2, "failed": 240, "none": 841, "ran": 6_900, "timeout": 17}
AGREEMENT = {"sets_of_tests": 101_940, "disagreement_rate": 0.04372, "split": 1_234, "kept_against_own_tests": 321}
ONE_SET = {"sets_of_tests": 34_000, "disagreement_rate": 587 / 34_000, "split": 0, "kept_against_own_tests": 0}


def build_topics(builder) -> None:
    """topics, whose reasons of failure stand in a table alone."""
    path = builder.directory("topics")
    failures = [reason for reason, rows in FAILURES["topics"].items() for _ in range(rows)]
    rows = [Failed(content_id(f"node {n}"), "topics", reason, "", "", "r") for n, reason in enumerate(failures)]
    write_rows(path / "failed.parquet", Failed, rows)
    facts = {
        "teacher": LEDGERS["topics"]["model"],
        "prompts": PROMPTS["topics"],
        "requests": 611,
        "levels": {"0": 12, "1": 90, "2": 1_204, "3": 18_694},
        "roots": {HOSTILE[1]: 10_000, "arts": 10_000},
        "balance": 1.0,
        "canaries": {"planted": 3, "caught": 3, "innocent_kept": 3},
    }
    counts = (24_120, 20_000, {"duplicate": 812, "near-duplicate": 1_904, "surplus": 1_400}, 4)
    builder.finish("topics", None, counts, facts, {"ledger": LEDGERS["topics"]}, 31.0)


def build_synthesis(builder, asking: bool) -> None:
    """textbooks, examples, exercises, independent_tests, verify, dedup, decontaminate, pack."""
    texts = build_textbooks(builder, asking)
    build_exercises(builder, asking)
    sizes = {
        "raw": ("corpus", 5880),
        "filtered": ("filter", 1000),
        "textbooks": ("examples", texts),
        "exercises": ("verify", 33_412),
    }
    for name, (source, read) in sizes.items():
        if name != "raw":
            builder.directory(f"dedup.{name}")
            copies = read // 40
            facts = {"clusters": copies // 2, "canaries": {"planted": 10, "caught": 10}}
            counts = (read, read - copies, {"near duplicate": copies}, 0)
            builder.finish(f"dedup.{name}", {"documents": source}, counts, facts, None, 4.2)
            source, read = f"dedup.{name}", read - copies
        builder.directory(f"decontaminate.{name}")
        hits = {"humaneval": read // 900, "drill <composition>": read // 1500}
        facts = {"canaries": {"planted": 9, "caught": 9}}
        counts = (read, read - sum(hits.values()), hits, 0)
        builder.finish(f"decontaminate.{name}", {"documents": source}, counts, facts, None, 3.4)
        builder.directory(f"pack.{name}")
        left = counts[1]
        facts = {"tokens": left * 117}
        builder.finish(f"pack.{name}", {"documents": f"decontaminate.{name}"}, (left, left, {}, 0), facts, None, 2.2)


def asked(step: str, asking: bool):
    """Facts and timing that a step has from its teacher."""
    if not asking:
        return {"teacher": BUILTIN_NAME, "prompts": {}, "failures": {}}, None
    facts = {"teacher": LEDGERS[step]["model"], "prompts": PROMPTS[step], "failures": FAILURES[step]}
    return facts, {"ledger": LEDGERS[step]}


def build_textbooks(builder, asking: bool) -> int:
    """textbooks and examples; gives how many sections were kept. Asking: broken sections are dropped, else marked."""
    topics = [*(f"lists, part {n}" for n in range(20)), HOSTILE[1]]
    sections = [
        Document(
            content_id(f"textbook {n}"),
            f"# {topic}\n\nA list keeps its order.\n{HOSTILE[n % 5]}\n",
            "textbook",
            json.dumps({"topic": topic, "audience": HOSTILE[0]}),
        )
        for n, topic in enumerate(topics)
    ]
    write_rows(builder.directory("textbooks") / "documents.parquet", Document, sections)
    told, timing = asked("textbooks", asking)
    facts = {**told, "requested": 8000, "in_reach": 2_543_180_640, "topics": dict.fromkeys(topics, 400)}
    counts = (8212, 8000, {"copied": 169, "duplicate": 31}, 12) if asking else (8000, 8000, {}, 0)
    inputs = {"topics": "topics", "extracts": "corpus"} if asking else {}
    builder.finish("textbooks", inputs, counts, facts, timing, 8.8)
    path = builder.directory("examples")
    broken = {sections[n].id: ("failed", "timeout")[n % 2] for n in (1, 2, 20)}
    rows = [
        Dropped(identity, "examples", f"code {code}", f"NameError: {HOSTILE[0]}")
        for identity, code in broken.items()
        if asking
    ]
    write_rows(path / "dropped.parquet", Dropped, rows)
    kept = [
        Document(row.id, row.text, row.source, json.dumps({"code": broken.get(row.id, "ran")}))
        for row in sections
        if not asking or row.id not in broken
    ]
    write_rows(path / "documents.parquet", Document, kept)
    texts, dropped = (7741, {"code failed": 240, "code timeout": 17}) if asking else (7998, {})
    facts = {"code": CODE, "backend": "bubblewrap"}
    builder.finish("examples", {"documents": "textbooks"}, (8000, texts, dropped, 2), facts, None, 5.5)
    return texts


def build_exercises(builder, asking: bool) -> None:
    """exercises, independent_tests where there is a model to ask, and verify."""
    exercises = [exercise(n) for n in range(60)]
    write_rows(builder.directory("exercises") / "exercises.parquet", Exercise, exercises)
    told, timing = asked("exercises", asking)
    dropped = {"contradiction": 60, "duplicate": 210, "trivial": 95}
    counts = (34_400, 34_000, dropped, 35) if asking else (34_000, 34_000, {}, 0)
    builder.finish("exercises", None, counts, {**told, "prompt words mean": 31.25}, timing, 12.9)
    inputs = {"exercises": "exercises"}
    if asking:
        builder.directory("independent_tests")
        told, timing = asked("independent_tests", asking)
        facts = {**told, "sets_per_exercise": 2}
        builder.finish("independent_tests", inputs, (68_000, 67_940, {}, 60), facts, timing, 25.0)
        inputs = {**inputs, "independent_tests": "independent_tests"}
    path = builder.directory("verify")
    write_rows(path / "exercises.parquet", Exercise, exercises[:40])
    reasons = ("timeout", "failed", "outvoted" if asking else "failed")
    rows = [
        Dropped(row.id, "verify", reasons[n % 3], f"AssertionError: {HOSTILE[n % 3]}")
        for n, row in enumerate(exercises[40:])
    ]
    write_rows(path / "dropped.parquet", Dropped, rows)
    facts = {
        "timeout_rate": 0.0005,
        **(AGREEMENT if asking else ONE_SET),
        "backend": "bubblewrap",
        "canaries": {"planted": 4, "caught": 4},
    }
    dropped = {"failed": 500, "outvoted": 70, "timeout": 17} if asking else {"failed": 570, "timeout": 17}
    counts = (34_000, 33_412, dropped, 1)
    builder.finish("verify", inputs, counts, facts, {"programs_per_second": 2380.4}, 14.3)


def exercise(n):
    """One exercise; some are hostile."""
    odd = HOSTILE[n % 5] if n % 4 == 0 else "Keep the numbers that divide evenly, in order."
    prompt = f'def keep_{n}(values):\n    """{odd}"""\n'
    solution = f"    return [value for value in values if value % {n + 1} == 0]\n"
    tests = (f"assert keep_{n}([]) == []", f"assert keep_{n}([{n + 1}]) == [{n + 1}]")
    return Exercise(content_id(prompt + solution), f"lists: {odd}"[:60], f"keep_{n}", prompt, solution, tests, "r")


def measures(texts: int, words_each: int, near: float, variety: float = 1.0) -> Measures:
    """Measures of the first texts of a set that repeats itself more and more."""
    words = min(texts * words_each, 100_000)
    return Measures(
        texts=texts,
        near_duplicate_rate=near,
        words=words,
        distinct_1=variety * 3.1 * words**-0.41,
        distinct_2=variety * 2.2 * words**-0.2,
        distinct_3=variety * 1.4 * words**-0.09,
        bytes=min(texts * words_each * 5, 1_000_000),
        compression_ratio=(1.9 + math.log10(words)) / variety,
        vendi_texts=min(texts, 1_000),
        vendi_score=variety * 1.7 * min(texts, 1_000) ** 0.58,
    )


def growth(texts: int, words_each: int, near: float) -> list[Point]:
    """A curve whose last point is the whole set."""
    sizes = sorted({texts >> halvings for halvings in range(8)})
    return [
        Point(size, words_each * 1.1 * (size / 20) ** -0.35, measures(size, words_each, near * (size / texts) ** 0.7))
        for size in sizes
    ]


TOO_LITTLE = Measures(1, None, 0, None, None, None, 0, None, 1, None)
CURVES = {"textbooks": growth(7_741, 310, 0.0312), "exercises": growth(30_000, 64, 0.2475)}
DIVERSITY = {
    name: json.loads(
        json.dumps(
            {
                "set": asdict(CURVES[name][-1].measures),
                "corpus": asdict(corpus),
                "curve": [asdict(point) for point in CURVES[name]],
                "coverage": asdict(coverage),
            }
        ),
        parse_float=lambda digits: round(float(digits), 4),
    )
    for name, corpus, coverage in (
        (
            "textbooks",
            measures(5_880, 402, 0.0, 1.45),
            Coverage(7_741, 412, 6, 1_903, 2_472, 0.769822, 0.93417, 0.8712),
        ),
        ("exercises", TOO_LITTLE, Coverage(33_412, 46, 1, 46, 46, 1.0, 0.95512, 0.95512)),
    )
}


def build_diversity(builder) -> None:
    """diversity of both sets: the second beside a corpus too small to measure."""
    for name, source in (("textbooks", "examples"), ("exercises", "verify")):
        path = builder.directory(f"diversity.{name}")
        found = DIVERSITY[name]
        (path / "diversity.json").write_text(json.dumps(found), encoding="utf-8")
        facts = {key: found[key] for key in ("set", "corpus", "coverage")}
        builder.finish(f"diversity.{name}", {"set": source, "corpus": "corpus"}, None, facts, None, 4.0)
