"""The serving lever: requests on workers, step by step, with their queues, their memory and their clocks."""
