"""The part that no browser can run."""

import torch

one = torch.ones(1)
