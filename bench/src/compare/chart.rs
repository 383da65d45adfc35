//! Horizontal bars as SVG: panels from top to bottom, in each a group per scenario, in each a bar per
//! server.
//!
//! A group has its own scale, because one connection without pipeline and fifty with one differ by a factor
//! of fifty; the figure is written at the end of each bar. The line through the end is the spread from the
//! smallest to the largest round. The background is drawn, and both it and the text follow the viewer's
//! colour scheme, so the picture is readable wherever it is embedded.

use std::fmt::Write;

use super::figures::Spread;

pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) spread: Spread,
    /// The median, written.
    pub(crate) text: String,
}

pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

pub(crate) struct Panel {
    /// What is measured, with its unit.
    pub(crate) title: String,
    /// Which direction is better.
    pub(crate) note: String,
    pub(crate) groups: Vec<Group>,
}

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// Room for "kora, 2 workers on cluster ports".
const LABEL_WIDTH: f64 = 235.0;
const VALUE_WIDTH: f64 = 90.0;
const BAR_HEIGHT: f64 = 16.0;
const BAR_STEP: f64 = 22.0;
const GROUP_GAP: f64 = 14.0;
const LINE: f64 = 22.0;
/// Distinguishable with the common colour deficiencies, and on white as on near-black (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.paper{fill:#ffffff}\
    .title{font-weight:600;font-size:15px}.group{font-weight:600}.note{fill:#59636e}.range{stroke:#1f2328}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#0d1117}.note{fill:#9198a1}\
    .range{stroke:#e6edf3}}";

/// The whole picture.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let mut labels: Vec<&str> = Vec::new();
    for bar in panels.iter().flat_map(|p| &p.groups).flat_map(|g| &g.bars) {
        if !labels.contains(&bar.label.as_str()) {
            labels.push(&bar.label);
        }
    }
    let mut body = String::new();
    let mut y = MARGIN;
    for panel in panels {
        text(&mut body, MARGIN, y + 15.0, "title", &panel.title);
        y += LINE;
        text(&mut body, MARGIN, y + 11.0, "note", &format!("{}; each group has its own scale", panel.note));
        y += LINE;
        for group in &panel.groups {
            text(&mut body, MARGIN, y + 13.0, "group", &group.title);
            y += LINE;
            let longest = group.bars.iter().map(|bar| bar.spread.max).fold(f64::MIN_POSITIVE, f64::max);
            for bar in &group.bars {
                let colour = labels.iter().position(|label| *label == bar.label).unwrap_or(0);
                draw(&mut body, y, bar, longest, COLOURS[colour % COLOURS.len()]);
                y += BAR_STEP;
            }
            y += GROUP_GAP;
        }
        y += GROUP_GAP;
    }
    let height = y.max(2.0 * MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Comparison of servers\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

fn draw(out: &mut String, y: f64, bar: &Bar, longest: f64, colour: &str) {
    let left = MARGIN + LABEL_WIDTH;
    let room = WIDTH - left - VALUE_WIDTH - MARGIN;
    let at = |value: f64| left + room * (value / longest).clamp(0.0, 1.0);
    let (middle, end) = (y + BAR_HEIGHT / 2.0, at(bar.spread.median));
    text(out, MARGIN + 10.0, y + 13.0, "label", &bar.label);
    let width = (end - left).max(1.0);
    let _ = writeln!(
        out,
        "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\" fill=\"{colour}\"/>"
    );
    let (from, to) = (at(bar.spread.min), at(bar.spread.max));
    if to - from > 1.0 {
        let _ = writeln!(
            out,
            "<line class=\"range\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>"
        );
    }
    text(out, end.max(to) + 8.0, y + 13.0, "value", &bar.text);
}

fn text(out: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let _ = writeln!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(content));
}

/// Characters that XML does not allow at all become a replacement mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c < ' ' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements closed in the order of their opening, attributes quoted and single, entities known. Not all
    /// of XML, but all that this writer can get wrong.
    fn well_formed(xml: &str) -> Result<(), String> {
        let mut open: Vec<String> = Vec::new();
        let mut rest = xml.trim_end();
        let mut roots = 0;
        while !rest.is_empty() {
            let Some(text_end) = rest.find('<') else { return Err(format!("text after the root: {rest}")) };
            let text = &rest[..text_end];
            if open.is_empty() && !text.is_empty() {
                return Err(format!("text outside the root: {text}"));
            }
            for part in text.split('&').skip(1) {
                if !["amp;", "lt;", "gt;", "quot;"].iter().any(|e| part.starts_with(e)) {
                    return Err(format!("& begins no entity: {part}"));
                }
            }
            if text.contains('>') || text.chars().any(|c| c < ' ' && c != '\n') {
                return Err(format!("forbidden character in {text:?}"));
            }
            let tag_end = rest.find('>').ok_or("a tag that does not end")?;
            let tag = &rest[text_end + 1..tag_end];
            rest = &rest[tag_end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop().as_deref() != Some(name) {
                    return Err(format!("</{name}> closes nothing"));
                }
                continue;
            }
            let (tag, closed) = match tag.strip_suffix('/') {
                Some(tag) => (tag, true),
                None => (tag, false),
            };
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            let quotes: Vec<&str> = attributes.split('"').collect();
            if quotes.len().is_multiple_of(2) || !quotes[quotes.len() - 1].is_empty() {
                return Err(format!("an attribute that is not quoted in <{tag}>"));
            }
            let mut names: Vec<&str> = quotes.iter().step_by(2).map(|n| n.trim()).collect();
            names.pop();
            if names.iter().any(|n| !n.ends_with('=')) {
                return Err(format!("an attribute without name in <{tag}>"));
            }
            names.sort_unstable();
            if names.windows(2).any(|w| w[0] == w[1]) {
                return Err(format!("an attribute twice in <{tag}>"));
            }
            roots += usize::from(open.is_empty());
            if !closed {
                open.push(name.to_string());
            }
        }
        match (open.as_slice(), roots) {
            ([], 1) => Ok(()),
            (open, roots) => Err(format!("{open:?} left open, {roots} roots")),
        }
    }

    fn panel(label: &str) -> Panel {
        let bar = |label: &str, median: f64| Bar {
            label: label.into(),
            spread: Spread { median, min: median * 0.9, max: median * 1.1 },
            text: format!("{median}"),
        };
        let group = |title: &str| Group {
            title: title.into(),
            bars: vec![bar(label, 10.0), bar("kora", 5.0), bar("zero", 0.0), bar("less", -1.0)],
        };
        let (title, note) = ("CPU, us".into(), "less is better".into());
        Panel { title, note, groups: vec![group("c50"), group("c50 & <p16>")] }
    }

    #[test]
    fn the_picture_is_well_formed_whatever_servers_are_called() {
        for label in ["redis-server", "<&>\"'\u{1}", "</text>", "é"] {
            let picture = svg(&[panel(label), panel("other")]);
            assert_eq!(well_formed(&picture), Ok(()), "{picture}");
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        }
        assert_eq!(well_formed(&svg(&[])), Ok(()));
    }

    #[test]
    fn the_check_itself_sees_what_is_wrong() {
        for bad in ["<a>", "<a></b>", "<a b=c/>", "<a b=\"1\" b=\"2\"/>", "<a>&x</a>", "<a/><b/>", "x<a/>"] {
            assert!(well_formed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bars_are_as_long_as_their_share_of_the_longest() {
        let picture = svg(&[panel("redis-server")]);
        let widths: Vec<f64> = picture
            .lines()
            .filter(|line| line.contains("rx="))
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 8);
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01, "{widths:?}");
        assert!(widths.iter().all(|w| (0.0..=WIDTH).contains(w)));
    }

    #[test]
    fn a_server_keeps_its_colour_in_all_panels() {
        let picture = svg(&[panel("redis-server"), panel("redis-server")]);
        let count = |colour: &str| picture.matches(colour).count();
        assert_eq!((count(COLOURS[0]), count(COLOURS[1])), (4, 4));
    }
}
