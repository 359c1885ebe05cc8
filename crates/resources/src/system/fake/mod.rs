//! A world in memory beside real files below a temporary root, for the laws.
