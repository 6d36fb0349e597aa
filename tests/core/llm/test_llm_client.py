"""The client of model servers: every prompt is answered once, whatever the server does, or the work ends with its words."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.core.errors import CurateError
from curate.core.llm.answers import Answer, AnswerCache, request_key
from curate.core.llm.client import Client
from curate.core.llm.server import Sampling, Server
from tests.llm_server import LlmServer, Reply


def options(url: str, **server: Any) -> Sampling:
    given = {"base_url": url, "id": "toy", "backoff": 0.001, "retries": 3, **server}
    return Sampling(model="m", server=Server(**given))


def ask(server: LlmServer, prompts: list[str], cache: Path | None = None, **given: Any) -> list[Answer]:
    asked = options(server.url, **given)
    return Client(asked.server, cache=cache).ask([asked.request(prompt) for prompt in prompts])


def echo(request: dict[str, Any], number: int) -> str:
    return "said: " + request["messages"][0]["content"]


def test_answers_come_in_the_order_of_the_requests_many_at_a_time() -> None:
    def slow(request: dict[str, Any], number: int) -> str:
        time.sleep(0.03 - number / 1000)
        return echo(request, number)

    prompts = [f"prompt {n}" for n in range(20)]
    with LlmServer(slow) as server:
        answers = ask(server, prompts, concurrency=5)
    assert [a.text for a in answers] == [f"said: prompt {n}" for n in range(20)]
    assert 2 <= server.most <= 5


def test_calls_from_several_threads_share_the_concurrency(tmp_path: Path) -> None:
    with LlmServer(echo) as server:
        asked = options(server.url, concurrency=3)
        client = Client(asked.server, cache=tmp_path)
        parts = [[asked.request(f"{part} {n}") for n in range(15)] for part in "abc"]
        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(client.ask, parts))
    assert [[a.text for a in part] for part in found] == [
        [f"said: {part} {n}" for n in range(15)] for part in "abc"
    ]
    assert server.most <= 3
    assert len(AnswerCache(tmp_path)) == 45


def test_the_request_is_what_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_FOR_TEST", "sesame")
    with LlmServer(echo) as server:
        monkeypatch.setenv("URL_FOR_TEST", server.url + "/")
        asked = Sampling(
            model="tiny",
            server=Server(base_url="$URL_FOR_TEST", api_key_env="KEY_FOR_TEST"),
            temperature=0.5,
            max_tokens=9,
            seed=4,
            extra={"top_k": 3},
        )
        schema = {"type": "object"}
        Client(asked.server).ask([asked.request("hello", 2, schema=schema)])
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "max_tokens": 9,
            "seed": 6,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
            "top_k": 3,
        }
    ]
    assert server.headers[0]["Authorization"] == "Bearer sesame"


def test_a_variable_that_is_not_set_is_named() -> None:
    for given in ({"base_url": "$NOT_SET_AT_ALL"}, {"base_url": "http://x", "api_key_env": "NOT_SET_AT_ALL"}):
        with pytest.raises(CurateError, match=r"C109.*NOT_SET_AT_ALL"):
            Client(Server(**given))
    with pytest.raises(ValidationError, match="http"):
        Server(base_url="localhost:8000")


def test_an_address_with_a_password_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("https://me:sesame@host/v1", "http://sesame@host", "https://:sesame@host?x"):
        with pytest.raises(ValidationError, match="no name or password"):
            Server(base_url=address)
        monkeypatch.setenv("URL_FOR_TEST", address)
        with pytest.raises(CurateError, match=r"C102.*URL_FOR_TEST") as caught:
            Client(Server(base_url="$URL_FOR_TEST"))
        assert "sesame" not in str(caught.value)
    assert Server(base_url="http://host/me@here/v1").address() == "http://host/me@here/v1"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_that_a_server_repeats_is_nowhere(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as it is, nor in JSON's escapes, nor half of it where the words are cut off."""
    key = "open/sesame-" + "k" * 40
    monkeypatch.setenv("KEY_FOR_TEST", key)
    escaped = json.dumps({"error": {"message": f"the key {key} is wrong"}}).replace("/", "\\/").encode()
    for body in (f"the key {key} is wrong".encode(), escaped, ("x" * 280 + key).encode()):
        with LlmServer([Reply(status=status, body=body)]) as server:
            try:
                said = ask(server, ["x"], api_key_env="KEY_FOR_TEST", retries=0)[0].refusal
            except CurateError as fault:
                said = str(fault)
        assert "***" in said
        assert "same" not in said


