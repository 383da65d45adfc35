//! Network side of Kora.
