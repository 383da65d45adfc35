//! Parts of documents that are made by tests, so that they cannot say anything that does not hold.

use std::path::Path;

const END: &str = "<!-- end -->";

/// Holds the part of a document of docs/ between a line that names the test and `<!-- end -->` to what the test has made; with
/// `KORA_WRITE_DOCS=1` writes it anew instead.
#[track_caller]
pub fn holds(document: &str, begin: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let start = text.find(begin).expect("the marker where the part begins") + begin.len();
    let end = start + text[start..].find(END).expect("the marker where the part ends");
    if std::env::var_os("KORA_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{made}{}", &text[..start], &text[end..]))
            .expect("the document is written");
        return;
    }
    assert_eq!(&text[start..end], made, "run again with KORA_WRITE_DOCS=1 to write {document}");
}
