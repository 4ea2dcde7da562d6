"""Textbook sections: what they print is what their code prints."""

import contextlib
import io
import json
import re
from functools import cache

import pytest

from hornbook.recipe import LanguageModel, MachineConfig, TextbooksConfig
from hornbook.records import Document, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import TextbooksStep
from hornbook.synthesize.sampling import BUILTIN_TOPICS, draw_extracts, section_requests
from hornbook.synthesize.textbooks import judge, overlap_with, write_textbooks
from hornbook.synthesize.topic_tree import read_words
from hornbook.tables import read_rows, write_rows
from hornbook.teacher.builtin import teacher as builtin
from hornbook.teacher.builtin.finishes import FINISHES
from hornbook.teacher.builtin.grammar import FAMILIES, is_reserved
from hornbook.teacher.builtin.lessons import AUDIENCES, TOOLS
from hornbook.teacher.builtin.lessons import TOPICS as LESSONS
from hornbook.teacher.builtin.textbook import STYLES, printable_example
from hornbook.teacher.builtin.wording import Pen
from hornbook.teacher.request import Answer, TextbookRequest

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
INLINE = re.compile(r"`[^`\n]*`")
ANSWER = re.compile(r"Question: what does `(.*)` print\?\n\nAnswer: it prints `(.*)`\.")


@cache
def sections(count):
    request_of = section_requests("builtin", "code", (), ())
    return [(request, builtin.answer(request).value) for request in (request_of(4, number) for number in range(count))]


def output_of(program):
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        exec(program, {"__name__": "section"})
    return heard.getvalue()


def test_printed_outputs_are_real():
    for _, text in sections(400):
        blocks = BLOCK.findall(text)
        assert blocks
        for block in blocks:
            assert output_of(block) == "".join(line + "\n" for line in PRINTED.findall(block))


def test_answers_are_real():
    answered = 0
    for request, text in sections(400):
        for call, answer in ANSWER.findall(text):
            definition = BLOCK.findall(text)[0].split("\n\n\nprint(")[0]
            assert output_of(f"{definition}\n{call}\n") == answer + "\n"
            answered += 1
        assert (request.style == "question and answer") == bool(ANSWER.search(text))
    assert answered > 40


def test_sections_read_like_text():
    for request, text in sections(400):
        prose = INLINE.sub("code", BLOCK.sub("code", text))
        words = len(re.findall(r"\w+", prose))
        assert 35 <= words <= 220, text
        assert text.startswith("# ")
        assert request.topic.lower() in text.split("\n")[0].lower()
        assert not re.search(r"@|  +[A-Z]|\n\n\n| \.| ,", prose), text
        assert "@" not in text.replace('"@"', "")


def test_every_topic_reader_and_tool_has_its_prose():
    assert set(LESSONS) == {family.name for family in FAMILIES}
    assert set(TOOLS) == {finish.name for finish in FINISHES}
    assert all(len(sentences) >= 2 for sentences in LESSONS.values())
    assert len(AUDIENCES) >= 10
    for sentences in (*LESSONS.values(), *TOOLS.values(), *AUDIENCES.values()):
        for sentence in sentences:
            assert sentence[0].isupper()
            assert sentence.endswith(".")


def test_examples_are_never_reserved():
    for family in FAMILIES:
        for seed in range(5):
            assert not is_reserved(printable_example(family, Pen(seed)).made.composition)


def run(directory, count, workers):
    directory.mkdir()
    asked = TextbooksConfig(teacher="builtin", about="code", extracts=None, count=count, failure_limit=0.0)
    config = TextbooksStep(textbooks=asked, seed=4)
    return write_textbooks(
        config, {}, Workspace(directory, MachineConfig(workers=workers), Silent(), directory, "test")
    )


def test_the_step(tmp_path):
    result = run(tmp_path / "1", 300, 1)
    run(tmp_path / "2", 300, 2)
    rows = list(read_rows(tmp_path / "1" / "documents.parquet", Document))
    assert (tmp_path / "1" / "documents.parquet").read_bytes() == (tmp_path / "2" / "documents.parquet").read_bytes()
    assert result.counts.balanced()
    assert len({row.text for row in rows}) == len(rows) == result.counts.kept == 300
    assert {row.source for row in rows} == {"textbook"}
    for row in rows:
        meta = json.loads(row.meta)
        assert row.id == content_id(row.text)
        assert meta["topic"] in BUILTIN_TOPICS
        assert meta["audience"] in AUDIENCES
        assert meta["style"] in STYLES
    assert len({json.loads(row.meta)["audience"] for row in rows}) == len(AUDIENCES)
    assert [row.text for row in rows[:20]] == [text for _, text in sections(400)[:20]]


def test_overlap_counts_phrases_of_eight_words():
    extract = "one two three four five six seven eight nine ten eleven twelve"
    assert overlap_with(extract.upper().replace(" ", ", "), extract) == 1.0
    assert overlap_with("one two three four five six seven and eight nine ten eleven twelve", extract) == 0.0
    # Ten phrases of eight words, two of them in the extract.
    mixed = "one two three four five six seven eight nine a b c d e f g h"
    assert overlap_with(mixed, extract) == 2 / 10
    assert overlap_with("too short", extract) == 0.0


@pytest.mark.parametrize(("most", "reason"), [(0.5, ""), (0.1, "copied")])
def test_a_section_that_copies_its_extract_is_dropped(most, reason):
    extract = "one two three four five six seven eight nine ten eleven twelve"
    text = "one two three four five six seven eight nine a b c d e f g h\n"
    request = TextbookRequest(
        "counting", "a child", "a letter", 0, about="general", path="Numbers > counting", extract=extract
    )
    written = judge(most, request, Answer("00", text))
    assert written.reason == reason
    meta = json.loads(written.row.meta)
    assert meta["overlap"] == "0.2000"
    assert meta["extract"] == content_id(extract)
    assert meta["path"] == "Numbers > counting"


def test_extracts_are_drawn_by_hash_and_start_at_a_line(tmp_path):
    rows = [Document(content_id(str(n)), f"line {n}\n" * 2000, "s", "{}") for n in range(30)]
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "documents.parquet", Document, order)
    drawn = draw_extracts(tmp_path / "a", 1)
    assert drawn == draw_extracts(tmp_path / "b", 1)
    assert drawn != draw_extracts(tmp_path / "a", 2)
    assert len(drawn) == 30
    for extract in drawn:
        assert 1000 < len(extract) <= 1500
        assert len(set(extract.split("\n")[:-1])) == 1  # whole lines of one document
    assert draw_extracts(None, 1) == ()


def test_a_model_is_asked_for_topic_audience_style_and_words():
    model = LanguageModel(model="openai:m", temperature=None, top_p=None, max_tokens=10)
    extracts = ("the first extract", "the second extract")
    request_of = section_requests(model, "general", (), extracts)
    requests = [request_of(1, number) for number in range(2000)]
    assert requests == [request_of(1, number) for number in range(2000)]
    words = read_words()
    for request in requests:
        assert request.audience in words.audiences
        assert request.style in words.styles
        assert request.path.endswith(request.topic)
        assert request.extract in extracts
        text = request.render()
        assert all(
            part in text for part in (request.topic, request.audience, request.style, *request.words, request.extract)
        )
    assert len({(r.topic, r.audience, r.style, r.words) for r in requests}) == 2000
    assert len({request.topic for request in requests}) > 400