def test_equal_requests_are_asked_once() -> None:
    with LlmServer(echo) as server:
        answers = ask(server, ["a", "b", "a"])
    assert [a.text for a in answers] == ["said: a", "said: b", "said: a"]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Reply(status=429, body=b'{"error": {"message": "slow down"}}'),
        Reply(status=500, body=b"<html>no</html>"),
        Reply(status=503),
        Reply("half an answer", cut=20),
        Reply(body=b"this is no JSON"),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"content": 3}}]}'),
        Reply(body=b'[[["'),
        Reply(hang=True),
    ],
)
def test_a_fault_that_passes_is_tried_again(fault: Reply) -> None:
    with LlmServer([fault, fault, "well"]) as server:
        assert [a.text for a in ask(server, ["x"], timeout=0.2 if fault.hang else 60)] == ["well"]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Reply(status=429, body=b'{"error": {"message": "slow down"}}'), "429: slow down"),
        (Reply(status=500, body=b"out of\n memory"), "500: out of memory"),
        (Reply(body=b"<html>welcome to the proxy</html>"), "what came is no chat completion: <html>welcome"),
        (Reply(hang=True), "silence for 0.05 s"),
    ],
)
def test_a_fault_that_stays_ends_the_work_with_the_servers_words(fault: Reply, said: str) -> None:
    began = time.monotonic()
    with LlmServer([fault]) as server, pytest.raises(CurateError) as caught:
        ask(server, ["x"], timeout=0.05 if fault.hang else 60)
    assert time.monotonic() - began < 30  # four tries of 0.05 s, not of a limit of its own
    (problem,) = caught.value.problems
    assert problem.code == "E530"
    assert caught.value.exit_code == 1
    assert server.url in problem.message
    assert f"in 4 tries: {said}" in problem.message
    assert len(server.requests) == 4


def test_a_server_that_is_not_there_is_named() -> None:
    with LlmServer(echo) as server:
        url = server.url
    asked = options(url, retries=1)
    with pytest.raises(CurateError, match=rf"E530: the server {url} gave no answer in 2 tries: ConnectError"):
        Client(asked.server).ask([asked.request("x")])


def test_the_deadline_ends_an_answer_whatever_the_tries() -> None:
    with LlmServer([Reply(status=429, headers={"Retry-After": "3600"}, body=b"busy")]) as server:
        with pytest.raises(CurateError, match=r"no answer within 900 s \(1 try\): 429: busy"):
            ask(server, ["x"])
        began = time.monotonic()
        with pytest.raises(CurateError, match=r"no answer within 0\.2 s"):
            ask(server, ["x"], deadline=0.2, retries=100)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("after", ["0.3", "date"])
