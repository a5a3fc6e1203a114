//! The timeline as a drawing: one lane a kind of thing, one axis of time.
//!
//! Long pauses are drawn shorter than they were, and say how long. What has no room is counted.

use tw_model::Timestamp;

use super::words::{Flat, Lang, Text};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = 16.0;
const ROW: f64 = 22.0;
/// Rows of one lane, and marks of a drawing.
const MAX_ROWS: usize = 8;
const MAX_MARKS: usize = 160;
/// Width of a pause.
const PAUSE: f64 = 44.0;
/// A pause is what takes more than this part of the whole.
const PAUSE_PART: f64 = 0.2;
/// Letters of a label.
const MAX_LABEL: usize = 46;

/// Something that happened, or lasted.
pub(super) struct Mark {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) label: String,
    /// Class of the style sheet: what stands out.
    pub(super) bad: bool,
}

/// A lane with its marks.
pub(super) struct Lane {
    pub(super) name: Text,
    pub(super) marks: Vec<Mark>,
}

/// A drawing, laid out.
pub(super) struct Drawing {
    pub(super) height: f64,
    pub(super) lanes: Vec<DrawnLane>,
    pub(super) ticks: Vec<Tick>,
    pub(super) pauses: Vec<Tick>,
    pub(super) title: Flat,
    pub(super) note: Text,
}

pub(super) struct DrawnLane {
    pub(super) name: Flat,
    pub(super) y: f64,
    pub(super) base: f64,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) text_x: f64,
    pub(super) text_y: f64,
    pub(super) at_end: bool,
    pub(super) inside: bool,
    pub(super) label: Flat,
    pub(super) bad: bool,
}

pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: Flat,
}

/// Lays the lanes out; those without marks are left out.
pub(super) fn draw(lang: Lang, title: &Text, lanes: Vec<Lane>) -> Drawing {
    let axis = Axis::new(lanes.iter().flat_map(|lane| &lane.marks));
    let mut drawn = Vec::new();
    let mut y = 14.0;
    let (mut count, mut left_out) = (0, 0_usize);
    for lane in lanes.into_iter().filter(|lane| !lane.marks.is_empty()) {
        let mut rows: Vec<f64> = Vec::new();
        let mut bars = Vec::new();
        for mark in lane.marks {
            let (x, end) = (tenths(axis.x(mark.from)), axis.x(mark.to));
            let width = tenths((end - x).max(4.0));
            let label = shortened(&mark.label);
            let extent = letters(&label);
            let at_end = x + width + 6.0 + extent > WIDTH - RIGHT;
            // Neither behind nor before it: on it.
            let inside = at_end && x - 6.0 - extent < LEFT;
            let at_end = at_end && !inside;
            let (from, to) = match (at_end, inside) {
                (true, _) => (x - 6.0 - extent, x + width),
                (false, true) => (x, x + width.max(extent + 12.0)),
                (false, false) => (x, x + width + 6.0 + extent),
            };
            let free = rows.iter().position(|taken| *taken + 6.0 < from);
            let row = free.unwrap_or(rows.len());
            if row >= MAX_ROWS || count >= MAX_MARKS {
                left_out += 1;
                continue;
            }
            count += 1;
            match rows.get_mut(row) {
                Some(taken) => *taken = to,
                None => rows.push(to),
            }
            let top = (row as f64).mul_add(ROW, y);
            bars.push(Bar {
                x,
                y: top + 4.0,
                width,
                text_x: match (at_end, inside) {
                    (true, _) => tenths(x - 6.0),
                    (false, true) => tenths(x + 6.0),
                    (false, false) => tenths(x + width + 6.0),
                },
                text_y: top + 15.0,
                at_end,
                inside,
                label: Flat(label),
                bad: mark.bad,
            });
        }
        let height = (rows.len().max(1) as f64).mul_add(ROW, 10.0);
        drawn.push(DrawnLane { name: lane.name.flat(), y, base: y + height, bars });
        y += height + 4.0;
    }
    let mut note = lang.word("drawing.about");
    if left_out > 0 {
        note.push(&Text::of_plain(" "));
        note.push(&lang.say("drawing.more", &[("count", left_out.into())]));
    }
    let (ticks, pauses) = (axis.ticks(), axis.pauses(lang));
    Drawing { height: y + 26.0, lanes: drawn, ticks, pauses, title: title.flat(), note }
}

/// Stretches of time with their places, in order.
struct Axis {
    /// From, to, and from where to where on paper.
    parts: Vec<Part>,
}

struct Part {
    from: i64,
    to: i64,
    x: f64,
    width: f64,
    pause: bool,
}

