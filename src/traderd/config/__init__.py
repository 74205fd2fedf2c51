"""config.yaml → one frozen, validated Config.

`schema` says what may stand there, `document` reads YAML and remembers where everything stood, `checking` holds the one
against the other, `rules` says what can't be true together, `addresses` keeps secrets unseen, `loading` is the way in.
Refuses impossible values before anything is started: all mistakes are told at once, one line each.
"""

from traderd.config.addresses import redacted, resolved
from traderd.config.loading import backup_path, load_config, packaged_config, shown, state_path
from traderd.config.plan import endpoint, plan, seats_of
from traderd.config.schema import (
    Backup,
    Breaker,
    Config,
    EmaCross,
    Engine,
    Feed,
    Http,
    Journal,
    Log,
    Paper,
    Risk,
    Sim,
    Store,
    Strategy,
    Venue,
)
from traderd.config.storage import Storage

__all__ = [
    "Backup",
    "Breaker",
    "Config",
    "EmaCross",
    "Engine",
    "Feed",
    "Http",
    "Journal",
    "Log",
    "Paper",
    "Risk",
    "Sim",
    "Storage",
    "Store",
    "Strategy",
    "Venue",
    "backup_path",
    "endpoint",
    "load_config",
    "packaged_config",
    "plan",
    "redacted",
    "resolved",
    "seats_of",
    "shown",
    "state_path",
]
