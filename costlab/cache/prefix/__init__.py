"""Prefixes in tiers: pages matched, loaded, pinned and let go."""
