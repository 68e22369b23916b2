"""The chip lever: what a second of hardware costs, and what moving a model to other hardware takes. NumPy only.

Chapter: chips
"""

from costlab.chips.article import ArticleServer, ServerSaving, TflopsCost, server_saving, tflops_cost
from costlab.chips.assumptions import Assumption, assumption, assumption_rows
from costlab.chips.bands import (
    FAMILIES,
    Band,
    EfficiencyPoint,
    LeftOut,
    all_bands,
    band,
    efficiency_points,
    family,
    round_s,
    run_deployment,
)
from costlab.chips.budget import PortBudget, port_budget
from costlab.chips.choice import ChoiceMap, choice_map
from costlab.chips.figures import cost_figure
from costlab.chips.formats import Format, as_served, format_named, format_of, format_on
from costlab.chips.inverse import PowerCap, rated_w, speed_at_price, under_power
from costlab.chips.loads import LoadCurve, load_curve
from costlab.chips.memory import Fit, fit, layouts, least_chips, sizes
from costlab.chips.owning import CHARGINGS, Charging, HourlyCost, Ownership, capital_charge
from costlab.chips.quotes import ChipHour, DraftedRound, NoPrice, TokenPrice
from costlab.chips.ranking import Contender, Priced, Ranking, Swing, break_even_price, rank, tornado, triangular
from costlab.chips.renting import BuyOrRent, OwnedShare, Rental, buy_or_rent, own_share
from costlab.chips.sourcing import ownership, purchase, rental
from costlab.chips.tokens import deployments_of, token_price
from costlab.chips.yields import UnitCosts, unit_costs

__all__ = [
    "CHARGINGS", "FAMILIES", "ArticleServer", "Assumption", "Band", "BuyOrRent", "Charging", "ChipHour",
    "ChoiceMap", "Contender", "DraftedRound", "EfficiencyPoint", "Fit", "Format", "HourlyCost", "LeftOut",
    "LoadCurve", "NoPrice", "OwnedShare", "Ownership", "PortBudget", "PowerCap", "Priced", "Ranking", "Rental",
    "ServerSaving", "Swing", "TflopsCost", "TokenPrice", "UnitCosts", "all_bands", "as_served", "assumption",
    "assumption_rows", "band", "break_even_price", "buy_or_rent", "capital_charge", "choice_map", "cost_figure",
    "deployments_of", "efficiency_points", "family", "fit", "format_named", "format_of", "format_on", "layouts",
    "least_chips", "load_curve", "own_share", "ownership", "port_budget", "purchase", "rank", "rated_w", "rental",
    "round_s", "run_deployment", "server_saving", "sizes", "speed_at_price", "tflops_cost", "token_price",
    "tornado", "triangular", "under_power", "unit_costs",
]  # fmt: skip
