import numpy as np
import pytest
from training import write_packed

from hornbook.tokens.tokenizer import train_bpe


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    (root / "tokenizer").mkdir()
    train_bpe(iter(["def f(x):\n    return x\n"]), 257).save(str(root / "tokenizer" / "tokenizer.json"))
    for name, period in (("raw", 7), ("exercises", 5)):
        tokens = (np.arange(1601) % period + 40).astype("<u2")  # what comes next can be known
        write_packed(root / name, tokens, root / "tokenizer")
    return {name: root / name for name in ("raw", "exercises", "tokenizer")}
