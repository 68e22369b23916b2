"""Floors below the price of a token: arithmetic, memory, sending, energy; and what sparser models would change.

- `floors`: the least seconds of a chip; `prices`: the same in money, beside costs and lists;
- `activation`: models of fewer, smaller or more experts;
- `power`: watts, joules and their price; `landauer`: the heat of erasing a bit, and what it is no floor of.

>>> from costlab import limits
>>> limits.token_floor("deepseek-v4-pro", "h800", "prefill", 8192).bound
'compute'

Chapter: limits
"""

from costlab.limits.activation import (
    SparseStep,
    activated_share,
    activation_table,
    compute_binds_at,
    experts_at,
    fewer,
    finer,
    least_activation,
    relatives,
    sparse_step,
    visits_at,
    wider,
)
from costlab.limits.floors import (
    MEMORY_SHARE,
    PHASES,
    TokenFloor,
    always_multiplied,
    floor_table,
    floors_on_chips,
    short_name,
    token_floor,
)
from costlab.limits.landauer import ROOM_K, bits_erased, landauer_j, operation_table, orders_above
from costlab.limits.power import (
    ChipPower,
    TokenEnergy,
    chip_power,
    floor_energy,
    power_table,
    published_joules,
    token_energy,
)
from costlab.limits.prices import BETWEEN, Standing, hit_floor, miss_floor, output_floor, standing

__all__ = [
    "BETWEEN", "MEMORY_SHARE", "PHASES", "ROOM_K", "ChipPower", "SparseStep", "Standing", "TokenEnergy",
    "TokenFloor", "activated_share", "activation_table", "always_multiplied", "bits_erased", "chip_power",
    "compute_binds_at", "experts_at", "fewer", "finer", "floor_energy", "floor_table", "floors_on_chips",
    "hit_floor", "landauer_j", "least_activation", "miss_floor", "operation_table", "orders_above",
    "output_floor", "power_table", "published_joules", "relatives", "short_name", "sparse_step", "standing",
    "token_energy", "token_floor", "visits_at", "wider",
]  # fmt: skip
