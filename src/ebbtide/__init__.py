"""ebbtide: generative models that learn to undo a corruption."""

__version__ = "0.1.0"
