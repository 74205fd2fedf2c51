"""A venue's REST over real HTTP: the body of a 200, or one line with the venue's words."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from traderd.adapters import rest as rest_module
from traderd.adapters.rest import HttpRest

MIB = 1024 * 1024


@pytest.fixture
async def venue() -> AsyncIterator[str]:
    """Answers by path: `/body/<mib>`, `/status/<code>`, `/slow`, `/cut`."""

    async def body(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (int(request.match_info["mib"]) * MIB))

    async def status(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["code"]), text='{"code":-1121,\n "msg":"Invalid symbol."}')

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def cut(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"only this")
        assert request.transport is not None
        request.transport.close()
        return answer

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=request.path_qs)

    app = web.Application()
    app.router.add_get("/body/{mib}", body)
    app.router.add_get("/status/{code}", status)
    app.router.add_get("/slow", slow)
    app.router.add_get("/cut", cut)
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def rest() -> AsyncIterator[HttpRest]:
    client = HttpRest()
    yield client
    await client.close()


async def test_the_body_of_a_200_is_given_as_it_came(rest: HttpRest, venue: str) -> None:
    """An address with a query is asked as it stands, and one client asks many times."""
    for number in range(3):
        assert await rest.get(f"{venue}/echo?symbol=BTCUSDT&limit={number}", 5.0) == (
            b"/echo?symbol=BTCUSDT&limit=%d" % number
        )


async def test_twenty_megabytes_pass(rest: HttpRest, venue: str) -> None:
    """The largest list of instruments has less."""
    assert len(await rest.get(f"{venue}/body/20", 20.0)) == 20 * MIB


async def test_more_than_any_venue_sends_is_refused(
    rest: HttpRest, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded whoever answers."""
    monkeypatch.setattr(rest_module, "_BODY_BYTES_MAX", 2 * MIB)
    assert len(await rest.get(f"{venue}/body/2", 5.0)) == 2 * MIB
    with pytest.raises(ConnectionError, match="more than 2097152 bytes"):
        await rest.get(f"{venue}/body/3", 5.0)


@pytest.mark.parametrize("code", [204, 400, 403, 418, 429, 500, 503])
async def test_anything_but_a_200_is_a_fault_with_the_venues_words(rest: HttpRest, venue: str, code: int) -> None:
    """On one line."""
    with pytest.raises(ConnectionError) as refused:
        await rest.get(f"{venue}/status/{code}", 5.0)
    words = "" if code == 204 else '{"code":-1121, "msg":"Invalid symbol."}'
    assert str(refused.value) == f"{venue}/status/{code}: HTTP {code}: {words}"


@pytest.mark.parametrize("path", ["/slow", "/cut"])
async def test_an_answer_that_does_not_come_or_ends_early_is_a_fault(rest: HttpRest, venue: str, path: str) -> None:
    """Within the time that was given, in words, and the client works on."""
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ConnectionError) as refused:
        await rest.get(venue + path, 0.3)
    assert asyncio.get_running_loop().time() - begun < 5
    text = str(refused.value)
    assert text.startswith(f"{venue}{path}: ") and len(text) > len(f"{venue}{path}: ") and "\n" not in text
    assert await rest.get(f"{venue}/echo", 5.0) == b"/echo"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://nowhere.invalid/x"])
async def test_a_venue_that_is_not_there_is_a_fault_in_one_line(rest: HttpRest, url: str) -> None:
    """With the address."""
    with pytest.raises(ConnectionError) as refused:
        await rest.get(url, 5.0)
    assert str(refused.value).startswith(f"{url}: ") and "\n" not in str(refused.value)


async def test_closing_what_was_never_opened_does_no_harm() -> None:
    """A daemon may stop before it asked anything."""
    await HttpRest().close()
