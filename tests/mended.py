"""The article's code with its faults mended: what its tests and those of the ledger share."""

import numpy as np

from costlab.claims import articles


class MendedRouter(articles.ArticleRouter):
    """The article's router, with the counters that its loss reads kept."""

    def route(self, loads):
        super().route(loads)
        self.expert_loads += np.asarray(loads)
        self.total_routes += np.sum(loads)
