//! RESP2 and RESP3: [`parse`] reads requests, [`encode`] writes replies.

pub mod encode;
pub mod inline;
pub mod parse;
