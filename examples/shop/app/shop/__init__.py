"""A shop that takes orders: one page, one table, one check of its health."""

__version__ = "1.4.2"
