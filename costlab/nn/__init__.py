"""The same parts as running torch modules: attention kinds, expert layers. Only this room imports torch."""
