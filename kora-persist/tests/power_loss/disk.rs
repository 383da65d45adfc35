//! A disk that keeps only what it must.
//!
//! What was written and not made durable lies in its cache. When the power fails, each write in the cache may have reached the platter or not, or some of its
//! sectors may have, whatever the order in which the writes came.

use fastrand::Rng;
use kora_persist::log::Files;
use std::collections::BTreeMap;
use std::io;

/// What a disk writes whole or not at all, bytes.
pub const SECTOR_BYTES: usize = 512;

#[derive(Clone, Default)]
struct File {
    /// On the platter.
    durable: Vec<u8>,
    /// As a process reads it.
    visible: Vec<u8>,
    /// Written and not made durable.
    cached: Vec<(usize, Vec<u8>)>,
}

/// See the module.
#[derive(Clone, Default)]
pub struct Disk {
    files: BTreeMap<u64, File>,
}

impl Disk {
    /// A file of zeros, durable.
    pub fn create(&mut self, segment: u64, bytes: u64) {
        let zeros = vec![0; bytes as usize];
        let file = File { durable: zeros.clone(), visible: zeros, cached: Vec::new() };
        assert!(self.files.insert(segment, file).is_none(), "segment {segment} is made twice");
    }

    /// A file gets another name, durably.
    pub fn rename(&mut self, from: u64, to: u64) {
        let file = self.files.remove(&from).expect("it is renamed once");
        assert!(self.files.insert(to, file).is_none(), "segment {to} is made twice");
    }

    /// A file is removed, durably.
    pub fn remove(&mut self, segment: u64) {
        self.files.remove(&segment).expect("it is removed once");
    }

    /// Its bytes change, on the platter too: damage, or somebody who repairs.
    pub fn change(&mut self, segment: u64, with: impl Fn(&mut Vec<u8>)) {
        let file = self.files.get_mut(&segment).expect("it exists");
        assert!(file.cached.is_empty());
        with(&mut file.durable);
        with(&mut file.visible);
    }

    /// The bytes of a file.
    pub fn bytes(&self, segment: u64) -> &[u8] {
        &self.files[&segment].visible
    }

    /// A write has been done; `dsync`: and is on the platter.
    pub fn write(&mut self, segment: u64, offset: u64, bytes: &[u8], dsync: bool) {
        let file = self.files.get_mut(&segment).expect("it exists");
        let offset = offset as usize;
        file.visible[offset..][..bytes.len()].copy_from_slice(bytes);
        if dsync {
            file.durable[offset..][..bytes.len()].copy_from_slice(bytes);
        } else {
            file.cached.push((offset, bytes.to_vec()));
        }
    }

    /// A write was begun and nobody knows how far it came.
    pub fn write_in_part(&mut self, segment: u64, offset: u64, bytes: &[u8], random: &mut Rng) {
        for (at, sector) in surviving_sectors(bytes, random) {
            self.write(segment, offset + at as u64, sector, false);
        }
    }

    /// What was written to the file is on the platter.
    pub fn sync(&mut self, segment: u64) {
        if let Some(file) = self.files.get_mut(&segment) {
            for (offset, bytes) in file.cached.drain(..) {
                file.durable[offset..][..bytes.len()].copy_from_slice(&bytes);
            }
        }
    }

    /// The power fails, and comes back.
    pub fn fail_power(&mut self, random: &mut Rng) {
        let everything_mixed = random.bool();
        for file in self.files.values_mut() {
            let spared = !everything_mixed && random.bool();
            for (offset, bytes) in std::mem::take(&mut file.cached) {
                if spared {
                    file.durable[offset..][..bytes.len()].copy_from_slice(&bytes);
                    continue;
                }
                for (at, sector) in surviving_sectors(&bytes, random) {
                    file.durable[offset + at..][..sector.len()].copy_from_slice(sector);
                }
            }
            file.visible.clone_from(&file.durable);
        }
    }
}

/// Of a write: all sectors, none, the first ones, or any.
fn surviving_sectors<'b>(bytes: &'b [u8], random: &mut Rng) -> Vec<(usize, &'b [u8])> {
    let sectors = bytes.chunks(SECTOR_BYTES).enumerate().map(|(at, sector)| (at * SECTOR_BYTES, sector));
    match random.u8(0..5) {
        0 => sectors.collect(),
        1 => Vec::new(),
        2 => {
            let first = random.usize(0..=bytes.len() / SECTOR_BYTES);
            sectors.take(first).collect()
        }
        3 => sectors.filter(|_| random.bool()).collect(),
        // One is missing.
        _ => {
            let missing = random.usize(0..bytes.len().div_ceil(SECTOR_BYTES)) * SECTOR_BYTES;
            sectors.filter(|(at, _)| *at != missing).collect()
        }
    }
}

impl Files for &Disk {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok(self.files.iter().map(|(&segment, file)| (segment, file.visible.len() as u64)).collect())
    }

    fn read_at(&mut self, segment: u64, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.files[&segment].visible.get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }
}
