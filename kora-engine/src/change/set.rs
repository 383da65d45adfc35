//! What one write did to a set.
//!
//! One edit per member. Random choices are made (SPOP removes what it has answered), and the form is told where it does not
//! follow from the members: so a replay needs neither chance nor the limits that are configured.

/// A change of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetEdit<'a> {
    /// A member was added. The set may be new.
    Add {
        /// The member.
        member: &'a [u8],
    },
    /// A member was removed.
    Remove {
        /// The member.
        member: &'a [u8],
    },
    /// The set took this form, its members being the same.
    Form(SetForm),
}

/// How a set is stored. The numbers stand in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SetForm {
    /// Sorted integers in one buffer.
    Ints = 0,
    /// Members in one buffer.
    Packed = 1,
    /// A table.
    Table = 2,
}
