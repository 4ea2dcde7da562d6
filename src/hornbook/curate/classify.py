"""Learn the teacher's ratings with a random forest, and score the whole corpus with it (phi-1, section 2.1).

`train_classifier` writes `classifier.skops` (the forest) and `classifier.json` (what its features are and how well it
agrees with ratings it has not seen). `score_documents` writes `documents.parquet` (ScoredDocument).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from hornbook.curate.agreement import agreement, calibration, inside_sources
from hornbook.curate.annotate import histogram, seeded_hash
from hornbook.curate.features import FEATURE_NAMES, FEATURES_VERSION, features_of
from hornbook.curate.forest_file import read_forest, write_forest
from hornbook.errors import UserError
from hornbook.records import Document, Rating, ScoredDocument
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota, ordered_map
from hornbook.step_config import ClassifyStep, ScoreStep
from hornbook.tables import TableWriter, read_rows

FOREST_FILE, DESCRIPTION_FILE = "classifier.skops", "classifier.json"
CHUNK_DOCUMENTS, CHUNK_CHARACTERS = 128, 4_000_000  # of what a worker is given at once
MIN_RATINGS = 10  # on either side of the split; fewer cannot be learnt from, nor tell how well
MIN_LEAF = 3  # ratings behind every leaf: one rating alone is mostly its own noise
FEATURE_SHARE = 1 / 3  # of the features each split may choose from; the usual share for regression

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RatedDocuments:
    """The rated documents, in the order of the corpus."""

    ids: list[str]
    sources: list[str]
    ratings: Floats  # [document]
    features: Floats  # [document, feature]


def train_classifier(config: ClassifyStep, inputs: Inputs, work: Workspace) -> Result:
    """Fit the forest on most of the ratings and measure it on the rest.

    Raises UserError where there are too few ratings, where they are all equal, and where they are of other documents.
    """
    rated = _rated_documents(inputs["corpus"], inputs["ratings"], work)
    held_out = split_held_out(rated.ids, config.classify.held_out_share, config.seed)
    train = ~held_out
    if min(held_out.sum(), train.sum()) < MIN_RATINGS:
        raise UserError(
            f"{train.sum()} ratings to learn and {held_out.sum()} held out; each must be at least "
            f"{MIN_RATINGS}: raise annotate.sample, or change classify.held_out_share"
        )
    if np.ptp(rated.ratings[train]) == 0:
        raise UserError(
            f"classify: all ratings are {rated.ratings[0]:g}, so there is nothing to learn; try another teacher"
        )
    forest = fit_forest(rated.features[train], rated.ratings[train], config.classify.trees, config.seed, work)
    description = _describe(config, forest, rated, held_out)
    write_forest(work.directory / FOREST_FILE, forest)
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    (work.directory / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    facts = {**description, "importances": description["importances"][:15]}
    return Result(Counts(read=len(rated.ids), kept=len(rated.ids)), facts)


def score_documents(config: ScoreStep, inputs: Inputs, work: Workspace) -> Result:
    """Give every document of the corpus the classifier's score, in the order of the corpus."""
    forest = load_classifier(inputs["classifier"])
    corpus = inputs["corpus"] / "documents.parquet"
    scores: list[float] = []
    with (
        TableWriter(work.directory / "documents.parquet", ScoredDocument) as table,
        work.progress.bar("scoring", None, "documents") as bar,
    ):
        for documents, features in _with_features(read_rows(corpus, Document), work):
            for document, score in zip(documents, predict(forest, features), strict=True):
                table.write(ScoredDocument(document.id, document.text, document.source, document.meta, score))
                scores.append(score)
            bar.advance(len(documents))
    if not scores:
        raise UserError(f"{corpus}: holds no documents to score")
    facts = {"scores": histogram(scores), "mean_score": round(sum(scores) / len(scores), 4)}
    return Result(Counts(read=len(scores), kept=len(scores)), facts)


def fit_forest(features: Floats, ratings: Floats, trees: int, seed: int, work: Workspace) -> RandomForestRegressor:
    """A forest that estimates ratings. The number of workers does not change it."""
    forest = RandomForestRegressor(
        trees,
        min_samples_leaf=MIN_LEAF,
        max_features=FEATURE_SHARE,
        random_state=seed % 2**32,
        n_jobs=work.machine.workers or cpu_quota(),
    )
    with work.progress.bar(f"growing {trees} trees", None, "trees"):
        forest.fit(features, ratings)
    forest.set_params(n_jobs=None)  # to predict, several threads add up the trees in an order that changes
    return forest


