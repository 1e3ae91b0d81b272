"""Reading a value is no change of it: what objects note of themselves on the way doesn't count."""

from __future__ import annotations

import functools

import pytest

from notebook_durable.wiring import fingerprinter

X = [[n / 40, n % 3, n % 7] for n in range(40)]
Y = [int(row[0] > 0.5) for row in X]


class Lazy:
    def __init__(self):
        self.rows = [1, 2]

    @functools.cached_property
    def total(self):
        return sum(self.rows)


def lazy():
    return Lazy(), lambda value: value.total


def pydantic_model():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        a: int = 1

        @functools.cached_property
        def double(self):
            return 2 * self.a

    return Model(), lambda value: value.double


def estimator():
    linear = pytest.importorskip("sklearn.linear_model")
    return linear.LogisticRegression().fit(X, Y), lambda value: (value.predict(X), value.score(X, Y), repr(value))


def forest():
    ensemble = pytest.importorskip("sklearn.ensemble")
    fitted = ensemble.RandomForestClassifier(3).fit(X, Y)
    return fitted, lambda value: (value.predict(X), value.feature_importances_)


def graph():
    nx = pytest.importorskip("networkx")
    return nx.path_graph(5), lambda value: (list(value.adj), value.degree, value.edges, nx.pagerank(value))


def sparse():
    scipy = pytest.importorskip("scipy.sparse")
    made = scipy.random(20, 20, 0.2, format="csr")
    return made, lambda value: (value.sum(), value @ value, value.has_canonical_format, value.tocsc())


def frame():
    import pandas as pd

    made = pd.DataFrame({"a": [3, 1, 2], "b": list("xyz"), "t": pd.date_range("2020", periods=3)}).set_index("t")
    return made, lambda value: (
        value["b"].str.upper(), value.groupby("b").sum(), value.loc["2020-01-02":], value.index.get_loc("2020-01-01"),
        value.index.is_unique, value.describe(), value._repr_html_(),
    )  # fmt: skip


def polars_frame():
    pl = pytest.importorskip("polars")
    made = pl.DataFrame({"a": [3, 1], "b": ["x", "y"]})
    return made, lambda value: (value.sort("a"), value["a"].is_sorted(), value.lazy().collect())


@pytest.mark.parametrize("make", [lazy, pydantic_model, estimator, forest, graph, sparse, frame, polars_frame])
def test_reading_is_no_change(make):
    """The digest before and after is the same."""
    value, read = make()
    before = fingerprinter().digest(value)
    read(value)
    assert fingerprinter().digest(value).digest == before.digest
    assert not before.untracked


def test_a_widget_counts_by_type():
    """A progress bar moves while the step runs; that is no changed input."""
    widgets = pytest.importorskip("ipywidgets")
    bar = widgets.IntProgress()
    before = fingerprinter().digest(bar)
    bar.value = 5
    assert fingerprinter().digest(bar).digest == before.digest
    assert before.untracked
