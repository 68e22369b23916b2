"""The chip lever: what a second of hardware costs, and what moving a model to other hardware takes. NumPy only.

Chapter: chips
"""

from costlab.chips.article import ArticleServer, ServerSaving, TflopsCost, server_saving, tflops_cost
from costlab.chips.assumptions import Assumption, assumption, assumption_rows
from costlab.chips.budget import PortBudget, port_budget
from costlab.chips.loads import LoadCurve, load_curve
from costlab.chips.owning import CHARGINGS, Charging, HourlyCost, Ownership, charge
from costlab.chips.ranking import (
    Contender,
    Priced,
    Ranking,
    Swing,
    break_even_price,
    rank,
    tornado,
    triangular,
)
from costlab.chips.renting import BuyOrRent, OwnedShare, Rental, buy_or_rent, own_share
from costlab.chips.sourcing import ownership, purchase, rental
from costlab.chips.yields import UnitCosts, unit_costs

__all__ = [
    "CHARGINGS",
    "ArticleServer",
    "Assumption",
    "BuyOrRent",
    "Charging",
    "Contender",
    "HourlyCost",
    "LoadCurve",
    "OwnedShare",
    "Ownership",
    "PortBudget",
    "Priced",
    "Ranking",
    "Rental",
    "ServerSaving",
    "Swing",
    "TflopsCost",
    "UnitCosts",
    "assumption",
    "assumption_rows",
    "break_even_price",
    "buy_or_rent",
    "charge",
    "load_curve",
    "own_share",
    "ownership",
    "port_budget",
    "purchase",
    "rank",
    "rental",
    "server_saving",
    "tflops_cost",
    "tornado",
    "triangular",
    "unit_costs",
]  # fmt: skip
