"""Drawing evenly over sources, and ratings that do not depend on how the work was spread."""

from collections import Counter
from pathlib import Path

import pytest

from hornbook.curate.annotate import annotate_documents, clip, draw_evenly
from hornbook.errors import UserError
from hornbook.recipe import AnnotateConfig, MachineConfig
from hornbook.records import Document, Failed, Rating, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Result, Workspace
from hornbook.step_config import AnnotateStep
from hornbook.tables import read_rows, write_rows
from hornbook.teacher.builtin.rate import rate_document
from hornbook.teacher.builtin.rate_prose import rate_prose
from hornbook.teacher.builtin.teacher import DISPLAY_NAME, BuiltinTeacher
from hornbook.teacher.request import Answer, Failure, Rated, RateRequest, request_id


def corpus_of(directory: Path, sizes: dict[str, int]) -> Path:
    directory.mkdir(parents=True)
    rows = []
    for source, size in sizes.items():
        for number in range(size):
            text = f"def {source}_{number}(x):\n    if x > {number}:\n        return x - {number}\n    return x\n"
            rows.append(Document(content_id(text), text, source, "{}"))
    rows.sort(key=lambda row: row.id)
    write_rows(directory / "documents.parquet", Document, rows)
    return directory


def annotate(corpus: Path, out: Path, sample: int, workers: int = 1, failure_limit: float = 0.0) -> Result:
    out.mkdir(parents=True)
    config = AnnotateStep(
        annotate=AnnotateConfig(
            teacher="builtin", about="code", sample=sample, max_characters=None, failure_limit=failure_limit
        ),
        seed=3,
    )
    return annotate_documents(
        config, {"corpus": corpus}, Workspace(out, MachineConfig(workers=workers), Silent(), out, "test")
    )


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (9, {"big": 3, "middle": 3, "small": 3}),
        (30, {"big": 13, "middle": 13, "small": 4}),  # small is exhausted; the others share the rest
        (100, {"big": 60, "middle": 20, "small": 4}),  # more than there is: everything
    ],
)
def test_sources_take_turns_until_exhausted(tmp_path: Path, sample: int, expected: dict[str, int]) -> None:
    corpus = corpus_of(tmp_path / "corpus", {"big": 60, "middle": 20, "small": 4})
    drawn = draw_evenly(corpus / "documents.parquet", sample, seed=1)
    assert Counter(drawn.values()) == expected
    source_of = {row.id: row.source for row in read_rows(corpus / "documents.parquet", Document)}
    assert drawn == {identity: source_of[identity] for identity in drawn}


