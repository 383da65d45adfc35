//! A curve in text, as LATENCY GRAPH draws it.
//!
//! Each sample is a column. Its height, between the smallest and the largest sample, is counted in thirds of a row: the
//! top of a column is `_`, `o` or `#`, below it are `|`. Under the columns their labels run downwards. A curve
//! longer than the given columns goes on in a second block below, on the same scale.

/// One column.
pub(super) struct Point {
    /// Its height.
    pub value: u32,
    /// Printed under it, one character per line; ASCII.
    pub label: String,
}

/// What the top of a column looks like when it fills one, two or three thirds of its row.
const TOPS: [char; 3] = ['_', 'o', '#'];

/// Draws `points` in blocks of at most `columns` columns and `rows` rows. Every line ends with a line feed.
pub(super) fn draw(points: &[Point], columns: usize, rows: usize, out: &mut String) {
    let low = points.iter().map(|point| point.value).min().unwrap_or(0);
    let high = points.iter().map(|point| point.value).max().unwrap_or(0);
    let range = u64::from((high - low).max(1));
    let thirds = (rows * TOPS.len()) as u64;
    for (index, block) in points.chunks(columns).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for row in (0..rows).rev() {
            let below = row * TOPS.len();
            out.extend(block.iter().map(|point| {
                let height = (u64::from(point.value - low) * thirds / range).min(thirds - 1) as usize;
                match height.checked_sub(below) {
                    None => ' ',
                    Some(third) => TOPS.get(third).copied().unwrap_or('|'),
                }
            }));
            out.push('\n');
        }
        out.extend(std::iter::repeat_n(' ', block.len()));
        out.push('\n');
        let lines = block.iter().map(|point| point.label.len()).max().unwrap_or(0);
        for line in 0..lines {
            out.extend(
                block.iter().map(|point| point.label.as_bytes().get(line).map_or(' ', |&byte| byte as char)),
            );
            out.push('\n');
        }
    }
}
