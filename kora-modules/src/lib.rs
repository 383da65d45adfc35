//! Modules of Kora.
