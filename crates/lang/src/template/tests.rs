//! Templates against the rulings of the language.
