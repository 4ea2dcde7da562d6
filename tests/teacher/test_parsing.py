"""Replies as models write them: tolerant of how they are wrapped, strict about what is in them, quick to give up."""

import ast
import json
import time
from contextlib import suppress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hornbook.teacher.parsing import (
    ExerciseReply,
    GradeReply,
    RatingReply,
    SafetyReply,
    TeacherError,
    TestsReply,
    TopicsReply,
    parse_json,
    split_exercise,
    split_section,
    split_tests,
)

RATING = {"document": "00ff12ab", "rationale": "Clear, and about one idea.", "score": 3.5}
PLAIN = json.dumps(RATING)
START = '{"document": "00ff12ab", "rationale": "x", "score": '


def refused(what, *arguments):
    """The reason and detail with which a parser refuses."""
    with pytest.raises(TeacherError) as error:
        what(*arguments)
    return error.value.reason, error.value.detail


# ---- JSON, and what stands around it ----


@pytest.mark.parametrize(
    "reply",
    [
        PLAIN,
        f"\ufeff{PLAIN}",
        f"\n\n{PLAIN}\n\n",
        f"```json\n{PLAIN}\n```",
        f"```\n{PLAIN}\n```\n",
        f"```json\r\n{PLAIN}\r\n```",
        f"Sure! Here is the rating:\n\n{PLAIN}\n\nI hope that helps.",
        f"Here is the rating:\n```json\n{PLAIN}\n```\nLet me know {{if}} more is needed.",
        f"The file uses {{x}} and {{}}: {PLAIN}",
        f"For f'{{a: 1}}' I say\n{PLAIN}",
        f"<think>\nIs it {{clear}}? {START}1}} no.\n</think>\n\n{PLAIN}",
        f"It is {{clear}}, I think. {START}1}} no.\n</think>\n\n{PLAIN}",
        f"[{PLAIN}]",
        f'{{"result": {PLAIN}}}',
        f"{PLAIN}}}}}",
        f"{PLAIN} {START}1}}",
        PLAIN.replace("}", ",}"),
        PLAIN.replace("3.5", '"3.5"'),
        PLAIN.replace(', "', ',\n  "'),
        PLAIN.replace("}", ', "confidence": 0.9, "more": [1, {"a": null}]}'),
        PLAIN.replace('"document"', "document").replace('"score"', "score"),
        PLAIN.replace('"', "'"),
        PLAIN.replace("3.5", "3.5 // of 5\n"),
        PLAIN.replace('"00ff', "“00ff").replace('ab"', "ab”"),
        json.dumps(RATING, indent=2).replace("\n", "\r\n"),
    ],
)
def test_what_stands_around_an_object_is_forgiven(reply):
    assert parse_json(reply, RatingReply).model_dump() == RATING


def test_line_breaks_and_quotes_inside_strings():
    broken = '{"document": "a", "rationale": "one\ntwo\tthree", "score": 1}'
    assert parse_json(broken, RatingReply).rationale == "one\ntwo\tthree"
    quoted = '{"document": "a", "rationale": "the word "idea" is used", "score": 1}'
    assert parse_json(quoted, RatingReply).rationale == 'the word "idea" is used'
    said = PLAIN.replace("Clear", "It strips </think> and {braces}")
    assert "</think>" in parse_json(said, RatingReply).rationale


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        ("", "empty", "white space"),
        (" \n\t", "empty", "white space"),
        ("<think>so</think>\n", "empty", "white space"),
        ("3.5", "unparsed", "no JSON object"),
        ('"3.5"', "unparsed", "no JSON object"),
        ("null", "unparsed", "no JSON object"),
        ("[1, 2]", "unparsed", "no JSON object"),
        ("I cannot rate this.", "unparsed", "no JSON object"),
        (PLAIN[:-1], "unparsed", "no JSON object"),
        (PLAIN[:40], "unparsed", "no JSON object"),
        ("x" * ((1 << 20) + 1), "unparsed", "a reply of 1048577 characters"),
        ("{}", "wrong schema", "document: Field required"),
        ('{"document": "a", "score": 1}', "wrong schema", "rationale: Field required"),
        ('{"document": "a", "rationale": "x"}', "wrong schema", "score: Field required"),
        ('{"Document": "a", "Rationale": "x", "Score": 1}', "wrong schema", "document: Field required"),
        (
            '{"document": null, "rationale": "x", "score": 1}',
            "wrong schema",
            "document: Input should be a valid string",
        ),
        ('{"document": 12, "rationale": "x", "score": 1}', "wrong schema", "document: Input should be a valid string"),
        ('{"document": "a", "rationale": ["x"], "score": 1}', "wrong schema", "rationale: "),
        *(
            (f"{START}{score}}}", "wrong schema", "score: ")
            for score in (
                "null",
                "true",
                "[4]",
                '"four"',
                '"4/5"',
                "4/5",
                "4,5",
                "NaN",
                "Infinity",
                "-1e999",
                '{"v": 4}',
            )
        ),
    ],
)
def test_what_is_no_answer_is_refused_with_its_reason(reply, reason, detail):
    found, told = refused(parse_json, reply, RatingReply)
    assert found == reason
    assert detail in told


