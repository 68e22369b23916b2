"""Small models trained here to show one effect each; their weights lie in the folder beside."""
