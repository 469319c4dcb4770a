"""How many of JAX's public names and keywords are here: the numbers must not fall, and every miss has its reason.

`make names` prints what is missing.
"""

import jax
import pytest

from benchmarks import names

pytestmark = pytest.mark.skipif(jax.__version__ != "0.10.2", reason="the counts are of the names of this version")

# what is missing now; lower them when names are added
MISSING_NAMES = 32
MISSING_KEYWORDS = 23


def test_names():
    total, misses = names.names()
    assert total > 1500
    assert [miss.path for miss in misses if miss.reason == names.NO_REASON] == []
    assert len(misses) <= MISSING_NAMES


def test_keywords():
    total, misses = names.keywords()
    assert total > 3000
    assert [f"{miss.module}.{miss.name}" for miss in misses if miss.reason == names.NO_REASON] == []
    assert len(misses) <= MISSING_KEYWORDS


def test_uses(tmp_path):
    file = tmp_path / "uses.tsv"
    file.write_text("name\tlibraries\tuses\njax.numpy.sin\t3\t10\njax.scipy.special\t1\t1\njax.nothing\t1\t2\n")
    assert names.uses(file)["jax.numpy.sin"] == (3, 10)
    assert [names.is_there(path) for path in names.uses(file)] == [True, True, False]


def test_names_of_former_versions_have_a_reason():
    assert names.reason_of_use("jax.tree_map") == "JAX 0.10.2 has none"
    assert "belongs to JAX" in names.reason_of_use("jax.experimental.jax2tf")