JUNK = {
    "braces": "{",
    "objects": "{}",
    "half objects": '{"a":',
    "closed": "{]",
    "quotes": '{"',
    "lists": "[",
    "text": "x",
    "backslashes": "\\",
    "digits": "9",
    "exponents": "1e",
    "fences": "```\n",
    "spaced fences": "```" + " " * 99,
    "spaces": " ",
    "thoughts": "<think>",
    "comments": "/*",
    "words": "'a' “b” ",
    "brackets": "(",
    "line ends": "\n",
}


READERS = {
    "object": lambda text: parse_json(text, RatingReply),
    "section": lambda text: split_section(text, "x"),
    "exercise": lambda text: split_exercise(text, "f"),
    "tests": lambda text: split_tests([text], "f"),
}


@pytest.mark.parametrize("before", ["", "{", START, '{"document": "', "```json\n", "<think>", "Topic: "])
@pytest.mark.parametrize("after", ["", '"}\n```'])
def test_a_megabyte_of_junk_takes_no_time(before, after):
    for junk in JUNK.values():
        text = before + junk * (((1 << 20) - 99) // len(junk)) + after
        for read in READERS.values():
            started = time.process_time()
            with suppress(TeacherError):
                read(text)
            assert time.process_time() - started < 0.5, (before, junk, after)


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_what_is_short_enough_to_be_mended_takes_little_time(junk):
    for size in (120, 250, 1 << 12, 1 << 13):
        for text in ("{" + junk * (size // len(junk) - 1) + "}", START + junk * (size // len(junk) - 54) + '"}'):
            started = time.process_time()
            with suppress(TeacherError):
                parse_json(text, RatingReply)
            assert time.process_time() - started < 3.0  # at worst 1.2 s when nobody else is at work


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("{}[]\"'\\:,ab01.`\n <>/think-“”"), max_size=60) | st.text(max_size=30))
def test_no_text_does_anything_but_parse_or_fail(text):
    for schema in (RatingReply, ExerciseReply, TestsReply, TopicsReply, GradeReply, SafetyReply):
        for reply in (text, START + text, PLAIN[:-1] + text + "}"):
            with suppress(TeacherError):
                assert isinstance(parse_json(reply, schema), schema)
    for read in READERS.values():
        with suppress(TeacherError):
            read(text)


@settings(deadline=None)
@given(st.text(max_size=40), st.floats(0, 5), st.text(st.characters(exclude_characters="{<"), max_size=20))
def test_a_sound_object_survives_whatever_is_said_before_it(rationale, score, prose):
    assume(not any("\ud800" <= c <= "\udfff" for c in rationale))
    reply = prose + json.dumps({"document": "a", "rationale": rationale, "score": score})
    assert parse_json(reply, RatingReply).model_dump() == {"document": "a", "rationale": rationale, "score": score}


@pytest.mark.parametrize("half", ["\\ud83d", "\\udc80"])
def test_halves_of_surrogate_pairs_reach_no_table(half):
    assert parse_json(PLAIN.replace("Clear", half), RatingReply).rationale == "?, and about one idea."
    topics = parse_json(f'{{"topic": "a{half}", "topics": ["b{half}"]}}', TopicsReply)
    assert (topics.topic, topics.topics) == ("a?", ["b?"])
    written = parse_json(f'{{"name": "a", "code": "# {half}", "tests": ["assert a({half})"]}}', ExerciseReply)
    assert (written.code, written.tests) == ("# ?", ["assert a(?)"])
    whole = parse_json(PLAIN.replace("Clear", "\\ud83d\\ude00"), RatingReply)
    assert whole.rationale == "\U0001f600, and about one idea."


# ---- sections ----


@pytest.mark.parametrize(
    ("reply", "topic"),
    [
        ("Topic: lists\n# Lists\n\nText.", "lists"),
        ("\n\n  Topic:   LISTS  \n\n# Lists\n\nText.\n\n\n", "lists"),
        ("Topic: lists\r\n# Lists\r\n\r\nText.\r\n", "lists"),
        ("**Topic:** lists\n# Lists\n\nText.", "lists"),
        ("**Topic: lists**\n# Lists\n\nText.", "lists"),
        ("# Topic: lists\n# Lists\n\nText.", "lists"),
        ("```markdown\nTopic: lists\n# Lists\n\nText.\n```", "lists"),
        ("<think>\nTopic: maps\n</think>\nTopic: lists\n# Lists\n\nText.", "lists"),
        ("Topic: `*args` and **kwargs\n# Lists\n\nText.", "*args and **kwargs"),
        ('Topic: "C*-algebras"\n# Lists\n\nText.', "C*-algebras"),
        ("Topic: why: a question\n# Lists\n\nText.", "why: a question"),
    ],
)
def test_the_line_of_the_topic_is_taken_off(reply, topic):
    assert split_section(reply, topic) == "# Lists\n\nText.\n"


def test_a_section_may_end_in_a_code_block():
    text = "# Lists\n\n```python\nprint(1)\n```\n"
    assert split_section("Topic: lists\n" + text, "lists") == text
    assert split_section("```\nTopic: lists\n" + text + "```", "lists") == text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("Topic: lists", "empty"),
        ("Topic: lists\n\n  \n", "empty"),
        ("# Lists\n\nText.", "wrong schema"),
        ("Sure! Here it is.\nTopic: lists\n\nText.", "wrong schema"),
        ("Topics: lists\n\nText.", "wrong schema"),
        ("Topic: maps\n\nText.", "another reply"),
        ("Topic: lists of lists\n\nText.", "another reply"),
    ],
)
def test_what_is_no_section_on_the_topic_is_refused(reply, reason):
    assert refused(split_section, reply, "lists")[0] == reason


