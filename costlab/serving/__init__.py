"""The serving lever: requests, workers and links simulated step by step, and the layouts in which they work.

Chapter: serving
"""