def test_retry_after_is_waited_for(after: str) -> None:
    header = formatdate(time.time() + 2, usegmt=True) if after == "date" else after
    with LlmServer([Reply(status=503, headers={"Retry-After": header}), "well"]) as server:
        began = time.monotonic()
        assert ask(server, ["x"])[0].text == "well"
        assert time.monotonic() - began > 0.29
    with LlmServer([Reply(status=503, headers={"Retry-After": "soon"}), "well"]) as server:
        assert ask(server, ["x"])[0].text == "well"


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_refusal_of_everything_ends_the_work_at_once(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_FOR_TEST", "sesame")
    reply = Reply(status=status, body=b'{"error": {"message": "the key sesame is wrong"}}')
    with LlmServer([reply]) as server, pytest.raises(CurateError) as caught:
        ask(server, ["x"], api_key_env="KEY_FOR_TEST")
    assert caught.value.problems[0].code == "E531"
    assert f"refuses: {status}: the key *** is wrong" in str(caught.value)
    assert len(server.requests) == 1


def test_a_refused_prompt_has_no_answer_and_the_others_have() -> None:
    def limited(request: dict[str, Any], number: int) -> str | Reply:
        if len(request["messages"][0]["content"]) > 5:
            return Reply(status=400, body=b'{"error": {"message": "context is 5 tokens"}}')
        return "well"

    with LlmServer(limited) as server:
        asked = options(server.url)
        client = Client(asked.server)
        answers = client.ask([asked.request(prompt) for prompt in ("short", "longer", "last")])
    assert [a.text for a in answers] == ["well", None, "well"]
    assert answers[1].refusal == "400: context is 5 tokens"
    assert client.take_counts()["refused"] == 1


def test_tokens_and_cost_are_counted_and_those_of_the_cache_apart(tmp_path: Path) -> None:
    with LlmServer(lambda *_: "two words") as server:
        asked = options(server.url, prompt_price=2, completion_price=0.5)
        requests = [asked.request("one two three"), asked.request("four")]
        client = Client(asked.server, cache=tmp_path)
        client.ask(requests)
        assert client.take_counts() == {
            "requests": 2, "answers": 2, "prompt_tokens": 4, "completion_tokens": 4, "cost_millionths": 10
        }  # fmt: skip
        assert client.take_counts() == {}
        client.ask(requests)
        assert client.take_counts() == {"cached": 2, "cached_tokens": 8}


def test_what_was_answered_before_a_fault_is_not_asked_again(tmp_path: Path) -> None:
    def dying(request: dict[str, Any], number: int) -> str | Reply:
        return echo(request, number) if number < 7 else Reply(status=500, body=b"gone")

    prompts = [f"p{n}" for n in range(12)]
    with LlmServer(dying) as server, pytest.raises(CurateError, match="E530"):
        ask(server, prompts, tmp_path, concurrency=1, retries=0)
    with LlmServer(echo) as server:
        answers = ask(server, prompts, tmp_path)
    assert [a.text for a in answers] == [f"said: {p}" for p in prompts]
    assert [a.cached for a in answers] == [True] * 7 + [False] * 5
    assert len(server.requests) == 5


def test_servers_with_one_name_for_their_models_do_not_share_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a resume: each judge finds its own answers, by its address, by its variable's name, or by its `id`."""
    ids: tuple[dict[str, Any], ...] = ({"id": None}, {"id": "small"})
    for id in ids:
        with LlmServer(lambda *_: "large") as large, LlmServer(lambda *_: "small") as small:
            for _ in range(2):
                assert ask(large, ["x"], tmp_path, id=None)[0].text == "large"
                assert ask(small, ["x"], tmp_path, **id)[0].text == "small"
            assert len(large.requests) == len(small.requests) == 1
    with LlmServer(echo) as server:
        monkeypatch.setenv("URL_FOR_TEST", server.url)
        asked = options("$URL_FOR_TEST", id=None)
        Client(asked.server, cache=tmp_path).ask([asked.request("y")])
    monkeypatch.setenv("URL_FOR_TEST", "http://127.0.0.1:1/v1")
    (found,) = Client(asked.server, cache=tmp_path).ask([asked.request("y")])
    assert found.cached


def test_answers_on_their_way_when_another_fails_are_kept(tmp_path: Path) -> None:
    """They were paid for: nothing new is asked, and every answer that the server gave is there afterwards."""

    def one_fails(request: dict[str, Any], number: int) -> str | Reply:
        if number == 4:
            return Reply(status=500, body=b"gone")
        time.sleep(0.3)
        return echo(request, number)

    with LlmServer(one_fails) as server:
        with pytest.raises(CurateError, match="E530"):
            ask(server, [f"p{n}" for n in range(40)], tmp_path, concurrency=8, retries=0)
        given = len(server.requests) - 1
    assert 4 <= given < 16
    assert len(AnswerCache(tmp_path)) == given


def test_a_killed_process_has_left_its_answers(tmp_path: Path) -> None:
    """What was answered and not kept are at most those that were in flight; nothing that was kept is asked again."""
    code = """
        import sys
        from pathlib import Path
        from curate.core.llm.client import Client
        from curate.core.llm.server import Sampling, Server
        asked = Sampling(model="m", server=Server(base_url=sys.argv[1], id="toy", concurrency=8))
        Client(asked.server, cache=Path(sys.argv[2])).ask([asked.request(f"p{n}") for n in range(200)])
    """
    with LlmServer(lambda request, n: echo(request, n) if n < 60 else Reply(hang=True)) as server:
        command = [sys.executable, "-c", textwrap.dedent(code), server.url, str(tmp_path)]
        with subprocess.Popen(command) as process:
            while len(server.requests) < 60:  # the kill comes where answers are on their way
                assert process.poll() is None
                time.sleep(0.001)
            process.kill()
        asked = prompts(server)
    kept = {line["text"].removeprefix("said: ") for path in tmp_path.iterdir() for line in whole_lines(path)}
    assert kept <= set(asked)
    assert len(set(asked) - kept) <= 8
    with LlmServer(echo) as server:
        answers = ask(server, [f"p{n}" for n in range(200)], tmp_path)
        again = prompts(server)
    assert [a.text for a in answers] == [f"said: p{n}" for n in range(200)]
    assert sorted(again) == sorted({f"p{n}" for n in range(200)} - kept), (
        "each of the rest once, none that was kept"
    )


def prompts(server: LlmServer) -> list[str]:
    return [request["messages"][0]["content"] for request in server.requests]


def whole_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_what_seen_raises_ends_the_work(tmp_path: Path) -> None:
    def stop(number: int, answer: Answer) -> None:
        raise ValueError("enough")

    with LlmServer(echo) as server:
        asked = options(server.url)
        with pytest.raises(ValueError, match="enough"):
            Client(asked.server, cache=tmp_path).ask([asked.request("x")], stop)
    assert len(AnswerCache(tmp_path)) == 1


@pytest.mark.parametrize("before", ["", "z"])
def test_a_line_cut_off_or_damaged_is_asked_again(tmp_path: Path, before: str) -> None:
    """before: put in front of the files' names, so that they come before or behind those of the next answers."""
    with LlmServer(echo) as server:
        ask(server, ["a"], tmp_path)
        ask(server, ["b"], tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(f"{before or '!'}{path.name}"))
    one, two = sorted(tmp_path.iterdir())
    one.write_bytes(one.read_bytes()[:-3])
    two.write_bytes(two.read_bytes().replace(b'"said', b"\xff" + b'"said') + b"\n\0\n{}\n")
    cache = AnswerCache(tmp_path)
    assert cache.damaged == 4
    assert len(cache) == 1
    with LlmServer(echo) as server:
        assert [a.text for a in ask(server, ["a", "b"], tmp_path)] == ["said: a", "said: b"]
        assert len(server.requests) == 2
        assert [a.cached for a in ask(server, ["a", "b"], tmp_path)] == [True, True]


def test_several_writers_share_a_folder(tmp_path: Path) -> None:
    caches = [AnswerCache(tmp_path) for _ in range(3)]
    for number, cache in enumerate(caches):
        with cache.writing():
            for n in range(number, 9, 3):
                cache.add(request_key({"n": n}, ""), Answer(f"text {n}\n\ud83d", "stop", n, n))
    found = AnswerCache(tmp_path).find([request_key({"n": n}, "") for n in range(10)])
    assert [found[request_key({"n": n}, "")].text for n in range(9)] == [
        f"text {n}\n\ud83d" for n in range(9)
    ]
    assert len(found) == 9
    with AnswerCache(tmp_path).writing():
        pass
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_is_an_error_and_no_half_line(tmp_path: Path) -> None:
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    cache = AnswerCache(tmp_path, "full")
    with pytest.raises(OSError) as caught, cache.writing():  # noqa: PT011  # its number is looked at
        cache.add(request_key({}, ""), Answer("x"))
    assert caught.value.errno == errno.ENOSPC
    assert len(cache) == 0
