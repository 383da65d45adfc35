//! The set as a value.

use super::forms::forms;
use super::{Collection, Object, Type};

forms! {
    /// A set.
    #[derive(Clone)]
    pub enum Set {
        /// Its elements.
        Elements(Box<Vec<Box<[u8]>>>) = 0,
    }
}

impl Collection for Set {
    const TYPE: Type = Type::Set;

    fn new(_seed: u64) -> Set {
        Set::Elements(Box::default())
    }

    fn len(&self) -> usize {
        let Set::Elements(elements) = self;
        elements.len()
    }

    fn encoding(&self) -> &'static str {
        "hashtable"
    }

    fn memory(&self) -> usize {
        let Set::Elements(elements) = self;
        elements.iter().map(|element| element.len() + size_of::<Box<[u8]>>()).sum()
    }

    fn free_some(&mut self, elements: usize) -> bool {
        let Set::Elements(all) = self;
        all.truncate(all.len().saturating_sub(elements));
        all.is_empty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Set::Elements(elements) = self;
        for element in elements.iter() {
            out.extend_from_slice(&(element.len() as u32).to_le_bytes());
            out.extend_from_slice(element);
        }
    }

    fn decode(mut input: &[u8], _seed: u64) -> Option<Set> {
        let mut elements = Vec::new();
        while !input.is_empty() {
            let (len, rest) = input.split_at_checked(4)?;
            let (element, rest) = rest.split_at_checked(u32::from_le_bytes(len.try_into().ok()?) as usize)?;
            elements.push(element.into());
            input = rest;
        }
        Some(Set::Elements(Box::new(elements)))
    }

    fn into_object(self) -> Object {
        Object::Set(self)
    }
}
