"""What the report says of synthetic data against the files it was made from: diversity, costs, prompts, verdicts."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from build_synthesis import AGREEMENT, CODE, DIVERSITY, FAILURES, LEDGERS, PROMPTS
from hostile import HOSTILE
from read_page import holds, page_of

from hornbook.errors import UserError
from hornbook.report.collect import collect
from hornbook.report.diversity import growths_of
from hornbook.report.figures import Growth, growth_curve
from hornbook.report.shown import facts_json

LEFT_OUT = {  # by the step that is not finished
    "topics": "Costs of topics",
    "textbooks": "Costs of textbooks",
    "examples": "Sections whose code did not run",
    "exercises": "Costs of exercises",
    "independent_tests": "Costs of independent_tests",
    "verify": "Exercises and their verdicts",
    "diversity.textbooks": "Diversity of textbooks",
    "diversity.exercises": "Diversity of exercises",
}


def test_new_reasons_are_in_the_table_of_dropped_rows(page):
    for step, rows, share, reason in (
        ("topics", "1,400", "5.8%", "surplus"),
        ("textbooks", "169", "2.1%", "copied"),
        ("examples", "240", "3.0%", "code failed"),
        ("exercises", "95", "0.3%", "trivial"),
        ("independent_tests", "60", "0.1%", "failed (an error, not a judgement)"),
        ("verify", "70", "0.2%", "outvoted"),
    ):
        assert holds(page.cells, [step, rows, share, reason])


def expected_measures(found):
    """The cells that the measures of a set and of the corpus must have, one measure after the other."""
    for key, amount, unit, form in (
        ("near_duplicate_rate", "texts", "text", lambda share: f"{100 * share:.1f}%"),
        ("distinct_1", "words", "word", "{:.3f}".format),
        ("distinct_2", "words", "word", "{:.3f}".format),
        ("distinct_3", "words", "word", "{:.3f}".format),
        ("compression_ratio", "bytes", "byte", "{:.2f}".format),
        ("vendi_score", "vendi_texts", "text", "{:.1f}".format),
    ):
        for measured in (found["set"], found["corpus"]):
            value = "not measured" if measured[key] is None else form(measured[key])
            yield f"{value}over {measured[amount]:,} {unit}{'' if measured[amount] == 1 else 's'}"


@pytest.mark.parametrize("name", DIVERSITY)
def test_measures_of_diversity_are_those_of_the_file(page, name):
    assert holds(page.cells, list(expected_measures(DIVERSITY[name])))


def test_what_is_not_measured_is_no_zero(page):
    assert "not measuredover 0 words" in page.cells
    assert page.cells.count("not measuredover 1 text") == 2  # near-duplicates and Vendi score of a single text


def test_coverage_is_shown_where_there_is_one(page):
    nothing = "not measuredreal code is about none of these topics"
    assert holds(
        page.cells,
        [
            "77.0%1,903 of 2,472 pairs: 412 topics × 6 audiences", nothing,
            "0.934412 topics, 7,741 texts", nothing,
            "0.8711,903 of 2,472 pairs: 412 topics × 6 audiences", nothing,
        ],
    )  # fmt: skip
    assert holds(page.cells, ["0.95546 topics, 33,412 texts", nothing])
    assert page.text.count("coverage of topics × audiences") == 1  # exercises are for no audience


def test_curves_of_diversity_are_those_of_the_file(run, page):
    for record in collect(*run).diversity:
        found = DIVERSITY[record.name]
        new, near, vendi = (growth for _, _, growth, _ in growths_of(record))
        assert list(new.points) == [(point["texts"], point["new_trigrams_per_text"]) for point in found["curve"]]
        assert list(near.points) == [
            (point["texts"], 100 * point["measures"]["near_duplicate_rate"]) for point in found["curve"]
        ]
        sizes = [texts for texts, _ in vendi.points]
        assert sizes == sorted({min(point["texts"], 1000) for point in found["curve"]})  # each size once
        assert vendi.points[-1][1] == found["set"]["vendi_score"]
        assert new.corpus is None
        assert near.corpus == (
            found["corpus"]["texts"],
            None if record.name == "exercises" else 100 * found["corpus"]["near_duplicate_rate"],
        )
    with_corpus = ["real corpus" in texts for texts in page.svgs[-6:]]
    assert with_corpus == [False, True, True, False, False, False]
    last, before = DIVERSITY["textbooks"]["curve"][-1], DIVERSITY["textbooks"]["curve"][-2]
    assert (
        f"The last 3,871 texts brought {last['new_trigrams_per_text']:.1f} 3-grams each that no text before had; the "
        f"1,935 before those brought {before['new_trigrams_per_text']:.1f} each." in page.text
    )


@pytest.mark.parametrize("texts", [0, 1])
def test_a_set_too_small_to_measure_has_a_section(run, tmp_path, texts):
    work = tmp_path / "work"
    shutil.copytree(run[0], work)
    nothing = {**DIVERSITY["exercises"]["corpus"], "texts": texts, "vendi_texts": texts}
    points = [{"texts": 1, "new_trigrams_per_text": 0.0, "measures": nothing}] if texts else []
    (directory,) = work.glob("diversity.textbooks-*")
    found = {"set": nothing, "corpus": nothing, "curve": points, "coverage": None}
    (directory / "diversity.json").write_text(json.dumps(found))
    made = page_of((work, work / "runs" / "mini" / "run.json"), tmp_path)
    assert holds(made.cells, list(expected_measures(found)))
    new, near, vendi = made.svgs[-6:-3]
    assert ("not measured" in new) == (texts == 0)
    assert "not measured" in near
    assert "not measured" in vendi


def test_a_curve_of_zeros_has_an_axis_that_can_be_read():
    svg = growth_curve(
        "zeros", "near-duplicates", Growth("near-duplicates (%)", "set", [(1, None), (2, 0.0), (4, 0.0)])
    )
    assert re.findall(r">([\d.e-]+)</text>", svg) == ["4", "0", "0.25", "0.5", "0.75", "1"]


def test_damaged_measures_are_one_line(run, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(run[0], work)
    (directory,) = work.glob("diversity.textbooks-*")
    (directory / "diversity.json").write_text('{"set": {}}')
    with pytest.raises(UserError, match=r"diversity\.json: .*again$"):
        collect(work, work / "runs" / "mini" / "run.json")


def test_the_ledger_is_that_of_the_manifests_and_adds_up(page):
    total = {key: sum(ledger[key] for ledger in LEDGERS.values()) for key in LEDGERS["topics"] if key != "model"}
    reasons = ("9 cut off", "2 no reply", "2 refused", "23 unparsed", "15 wrong schema")
    shown = {step: ", ".join(f"{rows} {reason}" for reason, rows in found.items()) for step, found in FAILURES.items()}
    dollars = {
        "topics": ("$0.0271", "$0.00"),
        "textbooks": ("$41.24", "$0.0438"),
        "exercises": ("$63.50", "$0.0062"),
        "independent_tests": ("$50.25", "$0.00"),
        "all": ("$155.01", "$0.0500"),
    }
    for step, ledger in {**LEDGERS, "all": total}.items():
        keys = ("requests_sent", "lost", "refused", "from_journal", "prompt_tokens", "completion_tokens")
        numbers = [f"{ledger[key]:,}" for key in keys]
        failed = (", ".join(reasons) if step == "all" else shown[step]) or "none"
        assert holds(page.cells, [*numbers, *dollars[step], failed])
    assert "$155.01" in page.cells[: page.cells.index("34,420")]  # a card at the head of the page
    assert "By the built-in teacher (offline rules, not an LLM), at no cost: annotate." in page.text


def test_prompts_are_shown_in_full_and_as_they_are(page):
    for prompts in PROMPTS.values():
        for text in prompts.values():
            seen = text.replace("\x00", "⟨U+0000⟩").replace("\x1b", "⟨U+001B⟩")
            seen = seen.replace("\u202e", "⟨U+202E⟩").replace("\u202c", "⟨U+202C⟩").replace("\ufdd0", "⟨U+FDD0⟩")
            assert page.text.count(seen) == 1
    facts = [json.loads(text) for text in page.texts if text.startswith('{\n "facts"')]
    assert [found["facts"]["prompts"] for found in facts if found["facts"].get("prompts")] == (
        ["shown in the section Teacher"] * len(PROMPTS)
    )


def test_long_tables_of_facts_are_cut_and_say_so(run):
    step = replace(collect(*run).steps[0], facts={"topics": {f"topic {n}": n for n in range(20_000)}})
    shown = json.loads(facts_json(step))["facts"]["topics"]
    assert len(shown) == 501
    assert shown["topic 499"] == 499
    assert shown["…"] == "19,500 more"


def test_a_run_without_a_language_model_says_so_and_shows_no_dollars(builtin_page):
    text = " ".join(builtin_page.text.split())
    assert (
        "No step asked a language model: the teacher of this run was the built-in one (offline rules, not an LLM), and "
        "cost nothing." in text
    )
    assert "None were sent: the built-in teacher" in text
    assert "$" not in "".join(builtin_page.cells).replace("${7*7}", "")


def test_disagreement_is_that_of_verify(page):
    assert holds(page.cells, [f"{AGREEMENT['sets_of_tests']:,}", "4.4%", "1,234 of 34,000 (3.6%)", "321"])


def test_one_set_of_tests_cannot_disagree_with_itself(builtin_page):
    unmeasured = "not measured: each exercise has one set of tests"
    assert holds(builtin_page.cells, ["34,000", "1.7%", unmeasured, unmeasured])
    assert "The built-in teacher computes its tests from its own solutions" in builtin_page.text


@pytest.mark.parametrize("kind", ["page", "builtin_page"])
def test_sections_whose_code_did_not_run_are_counted_and_shown(request, kind):
    found = request.getfixturevalue(kind)
    for outcome, rows in CODE.items():
        assert holds(found.cells, [f"{rows:,}", "<0.1%" if rows == 2 else f"{100 * rows / 8000:.1f}%"]), outcome
    text = " ".join(found.text.split())
    assert ("code does not run is dropped" in text) == (kind == "page")
    assert ("code does not run is kept, and marked" in text) == (kind == "builtin_page")


def test_broken_sections_are_drawn_from_both_outcomes(run, builtin_run):
    for made, detail in ((run, f"NameError: {HOSTILE[0]}"), (builtin_run, "")):
        (textbooks,) = collect(*made).textbooks
        found = textbooks.broken
        assert {sample.outcome for sample in found} == {"failed", "timeout"}
        assert {sample.detail for sample in found} == {detail}
        assert all(sample.text.startswith("# ") for sample in found)


@pytest.mark.parametrize("step", LEFT_OUT)
def test_a_step_that_is_not_finished_breaks_no_section(run, tmp_path, step):
    work = tmp_path / "work"
    shutil.copytree(run[0], work)
    (directory,) = work.glob(f"{step}-*")
    (directory / "manifest.json").unlink()
    made = page_of((work, work / "runs" / "mini" / "run.json"), tmp_path)
    assert made.open == []
    text = " ".join(made.text.split())
    assert f"are still to come ({step})" in text
    for name, sentence in LEFT_OUT.items():
        assert (f"{sentence}: left out" in text) == (name == step)
