"""Every error survives pickle, names its remedy, and is in the tree."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from notebook_durable import errors

EXAMPLES = [
    errors.DurableError("x"),
    errors.ConfigurationError("x"),
    errors.MissingExtraError("pyarrow", "arrow", "parquet"),
    errors.UsageError("x"),
    errors.NestedContextError("load", "run"),
    errors.ContextClosedError("churn", "run"),
    errors.UnawaitedStepError(["a", "b"]),
    errors.RunOpenError("churn", "k"),
    errors.ReplayError("x"),
    errors.JournalMismatchError("churn", 1, ["a", "b"], ["a", "c"]),
    errors.OutcomeUnknownError("churn", "k", "pay", 1.5),
    errors.UndefinedClassError("__main__.Order", "load"),
    errors.UndefinedNameError("Order", "load"),
    errors.RollbackLostError("churn", ["cancel"]),
    errors.StepTimeoutError("load", 2.5),
    errors.UnknownSerializerError("parquet", "load"),
    errors.OutdatedValueError("pandas 1.5.3", "pandas 2.2.3", "ImportError: x"),
    errors.DamagedValueError("load", "a bit flipped"),
    errors.NotStorableError("_thread.lock", "['a']", "why", "load"),
    errors.StoreError("x"),
    errors.RunBusyError("churn", "", 12, "host", 1.7e9),
    errors.RunTakenOverError("churn", "", "load", 12, "host"),
    errors.NotebookMismatchError("churn", "", "/a.ipynb", "/b.ipynb"),
    errors.UntrustedJournalError("/x/.durable", "/k"),
    errors.UntrustedJournalError("/x/.durable", "/k", key_id="ab12", whose="moved", found="/old/key"),
    errors.UntrustedJournalError("/x/.durable", "/k", key_id="ab12", whose="stranger", made_by="by ada on host"),
    errors.UntrustedExportError("/x/churn.zip", "/k"),
    errors.JournalFormatError("x"),
    errors.JournalCorruptError("x"),
    errors.JournalUnwritableError("/x", "full", "Free some."),
    errors.TerminalError("x", 404, {"a": "b"}),
    errors.RetryableError("x", 429, 3.0),
]


def test_every_class_has_an_example():
    """A new error must come with one here."""
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)}
    assert {type(e) for e in EXAMPLES} == {c for c in classes if not c.__name__.startswith("_")}
    assert set(errors.__all__) == {c.__name__ for c in classes if not c.__name__.startswith("_")}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_pickle_and_copy_keep_type_message_and_fields(error):
    """Errors travel between processes and through the journal."""
    for again in (*(pickle.loads(pickle.dumps(error, p)) for p in range(2, 6)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.MissingExtraError("pyarrow", "arrow"), "pip install 'notebook_durable[arrow]'"),
        (errors.UnawaitedStepError(["a"]), "write `await ctx.run('a', ...)`"),
        (errors.RunBusyError("w", "", 12, "host", 1.7e9), "process 12 on host since 2023-"),
        (errors.NotebookMismatchError("w", "", "/a", "/b"), "%durable share w"),
        (errors.OutcomeUnknownError("w", "", "s", 0), '%durable outcome w "s" --retry'),
        (errors.UndefinedClassError("__main__.Order"), "Run the cell that defines it"),
        (errors.UntrustedJournalError("/x", "/k"), "NOTEBOOK_DURABLE_KEY_FILE"),
    ],
)
def test_messages_say_what_to_type(error, remedy):
    """The remedy is in the message."""
    assert remedy in str(error)
