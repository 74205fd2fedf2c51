"""A venue's public REST, through aiohttp."""

import aiohttp

from traderd.core.errors import REFUSALS, VenueRefusalError, retry_after_s

_BODY_BYTES_MAX = 64 * 1024 * 1024


class HttpRest:
    """GET and nothing else."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, timeout_s: float) -> bytes:
        """The body of a 200 answer. Raises ConnectionError for everything else, with the venue's words.

        A VenueRefusalError is one of those.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "traderd"})
        try:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            async with self._session.get(url, timeout=timeout, max_line_size=65_536) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > _BODY_BYTES_MAX:
                        break
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConnectionError(f"{url}: {_line(str(error)) or type(error).__name__}") from error
        if len(body) > _BODY_BYTES_MAX:
            raise ConnectionError(f"{url}: more than {_BODY_BYTES_MAX} bytes")
        if answer.status != 200:
            told = f"{url}: HTTP {answer.status}: {_line(body[:200].decode(errors='replace'))}"
            if answer.status in REFUSALS:
                raise VenueRefusalError(told, answer.status, retry_after_s(answer.headers.get("Retry-After")))
            raise ConnectionError(told)
        return bytes(body)

    async def close(self) -> None:
        """Close what was opened."""
        if self._session is not None:
            await self._session.close()


def _line(text: str) -> str:
    """The same words on one line."""
    return " ".join(text.split())