def predict(forest: RandomForestRegressor, features: Floats) -> list[float]:
    """The scores of documents, in 0 to 5."""
    return [float(score) for score in forest.predict(features)] if len(features) else []


def load_classifier(directory: Path) -> RandomForestRegressor:
    """The forest of a finished `classify` step.

    Raises UserError where it is no classifier, or one made for other features than this version computes.
    """
    path = directory / DESCRIPTION_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        made_for = (description["features_version"], tuple(description["features"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the description of a classifier; train one first") from error
    forest = read_forest(directory / FOREST_FILE)
    if made_for != (FEATURES_VERSION, FEATURE_NAMES) or forest.n_features_in_ != len(FEATURE_NAMES):
        raise UserError(f"{path}: made for other features than this version of hornbook computes; train it again")
    return forest


def split_held_out(ids: list[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which documents are held out: `share` of them, those with the smallest seeded hashes."""
    order = sorted(range(len(ids)), key=lambda place: (seeded_hash(seed, ids[place]), ids[place]))
    held_out = np.zeros(len(ids), np.bool_)
    held_out[order[: round(share * len(ids))]] = True
    return held_out


def _rated_documents(corpus: Path, ratings: Path, work: Workspace) -> RatedDocuments:
    score_of = {rating.id: rating.score for rating in read_rows(ratings / "ratings.parquet", Rating)}
    waiting = dict(score_of)
    documents = (
        document
        for document in read_rows(corpus / "documents.parquet", Document)
        if waiting.pop(document.id, None) is not None
    )
    ids: list[str] = []
    sources: list[str] = []
    rows: list[Floats] = []
    with work.progress.bar("reading rated documents", len(score_of), "documents") as bar:
        for chunk, features in _with_features(documents, work):
            ids.extend(document.id for document in chunk)
            sources.extend(document.source for document in chunk)
            rows.append(features)
            bar.advance(len(chunk))
    if waiting:
        where = ratings / "ratings.parquet"
        raise UserError(
            f"{where}: {len(waiting)} of {len(score_of)} ratings are of documents that {corpus} does not hold"
        )
    stacked = np.concatenate(rows) if rows else np.zeros((0, len(FEATURE_NAMES)))
    return RatedDocuments(ids, sources, np.array([score_of[identity] for identity in ids]), stacked)


def _with_features(documents: Iterator[Document], work: Workspace) -> Iterator[tuple[list[Document], Floats]]:
    """Chunks of documents with their features, [document, feature], in order; a few chunks are in memory at a time."""
    chunks, given = tee(_chunks(documents))
    texts = ([document.text for document in chunk] for chunk in given)
    features = ordered_map(features_of, texts, work.machine.workers or cpu_quota(), ahead=2)
    return zip(chunks, features, strict=True)


def _chunks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    characters = 0
    for document in documents:
        chunk.append(document)
        characters += len(document.text)
        if len(chunk) == CHUNK_DOCUMENTS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _describe(
    config: ClassifyStep, forest: RandomForestRegressor, rated: RatedDocuments, held_out: NDArray[np.bool_]
) -> dict[str, Any]:
    """What the classifier is and how well it does on the held-out ratings, beside a baseline that knows the source."""
    threshold, seed = config.classify.threshold, config.seed
    ratings = rated.ratings[held_out]
    scores = np.array(predict(forest, rated.features[held_out]))
    sources = [source for source, held in zip(rated.sources, held_out, strict=True) if held]
    baseline = _source_means(rated, ~held_out, sources)
    importances = sorted(
        zip(FEATURE_NAMES, forest.feature_importances_, strict=True), key=lambda pair: (-pair[1], pair[0])
    )
    return {
        "threshold": threshold,
        "trained_on": int((~held_out).sum()),
        "held_out": agreement(ratings, scores, threshold, seed),
        "inside_sources": inside_sources(ratings, scores, sources, seed),
        "source_mean_baseline": agreement(ratings, baseline, threshold, seed),
        "calibration": calibration(ratings, scores, threshold),
        "importances": [{"feature": name, "importance": round(float(weight), 5)} for name, weight in importances],
        "features_version": FEATURES_VERSION,
        "features": list(FEATURE_NAMES),
    }


def _source_means(rated: RatedDocuments, train: NDArray[np.bool_], sources: list[str]) -> Floats:
    """What one would guess who knows only the source: its mean rating in training, or that of all where it has none."""
    by_source: dict[str, list[float]] = {}
    for source, rating, use in zip(rated.sources, rated.ratings, train, strict=True):
        if use:
            by_source.setdefault(source, []).append(float(rating))
    overall = float(rated.ratings[train].mean())
    return np.array([float(np.mean(by_source[source])) if source in by_source else overall for source in sources])
