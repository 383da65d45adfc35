//! Arbitrary bytes as an RDB file and as the payload of RESTORE.
//!
//! Checked: nothing panics; what is read as a key can be written, and what was written is read again as a key; the checksum of a payload is
//! made right, so that what lies behind it is reached.

use kora_engine::keyspace::View;
use kora_engine::limits::EncodingLimits;
use kora_engine::rdb::{payload, version_for, Crc64, Loaded, Loader, Slice, Writer};
use kora_engine::shard::{EngineConfig, Shard, ShardId};
use kora_engine::table::ValueRef;
use kora_persist::rdb::{Part, RdbReader};

/// Runs one input as a file.
pub fn run_file(input: &[u8]) {
    let mut loader = Loader::new(EncodingLimits::default(), 1);
    let mut again = Loader::new(EncodingLimits::default(), 2);
    let Ok(mut reader) = RdbReader::new(input, 16) else { return };
    while let Ok(Some(part)) = reader.next(&mut loader) {
        let Part::Key(key) = part else { continue };
        let object = match key.value {
            Loaded::Object(object) => object,
            Loaded::String(_) | Loaded::LongString(_) | Loaded::Empty => continue,
        };
        let (elements, value) = (object.elements(), ValueRef::Object(object.borrowed()));
        let mut writer = Writer::new(version_for(value));
        let encoding = writer.begin(value).expect("it is the version that the value needs");
        let mut bytes = Vec::new();
        while !writer.advance(value, &mut bytes, 3) {}
        match again.load(encoding as u8, &mut Slice::new(&bytes)) {
            Ok(Loaded::Object(copy)) => assert_eq!(copy.elements(), elements),
            other => panic!("{other:?}"),
        }
    }
}

/// Runs one input as the value and type of a payload.
pub fn run_payload(input: &[u8]) {
    let mut bytes = input.to_vec();
    bytes.extend([12, 0]);
    let crc = Crc64::of(&bytes);
    bytes.extend(crc.to_le_bytes());
    let value = payload::open(&bytes).expect("its checksum is right");
    let mut shard = Shard::new(ShardId { index: 0, count: 1 }, EngineConfig::default(), 1);
    let mut loader = Loader::new(EncodingLimits::default(), shard.keys.collection_seed());
    let Some((&number, rest)) = value.split_first() else { return };
    let mut source = Slice::new(rest);
    if loader.begin(number).is_err() {
        return;
    }
    // In slices of several lengths.
    let mut elements = 1;
    loop {
        match loader.advance(&mut source, elements) {
            Ok(true) => break,
            Ok(false) => elements = elements % 7 + 1,
            Err(_) => return,
        }
    }
    if let Loaded::Object(object) = loader.take() {
        let view = View { db: 0, now: 0, touch: true };
        let key = shard.keys.key(b"key");
        shard.keys.put_object(view, &key, object, None);
        assert!(shard.keys.remove(view, &key));
    }
}
