"""The report against the made-up run of `build_run`: hostile text is inert, and the numbers are the scores."""

import json
import re
from itertools import pairwise

import pytest
from build_run import MODELS, NO_HUMANEVAL, SCORES, build_raw_run, build_unfinished_run
from build_synthesis import DIVERSITY, LEDGERS
from hostile import HOSTILE
from read_page import Page, page_of

from hornbook.errors import UserError
from hornbook.report.collect import collect, read_run, read_scores
from hornbook.report.flow import lanes
from hornbook.report.paper import FIGURE_2_1, paper_groups
from hornbook.report.render import write_report

ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "article", "h1", "h2", "h3",
    "h4", "p", "a", "b", "em", "strong", "small", "span", "div", "code", "pre", "dl", "dt", "dd", "ul", "ol", "li",
    "figure", "figcaption", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "details", "summary", "wbr",
    "svg", "g", "defs", "path", "use", "text", "tspan", "clippath", "rect",
}  # fmt: skip


def test_hostile_text_makes_no_elements_and_no_handlers(page):
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert not [name for _, attributes in page.tags for name in attributes if name.lower().startswith("on")]


def test_the_page_loads_nothing(page):
    links = [
        attributes[name] for _, attributes in page.tags for name in ("src", "href", "xlink:href") if name in attributes
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    styles = "".join(page.styles) + "".join(attributes.get("style") or "" for _, attributes in page.tags)
    assert "@import" not in styles
    assert set(re.findall(r"url\((.)", styles)) <= {"#"}
    policy = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_text_is_shown_as_it_is(page):
    for text in HOSTILE[:3]:
        assert text in page.text


def test_characters_that_steer_a_display_are_shown_by_their_numbers(page, written):
    assert "nul ⟨U+0000⟩ escape ⟨U+001B⟩[31m red" in page.text
    assert "⟨U+202E⟩ evil ⟨U+202C⟩" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", written.read_bytes().decode("utf-8"))


def test_long_lines_are_cut_and_say_so(page):
    assert max(len(line) for line in page.text.splitlines()) < 1000
    assert f"{len(HOSTILE[4]) - 160:,} more characters" in page.text


def test_results_are_the_scores(page):
    cells = " ".join(page.cells)
    for scores in SCORES.values():
        solved, n = scores["drill"]
        assert f"{100 * solved / n:.1f}%" in cells
        for task in ("bits_held_out", "bits_humaneval", "bits_mbpp"):
            assert f"{scores[task]:.3f}{scores[task] - 0.04:.3f} – {scores[task] + 0.04:.3f}n 300 · errors 1" in cells
    assert "62.2%55.2% – 69.2%n 164 · errors 0" in cells


def test_what_was_not_measured_is_unavailable_with_its_reason_and_never_zero(page):
    assert page.cells.count(f"unavailable{NO_HUMANEVAL}") == len(MODELS)
    rates = next(texts for texts in page.svgs if "HumanEval" in texts)
    assert rates.count("unavailable") == len(MODELS)
    assert rates.count("0.0") == 1  # model A solved none of drill; HumanEval adds no zero


def test_every_chart_has_labelled_axes(page):
    labels = [
        {"test set", "problems solved, pass@1 (%)"},
        {"test set", "problems solved, pass@1 (%)"},
        *[{"model", "bits per byte (lower is better)"}] * 3,
        {"tokens seen in this training run (millions)", "loss (nats per token)"},
        {"tokens seen in this training run (millions)", "learning rate (10⁻³)"},
        {"classifier's score (0 to 5)", "documents"},
        *(
            {"number of texts", label, name}
            for name in DIVERSITY
            for label in ("new 3-grams per text", "near-duplicates (%)", "Vendi score")
        ),
    ]
    assert len(page.svgs) == len(labels)
    for texts, wanted in zip(page.svgs, labels, strict=True):
        assert wanted <= set(texts)


def test_ids_are_unique_and_references_meet_them(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    values = [value for _, attributes in page.tags for value in attributes.values() if value]
    referred = [found for value in values for found in re.findall(r"^#([\w-]+)|url\(#([\w-]+)\)", value)]
    hexadecimal = re.compile(r"[0-9a-f]{6}")  # a colour
    assert {a or b for a, b in referred if not hexadecimal.fullmatch(a)} <= set(ids)


def test_colours_follow_the_scheme_of_the_page(written):
    svgs = re.findall(r"<svg.*?</svg>", written.read_text(encoding="utf-8"), re.DOTALL)
    for svg in svgs:
        assert set(re.findall(r"(?:fill|stroke): (#\w+)", svg)) == set()
        assert "var(--muted)" in svg


def test_bars_of_the_paper_stand_beside_ours(page):
    paper = page.svgs[1]
    assert {f"{height:.1f}" for _, bars in FIGURE_2_1 for height in bars} == {
        "12.2", "20.1", "45.0", "17.0", "29.0", "50.6",
    }  # fmt: skip
    for _, bars in FIGURE_2_1:
        for height in bars:
            assert f"{height:.1f}" in paper


def test_the_same_run_gives_the_same_bytes(run, written, tmp_path):
    again = tmp_path / "again.html"
    write_report(*run, again)
    assert again.read_bytes() == written.read_bytes()


def test_flow_follows_each_training_set_to_its_models(run):
    found = lanes(collect(*run))
    assert [(lane.title, lane.read_by) for lane in found] == [
        ("Raw code", (("A", 1.0),)),
        ("Filtered code", (("B", 0.3),)),
        ("Synthetic textbooks", (("B", 0.7),)),
        ("Synthetic exercises", (("C", 1.0),)),
    ]
    assert [[box.kind for box in lane.boxes] for lane in found[1:]] == [
        ["corpus", "score", "filter", "dedup", "decontaminate", "pack"],
        ["topics", "corpus", "textbooks", "examples", "dedup", "decontaminate", "pack"],
        ["exercises", "independent_tests", "verify", "dedup", "decontaminate", "pack"],
    ]
    assert [[box.aside for box in lane.boxes if box.aside] for lane in found] == [
        [], [], ["topics", "texts to draw extracts from"], ["sets of tests"],
    ]  # fmt: skip
    for lane in found:
        rows = [box for box in lane.boxes if not box.aside]
        for before, after in pairwise(rows):
            assert after.read == before.kept - (before.held_out or 0)
        for box in lane.boxes:
            assert box.read == box.kept + sum(drop.rows for drop in box.drops)


def test_samples_show_both_verdicts(run):
    record = collect(*run)
    assert {sample.reason for sample in record.exercises} == {"", "failed", "timeout", "outvoted"}
    last = [problem.answers[-1].outcome for problem in record.problems]
    assert last == ["passed"] * 3 + ["failed"] * 3 + ["timeout"]
    assert [answer.model for answer in record.problems[0].answers] == ["A", "B", "C"]
    for problem in record.problems:
        number = problem.task_id.removeprefix("drill/")
        assert f"def double_{number}(x)" in problem.prompt


def test_the_builtin_teacher_is_named_for_what_it_is(builtin_page):
    assert builtin_page.text.count("builtin (offline rules, not an LLM)") >= 3


def test_a_language_model_is_named(page):
    model = LEDGERS["textbooks"]["model"]
    assert f"Textbooks by {model}, exercises by\n{model}." in page.text


def test_an_unfinished_run_says_what_is_left_out(tmp_path):
    work = tmp_path / "work"
    run_file = build_unfinished_run(work)
    write_report(work, run_file, tmp_path / "report.html")
    text = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).text.split())
    assert "9 of 14 steps are still to come" in text
    for left_out in (
        "Scores", "Loss curves", "Textbooks", "Sections whose code did not run", "Exercises and their verdicts",
        "Costs of textbooks, exercises", "Prompts", "Answers",
    ):  # fmt: skip
        assert f"{left_out}: left out" in text
    assert "score below the cut" in text


