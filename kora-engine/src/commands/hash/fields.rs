//! The arguments `FIELDS numfields field ...` of the commands on expiries of fields.

use crate::args::{is, parse_i64};
use crate::error::Error;

const NO_FIELDS: Error = Error::new("ERR Mandatory argument FIELDS is missing or not at the right position");
const OTHER_NUMBER: Error = Error::new("ERR The `numfields` parameter must match the number of arguments");

/// What most of the commands say of a number that is not positive.
pub(super) const NOT_POSITIVE: Error = Error::new("ERR Number of fields must be a positive integer");

/// The fields after FIELDS at `argv[at]`, which go to the end of the command. `not_positive` is what this command says of a number that is
/// no positive integer.
///
/// # Errors
/// FIELDS is not there, the number is not positive or not that of the fields. The caller has checked that there are two arguments.
pub(super) fn fields<'a>(
    argv: &'a [&'a [u8]],
    at: usize,
    not_positive: Error,
) -> Result<&'a [&'a [u8]], Error> {
    if !is(argv[at], "fields") {
        return Err(NO_FIELDS);
    }
    let number = parse_i64(argv[at + 1]).filter(|&n| n >= 1).ok_or(not_positive)?;
    let fields = &argv[at + 2..];
    if number as usize != fields.len() {
        return Err(OTHER_NUMBER);
    }
    Ok(fields)
}
