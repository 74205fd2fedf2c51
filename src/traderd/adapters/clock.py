"""The machine's clocks, for everything that isn't pure. Refuses nothing and remembers nothing."""

import time


class SystemClock:
    """runtime.ports.Clock by the operating system."""

    def time_ns(self) -> int:
        """Nanoseconds since the epoch, UTC. Steps when the machine's clock is set."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run back; only differences mean anything."""
        return time.monotonic_ns()
