"""The simulator: what a trace of requests meets, under a plan, in tiers of cache."""
