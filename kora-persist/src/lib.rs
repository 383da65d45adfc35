//! Durable formats of Kora.