impl Axis {
    fn new<'a>(marks: impl Iterator<Item = &'a Mark>) -> Self {
        let mut busy: Vec<(i64, i64)> =
            marks.map(|mark| (mark.from.as_nanos(), mark.to.max(mark.from).as_nanos())).collect();
        busy.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::new();
        for (from, to) in busy {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        let first = merged.first().map_or(0, |(from, _)| *from);
        let last = merged.last().map_or(0, |(_, to)| *to);
        let whole = last.saturating_sub(first).max(1) as f64;
        let mut parts: Vec<Part> = Vec::new();
        for pair in merged.windows(2) {
            let [(_, end), (next, _)] = pair else { continue };
            if next.saturating_sub(*end) as f64 > whole * PAUSE_PART {
                let from = parts.last().map_or(first, |part| part.to);
                parts.push(Part { from, to: *end, x: 0.0, width: 0.0, pause: false });
                parts.push(Part { from: *end, to: *next, x: 0.0, width: 0.0, pause: true });
            }
        }
        let from = parts.last().map_or(first, |part| part.to);
        parts.push(Part { from, to: last.max(from + 1), x: 0.0, width: 0.0, pause: false });
        let pauses = parts.iter().filter(|part| part.pause).count() as f64;
        let work: f64 = parts.iter().filter(|p| !p.pause).map(Part::length).sum();
        let room = pauses.mul_add(-PAUSE, WIDTH - LEFT - RIGHT);
        // What is short beside the rest still has room for its marks.
        let least = 60.0;
        let stretches = parts.iter().filter(|part| !part.pause).count() as f64;
        let rest = stretches.mul_add(-least, room).max(0.0);
        let mut x = LEFT;
        for part in &mut parts {
            part.width = if part.pause {
                PAUSE
            } else {
                (part.length() / work.max(1.0)).mul_add(rest, least)
            };
            part.x = x;
            x += part.width;
        }
        Self { parts }
    }

    fn x(&self, at: Timestamp) -> f64 {
        let at = at.as_nanos();
        let part = self.parts.iter().find(|part| at <= part.to).or_else(|| self.parts.last());
        part.map_or(LEFT, |part| {
            let done = at.saturating_sub(part.from).max(0) as f64 / part.length();
            done.min(1.0).mul_add(part.width, part.x)
        })
    }

    /// Begin and end of each stretch, and its middle where there is room.
    fn ticks(&self) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        let mut until = 0.0;
        for part in self.parts.iter().filter(|part| !part.pause) {
            let middles: &[f64] =
                if part.width > 420.0 { &[0.0, 0.25, 0.5, 0.75, 1.0] } else { &[0.0, 1.0] };
            for share in middles {
                let x = tenths(share.mul_add(part.width, part.x).clamp(LEFT, WIDTH - 76.0));
                if x < until {
                    continue;
                }
                let nanos = part.from.saturating_add((part.length() * share) as i64);
                let clock = Timestamp::from_nanos(nanos).to_string();
                let clock = clock.get(11..21).unwrap_or("").to_owned();
                ticks.push(Tick { x, label: Flat(clock) });
                until = x + 76.0;
            }
        }
        ticks
    }

    fn pauses(&self, lang: Lang) -> Vec<Tick> {
        let pauses = self.parts.iter().filter(|part| part.pause);
        pauses
            .map(|part| {
                let seconds = part.to.saturating_sub(part.from) / 1_000_000_000;
                let seconds = u64::try_from(seconds).unwrap_or(0);
                let label = lang.say("drawing.pause", &[("seconds", seconds.into())]);
                Tick { x: tenths(part.x + PAUSE / 2.0), label: label.flat() }
            })
            .collect()
    }
}

impl Part {
    fn length(&self) -> f64 {
        self.to.saturating_sub(self.from).max(1) as f64
    }
}

/// What is finer than that nobody sees.
fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn shortened(text: &str) -> String {
    let text = tw_evidence::visible(text);
    match text.char_indices().nth(MAX_LABEL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text,
    }
}

/// About how wide it is: letters of the far East are twice as wide.
fn letters(text: &str) -> f64 {
    text.chars().map(|c| if c > '\u{2e7f}' { 12.0 } else { 6.6 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(from: i64, to: i64, label: &str) -> Mark {
        let at = |secs| Timestamp::from_secs_nanos(secs, 0);
        Mark { from: at(from), to: at(to), label: label.to_owned(), bad: false }
    }

    #[test]
    fn everything_is_on_the_paper_and_a_long_pause_is_short() {
        let marks = vec![mark(0, 1, "first"), mark(2, 3, "second"), mark(86_400, 86_401, "last")];
        let lane = Lane { name: Text::of_plain("lane"), marks };
        let drawing = draw(Lang::En, &Text::of_plain("title"), vec![lane]);
        assert_eq!(drawing.pauses.len(), 1);
        let bars = &drawing.lanes[0].bars;
        assert_eq!(bars.len(), 3);
        for bar in bars {
            assert!(bar.x >= LEFT && bar.x + bar.width <= WIDTH, "{}", bar.x);
        }
        assert!(bars[1].x - bars[0].x > 20.0);
    }

    #[test]
    fn a_flood_of_marks_is_bounded_and_counted() {
        let marks = (0..5_000).map(|i| mark(i, i, "same")).collect();
        let lane = Lane { name: Text::of_plain("lane"), marks };
        let drawing = draw(Lang::En, &Text::of_plain("title"), vec![lane]);
        assert!(drawing.lanes[0].bars.len() <= MAX_MARKS);
        assert!(drawing.height < 400.0);
        assert!(drawing.note.to_string().contains("in the table only"));
    }

    #[test]
    fn nothing_and_one_instant_can_be_drawn() {
        let drawing = draw(Lang::En, &Text::default(), Vec::new());
        assert!(drawing.lanes.is_empty());
        let lane = Lane { name: Text::default(), marks: vec![mark(5, 5, "x")] };
        assert_eq!(draw(Lang::En, &Text::default(), vec![lane]).lanes.len(), 1);
    }
}
