"""A baseline without a model: the answer of the most similar training request."""

from __future__ import annotations

import json

from .. import dataset, scoring
from ..calls import FunctionCall, serialize
from ..generation import Generation


class NearestPhrasing:
    """A retriever without a model: TF-IDF over character 2- to 4-grams.

    It answers with the calls (or the reply) of the most similar training row whose calls use declared tools only.
    """

    def __init__(self, rows):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.rows = [row for row in rows if row["kind"] != "followup"]
        self.vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        self.matrix = self.vectorizer.fit_transform(row["query"] for row in self.rows)
        self.needs = [{call["name"] for call in json.loads(row["calls"])} for row in self.rows]

    def generate(self, rows) -> list[Generation]:
        """An answer for each row, in the form that a model's generations have."""
        rows = list(rows)
        # (rows, training rows), sparse
        similar = self.vectorizer.transform(row["query"] for row in rows) @ self.matrix.T
        return [self._answer(row, similar[i].toarray()[0]) for i, row in enumerate(rows)]

    def _answer(self, row, similarity) -> Generation:
        declared = {tool["function"]["name"] for tool in json.loads(row["tools"])}
        for index in similarity.argsort()[::-1]:
            if self.needs[index] <= declared:
                break
        nearest = self.rows[index]
        calls = [FunctionCall(call["name"], call["arguments"]) for call in json.loads(nearest["calls"])]
        if not calls:
            return Generation(nearest["reply"] + "<end_of_turn>", (), "<end_of_turn>")
        return Generation(serialize(calls) + "<start_function_response>", (), "<start_function_response>")


def reports(train: str = "train", held_out=("test", "test_unseen_tools")) -> dict:
    """Held-out split -> ``Report`` of the retriever that knows ``train``."""
    retriever = NearestPhrasing(dataset.load(train))
    tests = {split: dataset.load(split) for split in held_out}
    return {split: scoring.score(retriever.generate(rows), rows) for split, rows in tests.items()}
