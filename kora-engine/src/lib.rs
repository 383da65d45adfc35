//! One shard of Kora.