# ---- exercises ----

DOC = '    """Add one."""\n'
DECORATED = f"import math\nfrom os import path as p\n\n\n@math.cache\n@other(1)\nasync def f(\n    x,\n):\n{DOC}"
ODD_LINES = 'def f(x):\n    """A\x0cB\u2028C\x85D\x1cE"""\n'
DEEP = ("(" * 60_000, "x = " + "-" * 60_000 + "1", "x = a" + ".b" * 30_000)


@pytest.mark.parametrize(
    ("code", "prompt", "solution"),
    [
        (f"def f(x):\n{DOC}    return x + 1\n", f"def f(x):\n{DOC}", "    return x + 1\n"),
        (f"\n\ndef f(x):\n{DOC}\n\n    return x + 1", f"def f(x):\n{DOC}", "    return x + 1\n"),
        (f"```python\ndef f(x):\n{DOC}    return x + 1\n```", f"def f(x):\n{DOC}", "    return x + 1\n"),
        (f"```python3\ndef f(x):\n{DOC}    return x + 1\n```\n", f"def f(x):\n{DOC}", "    return x + 1\n"),
        (f"def f(x):\n{DOC}    return x + 1\n".replace("\n", "\r\n"), f"def f(x):\n{DOC}", "    return x + 1\n"),
        (f"def f(x):\n{DOC}    return x + 1\n".replace("\n", "\r"), f"def f(x):\n{DOC}", "    return x + 1\n"),
        ('def f(x):\n\t"""Add one."""\n\treturn x + 1\n', f"def f(x):\n{DOC}", "    return x + 1\n"),
        (f"{DECORATED}    return x + 1\n", DECORATED, "    return x + 1\n"),
        (
            f"def f(x):\n{DOC}    # why\n\n    def g(y):\n        return y + 1\n\n    return g(x)\n\n\n# the end\n",
            f"def f(x):\n{DOC}",
            "    # why\n\n    def g(y):\n        return y + 1\n\n    return g(x)\n\n\n# the end\n",
        ),
        (
            'class f:\n    """Count."""\n\n    def __init__(self):\n        """Begin."""\n        self.n = 0\n',
            'class f:\n    """Count."""\n',
            '    def __init__(self):\n        """Begin."""\n        self.n = 0\n',
        ),
        (
            'def f(x):\n    """Add\n\n    one: \\"\\"\\".\n    """\n    return x + 1\n',
            'def f(x):\n    """Add\n\n    one: \\"\\"\\".\n    """\n',
            "    return x + 1\n",
        ),
        ('def f(x):\n    "Add " "one."\n    return x + 1\n', 'def f(x):\n    "Add " "one."\n', "    return x + 1\n"),
        ('def f(x): # add\n    """D"""; \n    return 1\n', 'def f(x): # add\n    """D""";\n', "    return 1\n"),
        # What ends no line for Python ends none here: a form feed, a line separator, a next line.
        (f"{ODD_LINES}    return x\n", ODD_LINES, "    return x\n"),
        ('\x0cdef f(x):\n    """A"""\n\x0c\n    return x\n', '\x0cdef f(x):\n    """A"""\n', "    return x\n"),
        ("def f(x):\n" + DOC + "    return '\t'.join(x)\n", f"def f(x):\n{DOC}", "    return '\t'.join(x)\n"),
    ],
)  # fmt: skip
def test_an_exercise_is_cut_below_its_docstring(code, prompt, solution):
    assert split_exercise(code, "f") == (prompt, solution)
    ast.parse(prompt + solution)


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        ("", "wrong schema", "does not end with the definition of `f`"),
        ("x = 1\n", "wrong schema", "does not end with"),
        (f"def g(x):\n{DOC}    return 1\n", "wrong schema", "does not end with the definition of `f`"),
        (f"def f(x):\n{DOC}    return 1\n\n\nprint(f(1))\n", "wrong schema", "does not end with"),
        (f"def f(x):\n{DOC}    return 1\n\n\nassert f(1) == 1\n", "wrong schema", "does not end with"),
        (f"def g():\n    pass\n\n\ndef f(x):\n{DOC}    return 1\n", "wrong schema", "something else than imports"),
        (f"X = 1\n\n\ndef f(x):\n{DOC}    return 1\n", "wrong schema", "something else than imports"),
        (f'"""A module."""\n\n\ndef f(x):\n{DOC}    return 1\n', "wrong schema", "something else than imports"),
        ("def f(x):\n    return x + 1\n", "wrong schema", "no body"),
        ("def f(x):\n    y = x\n    return y\n", "wrong schema", "no docstring"),
        ('def f(x):\n    f"""Add {x}."""\n    return x\n', "wrong schema", "no docstring"),
        ('def f(x):\n    b"""Add."""\n    return x\n', "wrong schema", "no docstring"),
        (f"def f(x):\n{DOC}", "wrong schema", "no body"),
        ('def f(x): "Add."; return x\n', "wrong schema", "on the line of the docstring"),
        ('def f(x):\n    """Add."""; return x\n', "wrong schema", "on the line of the docstring"),
        ("def f(x): return x\n", "wrong schema", "no body"),
        ("f = lambda x: x\n", "wrong schema", "does not end with"),
        ("def f(x):\n", "unparsed", "is not Python"),
        (f"def f(x):\n{DOC}  return 1\n", "unparsed", "is not Python"),
        (f"def f(x):\n{DOC}    return 1\x00\n", "unparsed", "null bytes"),
        (f"def f(x):\n{DOC}    return '\ud800'\n", "unparsed", "is not Python"),
        ("print 'x'\n", "unparsed", "is not Python"),
        ("x" * 70_000, "unparsed", "longer than 65536"),
        *((text, "unparsed", "is not Python") for text in DEEP),
        ("if a:\n    pass\n" + "elif a:\n    pass\n" * 3_000, "unparsed", "is not Python"),
    ],
)  # fmt: skip
def test_what_is_no_exercise_is_refused(code, reason, detail):
    found, told = refused(split_exercise, code, "f")
    assert found == reason
    assert detail in told


