"""The frozen evaluation sets that are no programs, as rows of plain values; their checksums are over those rows.

A row has the columns that lm-evaluation-harness reads of the hub's data set, so its tasks take it as it is. The
authors' files and the hub's Parquet become the same rows, and a changed byte in either is noticed. One set is not the
same in both places: the file of HellaSwag is a mirror that has its contexts joined already, and differs from what the
harness makes of the hub's in the white space of some endings; so of the hub's the file's own checksum is compared.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hornbook import setfiles
from hornbook.errors import UserError
from hornbook.setfiles import Row, SetFiles

AI2 = "allenai/ai2_arc", "210d026faf9955653af8916fad021475a3f00453"
MMLU = "cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe"
SAFENLP = "https://raw.githubusercontent.com/microsoft/SafeNLP"


@dataclass(frozen=True, slots=True)
class RowSet(SetFiles):
    """Where the rows of a set are found, and how they are read."""

    checksum: str  # see checksum()
    authors: Callable[[Path], Iterator[Row]]  # the rows of the authors' file
    hub: Callable[[Row], Row]  # a row of the hub's, or as it is kept in the cache


@dataclass(frozen=True, slots=True)
class OnGitHub(RowSet):
    """A set whose one public place is its authors' repository, as JSON."""

    @property
    def addresses(self) -> list[str]:
        """Of the file at its commit."""
        return [f"{self.repository}/{self.revision}/{file}" for file in self.hub_files]


def _same(row: Row) -> Row:
    return row


def _lines(*fields: str) -> Callable[[Path], Iterator[Row]]:
    return lambda path: setfiles.read_rows(path, fields)


def _labels(path: Path, name: str) -> list[str]:
    with gzip.open(path.with_name(name), "rt", encoding="ascii") as lines:
        return [line.strip() for line in lines]


def _questions(stem: str) -> Callable[[Path], Iterator[Row]]:
    """ARC's and OpenBookQA's form: choices as two lists, the question under the name `stem`."""

    def read(path: Path) -> Iterator[Row]:
        for row in setfiles.read_rows(path, ("id", "question", "answerKey")):
            choices = row["question"]["choices"]
            columns = {key: [choice[key] for choice in choices] for key in ("text", "label")}
            yield {
                "id": row["id"], stem: row["question"]["stem"], "choices": columns, "answerKey": row["answerKey"],
            }  # fmt: skip

    return read


def _listed(row: Row) -> Row:
    """Choices of the hub, whose lists may come as arrays."""
    return row | {"choices": {key: list(row["choices"][key]) for key in ("text", "label")}}


def _boolq(path: Path) -> Iterator[Row]:
    for row in setfiles.read_rows(path, ("question", "passage", "idx", "label")):
        yield row | {"label": int(row["label"] in ("true", True))}


def _labelled(labels: str, *fields: str, number: bool) -> Callable[[Path], Iterator[Row]]:
    """Rows whose labels stand in a file beside them, line by line."""

    def read(path: Path) -> Iterator[Row]:
        for row, label in zip(setfiles.read_rows(path, fields), _labels(path, labels), strict=True):
            yield row | {"label": int(label) if number else label}

    return read


def _hellaswag(path: Path) -> Iterator[Row]:
    for row in setfiles.read_rows(path, ("query_capitalized", "endings", "label")):
        yield {"query": row["query_capitalized"], "choices": list(row["endings"]), "gold": int(row["label"])}


def _hellaswag_of_hub(row: Row) -> Row:
    """As the harness makes it: contexts joined, marks of WikiHow taken out."""
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    endings = [_without_marks(ending) for ending in row["endings"]]
    return {"query": _without_marks(context), "choices": endings, "gold": int(row["label"])}


def _without_marks(text: str) -> str:
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def _mmlu(path: Path) -> Iterator[Row]:
    for row in setfiles.read_rows(path, ("subject", "question", "choices", "answer")):
        yield row | {"answer": "ABCD".index(row["answer"])}


