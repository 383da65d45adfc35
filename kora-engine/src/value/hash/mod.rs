//! The hash as a value.

use super::forms::forms;
use super::{Collection, Object, Type};

forms! {
    /// A hash.
    #[derive(Clone)]
    pub enum Hash {
        /// Its elements.
        Elements(Box<Vec<Box<[u8]>>>) = 0,
    }
}

impl Collection for Hash {
    const TYPE: Type = Type::Hash;

    fn new(_seed: u64) -> Hash {
        Hash::Elements(Box::default())
    }

    fn len(&self) -> usize {
        let Hash::Elements(elements) = self;
        elements.len()
    }

    fn encoding(&self) -> &'static str {
        "hashtable"
    }

    fn memory(&self) -> usize {
        let Hash::Elements(elements) = self;
        elements.iter().map(|element| element.len() + size_of::<Box<[u8]>>()).sum()
    }

    fn free_some(&mut self, elements: usize) -> bool {
        let Hash::Elements(all) = self;
        all.truncate(all.len().saturating_sub(elements));
        all.is_empty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Hash::Elements(elements) = self;
        for element in elements.iter() {
            out.extend_from_slice(&(element.len() as u32).to_le_bytes());
            out.extend_from_slice(element);
        }
    }

    fn decode(mut input: &[u8], _seed: u64) -> Option<Hash> {
        let mut elements = Vec::new();
        while !input.is_empty() {
            let (len, rest) = input.split_at_checked(4)?;
            let (element, rest) = rest.split_at_checked(u32::from_le_bytes(len.try_into().ok()?) as usize)?;
            elements.push(element.into());
            input = rest;
        }
        Some(Hash::Elements(Box::new(elements)))
    }

    fn into_object(self) -> Object {
        Object::Hash(self)
    }
}
