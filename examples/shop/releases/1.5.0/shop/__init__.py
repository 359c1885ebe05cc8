"""A shop that takes orders, with a note if the customer has one: one page, one table, one check of its health."""

__version__ = "1.5.0"
