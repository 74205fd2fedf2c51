"""Conducts: asyncio behind ports, no library of the outside world."""
