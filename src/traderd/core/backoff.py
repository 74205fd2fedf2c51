"""How long to wait before the next attempt: capped exponential backoff with full jitter.

    delay = uniform(0, min(cap, base * 2 ** attempt))

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
Refuses to forgive a connection that merely opened: only a healthy spell starts the count anew.
"""


class Backoff:
    """The attempts of one connection. Pure: the caller brings the randomness."""

    def __init__(self, base_s: float, cap_s: float, healthy_after_s: float) -> None:
        if not 0 < base_s <= cap_s:
            raise ValueError(f"a backoff needs 0 < base_s <= cap_s, not {base_s} and {cap_s}")
        self._base_s = base_s
        self._cap_s = cap_s
        self._healthy_after_s = healthy_after_s
        self._ceiling_s = base_s

    def delay(self, uniform: float) -> float:
        """Seconds to wait before the next attempt. `uniform` is a random number in [0, 1)."""
        delay_s = uniform * self._ceiling_s
        self._ceiling_s = min(self._cap_s, self._ceiling_s * 2)
        return delay_s

    def healthy(self, for_s: float) -> None:
        """The connection has been well for so many seconds; past `healthy_after_s` its failures are forgiven."""
        if for_s >= self._healthy_after_s:
            self._ceiling_s = self._base_s