LINES = st.lists(
    st.sampled_from(
        [
            "x = 1",
            "",
            "   ",
            "\x0c",
            "# é",
            "if x:",
            "    y = '\t\u2028'",
            "    pass",
            '"""s',
            's"""',
            "return x",
            "\ty = 2",
        ]
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(LINES, LINES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_an_exercise_means_the_same_in_two_parts(docstring, body, end):
    lines = [
        "import math",
        "",
        "def f(x):",
        '    """Doc',
        *docstring,
        '    """',
        *(f"    {line}" for line in body),
        "    return 1",
    ]
    code = end.join(lines) + end
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    assume(len(tree.body) == 2)
    prompt, solution = split_exercise(code, "f")
    assert prompt.endswith("\n")
    assert solution.endswith("return 1\n")
    indented = ast.dump(ast.parse(code.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")))
    assert ast.dump(ast.parse((prompt + solution).replace("\t", "    "))) == indented
    assert len(ast.parse(prompt).body[-1].body) == 1  # the docstring alone


# ---- tests ----


@pytest.mark.parametrize(
    ("tests", "found"),
    [
        (["assert f(1) == 2", "assert f(0) == 1"], ("assert f(1) == 2", "assert f(0) == 1")),
        (["assert f(1) == 2\nassert f(0) == 1\n", "assert f(1) == 2"], ("assert f(1) == 2", "assert f(0) == 1")),
        (["```python\nassert f(1) == 2\n```"], ("assert f(1) == 2",)),
        (["  \nassert f(1) == 2  # two\r\n"], ("assert f(1) == 2",)),
        (["assert f(1); assert f('ß€') == 'ß'; assert f(3)"], ("assert f(1)", "assert f('ß€') == 'ß'", "assert f(3)")),
        (["assert f(\n    1,\n) == '''a\nb\u2028'''"], ("assert f(\n    1,\n) == '''a\nb\u2028'''",)),
        (["assert all(f(n) == n for n in range(3)), 'no'"], ("assert all(f(n) == n for n in range(3)), 'no'",)),
        (["", "assert f(1)", "# nothing"], ("assert f(1)",)),
    ],
)  # fmt: skip
def test_assert_statements_are_taken_once_each(tests, found):
    assert split_tests(tests, "f") == found


@pytest.mark.parametrize(
    ("tests", "reason", "detail"),
    [
        ([], "empty", "no tests"),
        (["", "\n"], "empty", "no tests"),
        (["f(1) == 2"], "wrong schema", "no assert statement"),
        (["assert f(1) == 2", "print(f(1))"], "wrong schema", "no assert statement: `print(f(1))`"),
        (["import os\nassert f(1)"], "wrong schema", "no assert statement"),
        (["def test():\n    assert f(1)"], "wrong schema", "no assert statement"),
        (["assert g(1) == 2"], "wrong schema", "does not use `f`"),
        (["assert 'f(1)'"], "wrong schema", "does not use `f`"),
        (["assert x.f(1)"], "wrong schema", "does not use `f`"),
        (["assert f(1) =="], "unparsed", "a test is not Python"),
        (["assert f('\x00')"], "unparsed", "a test is not Python"),
        (["assert f(1)\n"] * 6_000, "unparsed", "longer than 65536"),
        (["assert " + "(" * 900 + "f" + ")" * 900], "unparsed", "a test is not Python"),
    ],
)
def test_what_is_no_test_is_refused(tests, reason, detail):
    found, told = refused(split_tests, tests, "f")
    assert found == reason
    assert detail in told


def test_as_many_tests_as_may_be_take_no_time():
    started = time.process_time()
    assert len(split_tests(["\n".join(f"assert f({n})" for n in range(4_000))], "f")) == 4_000
    assert time.process_time() - started < 2.0