def _squad(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for article in json.load(file)["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield {
                        "id": question["id"],
                        "title": article["title"],
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": [one if isinstance(one, str) else one["text"] for one in question["answers"]],
                    }


def _squad_of_hub(row: Row) -> Row:
    return row | {"answers": list(row["answers"]["text"])}


ARC_FIELDS = ("id", "question", "choices", "answerKey")
MMLU_FIELDS = ("subject", "question", "choices", "answer")
TOXIGEN_FIELDS = ("id", "text", "toxicity_score", "label", "target_groups")
SIQA_FIELDS = ("context", "question", "answerA", "answerB", "answerC")

SETS: dict[str, RowSet] = {
    "winogrande": RowSet(
        "winogrande/dev.jsonl.gz",
        "allenai/winogrande",
        "01e74176c63542e6b0bcb004dcdea22d94fb67b5",
        ("winogrande_xl/validation-00000-of-00001.parquet",),
        ("sentence", "option1", "option2", "answer"),
        "60e0492e19ab80d4d5355d055b659df7e2a8524d084a28bab14e764492ed2f98",
        _lines("sentence", "option1", "option2", "answer"),
        _same,
    ),
    "arc_easy": RowSet(
        "arc/ARC-Easy-Test.jsonl.gz",
        *AI2,
        ("ARC-Easy/test-00000-of-00001.parquet",),
        ARC_FIELDS,
        "dc44177ae3ba091a808e4362e61980a66592c1cdba6dfb3ef7250994daf413b8",
        _questions("question"),
        _listed,
    ),
    "arc_challenge": RowSet(
        "arc/ARC-Challenge-Test.jsonl.gz",
        *AI2,
        ("ARC-Challenge/test-00000-of-00001.parquet",),
        ARC_FIELDS,
        "c004185f74047b4007e01016779edb03b8b6e48a0dd28444ee4f58af88c5b2fe",
        _questions("question"),
        _listed,
    ),
    "boolq": RowSet(
        "boolq/superglue_val.jsonl.gz",
        "aps/super_glue",
        "3de24cf8022e94f4ee4b9d55a6f539891524d646",
        ("boolq/validation-00000-of-00001.parquet",),
        ("question", "passage", "idx", "label"),
        "b967b69fd29666d5b6fb990d1d575d1727ce0b7572625d1635e542e51363fb03",
        _boolq,
        _same,
    ),
    "social_iqa": RowSet(
        "socialiqa/dev.jsonl.gz",
        "lighteval/siqa",
        "54c6a1f8cb6daf4f5abf24a601852612fb35eb25",
        ("data/validation-00000-of-00001.parquet",),
        (*SIQA_FIELDS, "label"),
        "540114f87444da38481d9e82e5e83a9d3a6ee54a763343e906fb637721391d32",
        _labelled("dev-labels.lst.gz", *SIQA_FIELDS, number=False),
        _same,
    ),
    "piqa": RowSet(
        "piqa/valid.jsonl.gz",
        "baber/piqa",
        "142f6d7367fd9877f0fb3b5734ea6a545f54cdd1",
        ("piqa_validation.parquet",),
        ("goal", "sol1", "sol2", "label"),
        "445a652265a3c7a60a79a17e54c00403e61238a1c970fd329345f6dcbf1134c7",
        _labelled("valid-labels.lst.gz", "goal", "sol1", "sol2", number=True),
        _same,
    ),
    "hellaswag": RowSet(
        "hellaswag/hellaswag_val.jsonl.gz",
        "Rowan/hellaswag",
        "218ec52e09a7e7462a5400043bb9a69a41d06b76",
        ("data/validation-00000-of-00001.parquet",),
        ("activity_label", "ctx_a", "ctx_b", "endings", "label"),
        "392120709af0c1a24fbc8490f5a49754f8fc94d67d916f390bd5e76465692f4d",
        _hellaswag,
        _hellaswag_of_hub,
        hub_sha256="899813071e1e95efafec90f856e1987d2150fa4d020fc005df6962c259f660cd",
    ),
    "openbookqa": RowSet(
        "openbookqa/test.jsonl.gz",
        "allenai/openbookqa",
        "388097ea7776314e93a529163e0fea805b8a6454",
        ("main/test-00000-of-00001.parquet",),
        ("id", "question_stem", "choices", "answerKey"),
        "2dcf823dba46be337b5b4b35aa199ebf2cba55332286cceb5c6b90c4e225a1c7",
        _questions("question_stem"),
        _listed,
    ),
    "mmlu": RowSet(
        "mmlu/test.jsonl.gz",
        *MMLU,
        ("all/test-00000-of-00001.parquet",),
        MMLU_FIELDS,
        "612dc746d12bdc68eefc0df57608250b68ffb8ac341b7155b4dfec9076cb43db",
        _mmlu,
        _same,
    ),
    "mmlu_dev": RowSet(
        "mmlu/dev.jsonl.gz",
        *MMLU,
        ("all/dev-00000-of-00001.parquet",),
        MMLU_FIELDS,
        "0e66c90438e914e913f3d56c4b07e4fb90b75417a3d056d8238a36a47a026f58",
        _mmlu,
        _same,
    ),
    "squad": RowSet(
        "squad_v1.1/dev-v1.1.noanswerstart.json.gz",
        "rajpurkar/squad",
        "7b6d24c440a36b6815f21b70d25016731768db1f",
        ("plain_text/validation-00000-of-00001.parquet",),
        ("id", "title", "context", "question", "answers"),
        "17dbbdd60a860df778ddc50d58b65effdfeed07d6244aad21b8a8df526bb67c8",
        _squad,
        _squad_of_hub,
    ),
    "gsm8k": RowSet(
        "gsm8k/test.jsonl.gz",
        "openai/gsm8k",
        "740312add88f781978c0658806c59bc2815b9866",
        ("main/test-00000-of-00001.parquet",),
        ("question", "answer"),
        "176818e0349688ae3031a37f2fe8f454e7575635b88232abfc6b3387320e6605",
        _lines("question", "answer"),
        _same,
    ),
    "toxigen": OnGitHub(
        "toxigen_safenlp/toxiGen.json.gz",
        SAFENLP,
        "e351b6cb892284cf843b88e363b1a6dbaded584e",
        ("data/toxiGen.json",),
        TOXIGEN_FIELDS,
        "d71afd2419b5707276bc0bb57755bb48c0a35d0aaef2c878db8c8e2b22e4abf0",
        _lines(*TOXIGEN_FIELDS),
        _same,
    ),
}
NAMES = tuple(SETS)
# The hub's files of these need not be in the authors' order; rows alike in the column stay as they came.
SORTED_BY = {"squad": "id", "mmlu": "subject", "mmlu_dev": "subject"}


@cache
def load(name: str) -> tuple[Row, ...]:
    """The rows of a set, here or else from the hub, in the authors' order (SQuAD: by id, MMLU: by subject).

    Raises UnavailableError where it is in neither place, UserError where the file found holds something else.
    """
    path = setfiles.find(name, SETS[name])
    return _read(name, path or setfiles.fetch(name, SETS[name], lambda partial: _read(name, partial, fetched=True)))


def checksum_here(name: str) -> str | None:
    """The checksum of the rows of a set on this machine, checked; None where it is not here. Fetches nothing."""
    return checksum(load(name)) if setfiles.find(name, SETS[name]) else None


def checksum(rows: Iterable[Row]) -> str:
    """SHA-256 of the rows as JSON objects with sorted keys, one a line, in ASCII."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()


def _read(name: str, path: Path, fetched: bool = False) -> tuple[Row, ...]:
    about = SETS[name]
    fetched = fetched or path == setfiles.cached(name)
    try:
        rows = map(about.hub, setfiles.read_rows(path, about.fields)) if fetched else about.authors(path)
        found = tuple(sorted(rows, key=lambda row: str(row[SORTED_BY[name]])) if name in SORTED_BY else rows)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not the evaluation set {name} ({type(error).__name__}: {error}); put the original file there"
        ) from error
    is_right = checksum(found) == about.checksum
    if not is_right and not (fetched and about.hub_sha256):
        raise UserError(
            f"{path}: {len(found)} rows with checksum {checksum(found)[:12]}, not those of the frozen set {name} "
            f"({about.checksum[:12]}); put the original file in its place"
        )
    return found