def test_the_draw_follows_the_seed_and_not_the_order_of_the_corpus(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", {"a": 40, "b": 40}) / "documents.parquet"
    backwards = tmp_path / "backwards.parquet"
    write_rows(backwards, Document, reversed(list(read_rows(corpus, Document))))
    assert set(draw_evenly(corpus, 20, seed=1)) == set(draw_evenly(backwards, 20, seed=1))
    assert set(draw_evenly(corpus, 20, seed=1)) != set(draw_evenly(corpus, 20, seed=2))


def test_ratings_are_the_teachers_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", {"a": 10, "b": 30})
    result = annotate(corpus, tmp_path / "out", sample=20)
    ratings = list(read_rows(tmp_path / "out" / "ratings.parquet", Rating))
    documents = {row.id: row for row in read_rows(corpus / "documents.parquet", Document)}
    assert [rating.id for rating in ratings] == [
        identity for identity in documents if identity in {r.id for r in ratings}
    ]
    for rating in ratings:
        document = documents[rating.id]
        assert Rated(rating.score, rating.rationale) == rate_document(document.text)
        assert rating.request == request_id(RateRequest(document.text, document.source))
        assert rating.teacher == DISPLAY_NAME
    assert result.counts is not None
    assert (result.counts.read, result.counts.kept, result.counts.failed) == (20, 20, 0)
    assert sum(column["count"] for column in result.facts["scores"]) == 20
    assert result.facts["sources"] == {"a": 10, "b": 10}
    assert "not an LLM" in result.facts["teacher"]
    assert list(read_rows(tmp_path / "out" / "failed.parquet", Failed)) == []


def test_two_workers_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", {"a": 30, "b": 50})
    annotate(corpus, tmp_path / "one", sample=60, workers=1)
    annotate(corpus, tmp_path / "two", sample=60, workers=2)
    for name in ("ratings.parquet", "failed.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


class Mumbler(BuiltinTeacher):
    """Says nothing of use about one source."""

    def answers(self, requests):  # type: ignore[no-untyped-def]
        for request in requests:
            asked = request_id(request)
            if request.source == "silent":
                yield Answer(asked, None, Failure("unparsed", "no JSON object in the reply", "Well, well."))
            else:
                yield Answer(asked, Rated(2.0, "fine"))


def test_replies_of_no_use_are_failed_and_never_low_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hornbook.curate.annotate.load_teacher", lambda config, work, step: Mumbler(1))
    corpus = corpus_of(tmp_path / "corpus", {"silent": 3, "plain": 5})
    result = annotate(corpus, tmp_path / "out", sample=12, failure_limit=0.5)
    assert result.counts is not None
    assert (result.counts.read, result.counts.kept, result.counts.failed) == (8, 5, 3)
    failed = list(read_rows(tmp_path / "out" / "failed.parquet", Failed))
    silent = [row.id for row in read_rows(corpus / "documents.parquet", Document) if row.source == "silent"]
    assert [row.id for row in failed] == silent
    assert {(row.reason, row.detail, row.raw) for row in failed} == {
        ("unparsed", "no JSON object in the reply", "Well, well.")
    }
    assert {rating.score for rating in read_rows(tmp_path / "out" / "ratings.parquet", Rating)} == {2.0}


def test_too_many_failures_stop_before_the_rest_is_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Counting(Mumbler):
        def answers(self, requests):  # type: ignore[no-untyped-def]
            for request in requests:
                asked.append(request)
                yield from super().answers([request])

    monkeypatch.setattr("hornbook.curate.annotate.load_teacher", lambda config, work, step: Counting(1))
    corpus = corpus_of(tmp_path / "corpus", {"silent": 50})
    with pytest.raises(UserError, match=r"6 of 50 ratings failed \(unparsed 6\), more than the limit of 10.0%"):
        annotate(corpus, tmp_path / "out", sample=50, failure_limit=0.1)
    assert len(asked) == 6


def test_an_empty_corpus_is_the_users_to_mend(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", {})
    with pytest.raises(UserError, match=r"documents\.parquet: holds no documents"):
        annotate(corpus, tmp_path / "out", sample=5)


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("short\n", 6, "short\n"),
        ("short\n", None, "short\n"),
        ("x" * 95 + "\n" + "y" * 20, 100, "x" * 95 + "\n[… 20 more characters]\n"),  # at the end of a line, if near
        ("x" * 20 + "\n" + "y" * 1200, 100, "x" * 20 + "\n" + "y" * 79 + "\n[… 1,121 more characters]\n"),
    ],
)
def test_a_long_document_is_cut_and_says_so(text: str, most: int | None, expected: str) -> None:
    assert clip(text, most) == expected


def test_prose_is_asked_about_as_prose(tmp_path: Path) -> None:
    texts = [f"Rain falls because water vapour cools. Cloud number {n} is an example of this. " * 8 for n in range(6)]
    rows = [Document(content_id(text), text, "web", "{}") for text in texts]
    (tmp_path / "corpus").mkdir()
    write_rows(tmp_path / "corpus" / "documents.parquet", Document, rows)
    asked = AnnotateConfig(teacher="builtin", about="prose", sample=6, max_characters=None, failure_limit=0.0)
    (tmp_path / "out").mkdir()
    place = Workspace(tmp_path / "out", MachineConfig(), Silent(), tmp_path, "test")
    annotate_documents(AnnotateStep(annotate=asked, seed=3), {"corpus": tmp_path / "corpus"}, place)
    ratings = list(read_rows(tmp_path / "out" / "ratings.parquet", Rating))
    assert [Rated(rating.score, rating.rationale) for rating in ratings] == [rate_prose(text) for text in texts]
    assert ratings[0].request == request_id(RateRequest(texts[0], "web", "prose"))