def test_a_run_without_filter_and_synthetic_data_says_so_and_waits_for_nothing(tmp_path):
    work = tmp_path / "work"
    page = page_of((work, build_raw_run(work)), tmp_path)
    text = " ".join(page.text.split())
    assert "left out, because" not in text
    assert "No model of this run is trained on a filtered corpus." in text
    assert "This run has no synthetic data." in text
    assert "drill" not in text[: text.index("Recipe as resolved")]
    row = ["A", "4,120,576", "Raw code", "100.0%", "1.23", "2.718", "the best, after step 20"]
    start = page.cells.index(row[0])
    assert page.cells[start : start + len(row)] == row


def test_bars_of_the_paper_are_those_of_models_of_its_names():
    first, second = paper_groups(["B", "C"])
    assert [(bar.name, bar.series, bar.height) for bar in first.bars] == [("B", 0, 20.12), ("C", 1, 45.0)]
    assert [bar.height for bar in second.bars] == [29.0, 50.6]
    assert [bar.height for bar in paper_groups(["B", "C", "A"])[1].bars] == [29.0, 50.6, 17.0]
    assert paper_groups(["A"]) == paper_groups(["B", "C", "student"]) == ()


def test_a_run_of_which_nothing_finished_has_a_report(run, tmp_path):
    _, run_file = run
    write_report(tmp_path / "elsewhere", run_file, tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "30 of 30 steps are still to come" in " ".join(text.split())


def test_scores_are_read_as_they_were_written(run):
    work, run_file = run
    scores = read_scores(read_run(work, run_file))
    assert list(scores) == ["A", "B", "C"]
    (directory,) = work.glob("eval.C-*")
    assert scores["C"] == json.loads((directory / "scores.json").read_text())


@pytest.mark.parametrize(
    "content", ["", "[]", '{"name": "x"}', '{"name": 1, "arm": 0, "recipe": {}, "steps": [1], "models": {}}']
)
def test_a_damaged_description_is_one_line(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"run\.json: .*again$"):
        read_run(tmp_path, path)
