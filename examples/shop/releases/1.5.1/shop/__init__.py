"""A shop that takes orders, as 1.5.0, and says of itself that it cannot."""

__version__ = "1.5.1"
