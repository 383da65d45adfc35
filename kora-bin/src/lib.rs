//! Kora.
